"""Replay the recorded sessions on the stock server of their own version, or on ours.

    python tests/sessions/replay.py SESSIONS [--only NAME]                               ours
    python tests/sessions/replay.py SESSIONS --stock STOCK [--peers FOLDER] [--only NAME]

STOCK and FOLDER as for record.py. One line per recording; exit status 1 when one is not ok. Recordings of versions that
are not built are left out and counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # makes `upstream` and `interop` importable

from sessions.record import Client, clients
from upstream.servers import Running, own_program

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.player import replay
from ggmlrpc_core.recording.report import Report

TIMEOUT = 300.0
"""Seconds of silence; our server may compile kernels at the first graph."""


def start(client: Client | None, recording: Recording, folder: Path) -> Running:
    """A server of the client's build; None: ours, with the recording's dialect."""
    devices = 2 if recording.name.startswith("devices-two") else 1
    arguments = ["-d", ",".join(["CPU"] * devices)] if devices > 1 else []
    if recording.name.startswith("cache") and client is not None:
        arguments += ["-c"]
    if client is not None:
        return client.server(arguments, folder)
    program = [*own_program(), "-t", "1", "--dialect", recording.head.dialect.name, *arguments]
    return Running("ggmlrpc", program, None)


def played(client: Client | None, path: Path) -> Report:
    """The report of one recording on fresh servers."""
    with ExitStack() as stack:
        recording = stack.enter_context(Recording(path))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-")))
        servers = [
            stack.enter_context(start(client, recording, folder))
            for _ in range(recording.head.servers)
        ]
        return replay(recording, [Endpoint.parse(s.endpoint) for s in servers], timeout=TIMEOUT)


def main() -> int:
    """Command line; 1 when a replay is not ok."""
    parser = argparse.ArgumentParser(description="Replay recorded sessions of stock clients.")
    parser.add_argument("sessions", type=Path, help="folder of the recordings")
    parser.add_argument(
        "--stock", type=Path, help="folder of tests/upstream/build_stock.py; else on ours"
    )
    parser.add_argument("--peers", type=Path, help="folder of tests/interop/build_peers.py")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only those with this in DIALECT/NAME"
    )
    args = parser.parse_args()
    builds = {}
    if args.stock:
        builds = {client.dialect: client for client in clients(args.stock, args.peers)}
    bad = left_out = done = 0
    for path in sorted(args.sessions.glob("*/*.ggrec.zip")):
        place = f"{path.parent.name}/{path.name.removesuffix('.ggrec.zip')}"
        if args.only and not any(one in place for one in args.only):
            continue
        if args.stock and path.parent.name not in builds:
            left_out += 1
            continue
        report = played(builds.get(path.parent.name), path)
        sums = report.to_dict()
        data, worst = (
            sums["data"],
            "" if report.worst is None else f", worst nmse {report.worst:.2g}",
        )
        verdict = "ok" if report.ok else "NOT OK"
        print(f"{place}: {verdict}, {data['equal']} of {data['compared']} equal{worst}", flush=True)
        if not report.ok:
            print(report.text())
        bad += not report.ok
        done += 1
    print(f"{done - bad} of {done} ok, {left_out} of versions that are not built")
    return int(bad > 0 or not done)


if __name__ == "__main__":
    sys.exit(main())
