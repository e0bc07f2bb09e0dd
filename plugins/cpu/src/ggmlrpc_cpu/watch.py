"""Asks whether a run should stop while records run, and tells the kernels.

The thread that computes is inside compiled code for as long as a slice lasts, and one heavy record can be a slice of
minutes. So a thread of its own looks every 50 ms; kernels look at the stop slot of the error array between chunks
(record.ERROR_STOP). Knows no graph. Short runs cost it nothing: a run is asked about when it is seen twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from ggmlrpc_cpu.record import ERROR_STOP

POLL_SECONDS = 0.05
IDLE_POLLS = 20
"""Turns without a run after which the thread sleeps until the next one."""


class Watch:
    """Watches one run at a time; `begin` and `end` are called by the thread that computes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._run: tuple[Callable[[], bool], np.ndarray] | None = None
        self._thread: threading.Thread | None = None
        self.fault: BaseException | None = None

    def begin(self, should_stop: Callable[[], bool], error: np.ndarray) -> None:
        """A run starts: ask `should_stop` from time to time, and set the stop slot of `error` when it says so."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._look, name="ggmlrpc-cpu-watch", daemon=True
            )
            self._thread.start()
        self.fault = None
        self._run = (should_stop, error)
        if not self._wake.is_set():
            self._wake.set()

    def end(self) -> None:
        """The run is over; its error array is left alone from now on.

        Raises:
            BaseException: what should_stop raised.
        """
        with self._lock:
            self._run = None
        if self.fault is not None:
            raise self.fault

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        seen, idle = None, 0
        while self._wake.wait() and not self._closed.wait(POLL_SECONDS):
            run = self._run
            if run is not None and run is seen:
                self._ask(run)
            idle = idle + 1 if run is None else 0
            if idle > IDLE_POLLS:
                self._wake.clear()
                if self._run is not None:  # began just now
                    self._wake.set()
                idle = 0
            seen = run

    def _ask(self, run: tuple[Callable[[], bool], np.ndarray]) -> None:
        stop, fault = True, None
        try:
            stop = run[0]()
        except BaseException as exc:  # belongs to the thread that computes
            fault = exc
        with self._lock:
            if stop and self._run is run:
                self.fault = fault
                run[1][ERROR_STOP] = 1
