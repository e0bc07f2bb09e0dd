"""Where a plan gets kernels from: memory, disk, the compiler now, or a child process that compiles meanwhile.

GGMLRPC_CPU_COMPILE says what happens to a kernel that is on no disk: `background` (default; the reference op
computes until a child process is done), `now` (compile before the first run), `never`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
import threading

from ggmlrpc_core.errors import PluginError
from ggmlrpc_cpu.compile import Kernels, cache_folder, is_cached

COMPILE_VARIABLE = "GGMLRPC_CPU_COMPILE"
MODES = ("background", "now", "never")
WALKER = "walk"
KERNEL_SECONDS = 0.7
"""About what one kernel takes to compile, for the log."""

_log = logging.getLogger("ggmlrpc.cpu")


def environment_mode() -> str:
    """The mode that the environment asks for; `never` where Numba is not installed.

    Raises:
        PluginError: an unknown mode.
    """
    mode = os.environ.get(COMPILE_VARIABLE) or "background"
    if mode not in MODES:
        raise PluginError("ggmlrpc-cpu", COMPILE_VARIABLE, mode, f"one of {', '.join(MODES)}")
    return mode if importlib.util.find_spec("numba") else "off"


class ReadyKernels:
    """Kernels that can be called now; asking for another starts to make it.

    Args:
        mode: of MODES, or "off": there is no compiler, nothing is ever ready.
    """

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._kernels = Kernels()
        self._failed: set[str] = set()
        self._wanted: list[str] = []
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def address(self, name: str) -> int | None:
        """The address of a kernel, None while it is not ready; see plan.KernelSource."""
        known = self._kernels.address(name)
        if known is not None:
            return known
        if self._mode == "off" or name in self._failed:
            return None
        # Without the walker no kernel can be called.
        if name != WALKER and self.address(WALKER) is None:
            self._fetch(name)
            return None
        return self._fetch(name)

    def ready(self, names: frozenset[str]) -> bool:
        """Whether one of these could be ready now that was not: a plan may be worth making again."""
        with self._lock:
            waiting = set(self._wanted)
        return any(n not in waiting and n not in self._failed and is_cached(n) for n in names)

    def coming(self, names: frozenset[str]) -> bool:
        """Whether one of these is being compiled or will be."""
        with self._lock:
            return not self._closed and any(n in self._wanted for n in names - self._failed)

    def _fetch(self, name: str) -> int | None:
        try:
            if self._mode == "now" or is_cached(name):
                return self._kernels.load(name)
        except Exception as exc:  # whatever the compiler says, the reference op still computes
            _log.warning(
                "kernel %s: compiler says %r, expected code; using the reference", name, exc
            )
            self._failed.add(name)
            return None
        if self._mode == "background":
            self._want(name)
        return None

    def _want(self, name: str) -> None:
        with self._lock:
            if name in self._wanted or self._closed:
                return
            self._wanted.append(name)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._compile, name="ggmlrpc-cpu-compile", daemon=True
                )
                self._thread.start()

    def _compile(self) -> None:
        """Compile what is wanted in child processes until nothing is."""
        while True:
            with self._lock:
                batch = [n for n in self._wanted if n not in self._failed]
                if not batch or self._closed:
                    self._thread = None
                    return
                command = [sys.executable, "-m", "ggmlrpc_cpu.warm", *batch]
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            _log.info(
                "compiling %d kernels for this machine, about %d s; kept in %s",
                len(batch), round(1 + KERNEL_SECONDS * len(batch)), cache_folder(),
            )  # fmt: skip
            _, errors = self._child.communicate()
            with self._lock:
                self._child = None
                bad = [n for n in batch if not is_cached(n)]
                self._wanted = [n for n in self._wanted if n not in batch]
                self._failed.update(bad)
                closed = self._closed
            if bad and not closed:
                last = errors.decode(errors="replace").strip().splitlines()[-1:]
                _log.warning(
                    "kernels %s did not compile: %s; using the reference", ", ".join(bad), last
                )

    def close(self) -> None:
        """Stop compiling."""
        with self._lock:
            self._closed = True
            child, thread = self._child, self._thread
        if child is not None:
            child.terminate()
        if thread is not None:
            thread.join()
