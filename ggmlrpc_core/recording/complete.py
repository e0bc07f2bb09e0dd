"""Expectations from a reference server: replay, and write down what it answers.

Recording and judging are separate: a recording of one server can get the answers of another, and one that was scrubbed
gets new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.data import DataWriter
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.messages import Message
from ggmlrpc_core.recording.player import DEFAULT_TIMEOUT, Player
from ggmlrpc_core.recording.transform import adopt, new_recording


def complete(
    source: Path,
    target: Path,
    servers: Sequence[Endpoint],
    *,
    replace_all: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    progress: Callable[[int], None] = lambda line: None,
) -> int:
    """Write a recording whose answers are those of a reference server.

    Args:
        source: any recording.
        target: where to; a zip file when the name ends in .zip.
        servers: the reference, one for each recorded server.
        replace_all: also where something is expected already.
        timeout: seconds of silence.
        progress: called with the number of each line.

    Returns:
        How many answers were written.

    Raises:
        RecordingError: the reference answered what a client could not go on with, or the source breaks the format.
    """
    n = 0
    with Recording(source) as recording, new_recording(target, recording.head) as file:
        player = Player(recording, servers, timeout=timeout)
        try:
            for number, old, event in recording.events(player.reader):
                progress(number)
                line = dict(old)
                keep = None
                if (
                    isinstance(event, Message)
                    and event.reply is not None
                    and player.reads(event)
                    and (replace_all or event.answer is None)
                ):
                    keep = DataWriter(file.path, size=player.size_of(event))
                if event is not None:
                    check = player.step(number, event, keep=keep)
                    compared = keep is not None and check is not None and check.equal is not None
                    if check is None or (check.fault and not compared):
                        fault = check.fault if check else "its connection is lost"
                        raise RecordingError(
                            f"{recording.name} line {number}", "answer", fault, "what was recorded"
                        )
                if keep is not None:
                    line["expect"] = keep.finish().to_line()
                    n += 1
                adopt(line, recording, file)
                file.write_line(line)
                file.n_events += event is not None
        finally:
            player.close()
    return n
