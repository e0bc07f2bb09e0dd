"""Compile every kernel that is not on disk, in child processes: `ggmlrpc serve --warm`."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator

from ggmlrpc_core.errors import PluginError
from ggmlrpc_cpu.compile import REGISTRY, import_kernels, is_cached
from ggmlrpc_cpu.ready import environment_mode
from ggmlrpc_cpu.threads import default_threads


def missing() -> list[str]:
    """Names of the kernels that are not on disk; none where there is no compiler."""
    if environment_mode() == "off":
        return []
    import_kernels()
    return [name for name in sorted(REGISTRY) if not is_cached(name)]


def warm_all(n_children: int | None = None) -> Iterator[tuple[int, int, str]]:
    """Compile what is missing.

    Args:
        n_children: processes at once; None for one per core that the device computes on.

    Yields:
        How many are done, how many there are to do, and the name of the one that was just compiled.

    Raises:
        PluginError: some could not be compiled; the others are there.
    """
    names = missing()
    n = min(n_children or default_threads(), len(names))
    made: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    children = [_start(names[i::n]) for i in range(n)]
    readers = [
        threading.Thread(target=_read, args=(child, made), daemon=True) for child in children
    ]
    for reader in readers:
        reader.start()
    try:
        done, ended = 0, 0
        while ended < n:
            if (name := made.get()) is None:
                ended += 1
            else:
                done += 1
                yield done, len(names), name
    finally:
        for child in children:
            child.terminate()  # an iterator that is dropped leaves no compiler behind
        for reader in readers:
            reader.join()
    left = [name for name in names if not is_cached(name)]
    if left:
        raise PluginError("ggmlrpc-cpu", "kernels that do not compile", ", ".join(left), "none")


def _start(names: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ggmlrpc_cpu.warm", *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def _read(child: subprocess.Popen[str], made: queue.SimpleQueue[str | None]) -> None:
    """Names as they are printed, then None."""
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            made.put(line.strip())
    child.wait()
    made.put(None)
