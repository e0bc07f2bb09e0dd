"""Persistent threads that run the walker: thread 0 is the caller, the others wait on a lock between runs."""

from __future__ import annotations

import ctypes
import os
import threading

import numpy as np
import psutil

from ggmlrpc_cpu import run_block as B


def default_threads() -> int:
    """Physical cores, else half the hardware threads, at least 1; never more than this process may use."""
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    cores = psutil.cpu_count(logical=False) or (os.cpu_count() or 2) // 2
    return max(1, min(cores, allowed))


def yield_address() -> int:
    """Address of the system's "let another thread run", 0 where none is known."""
    if os.name == "posix":
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    if os.name == "nt":
        return ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value or 0  # type: ignore[attr-defined]
    return 0


class Team:
    """N threads that walk records together. One run at a time.

    Args:
        walk: address of the compiled B.
        n_threads: how many, the caller included.
    """

    def __init__(self, walk: int, n_threads: int) -> None:
        self.n_threads = n_threads
        self._walk = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(walk)
        memory = np.zeros(B.SLOTS + 8, np.int64)
        start = -(memory.ctypes.data // 8) % 8
        self._run = memory[start : start + B.SLOTS]  # on a cache line boundary
        self._run[B.YIELD] = yield_address()
        self._address = self._run.ctypes.data
        self._closed = False
        self._go = [threading.Lock() for _ in range(n_threads - 1)]
        for lock in self._go:
            lock.acquire()
        self._threads = [
            threading.Thread(
                target=self._work, args=(i + 1,), name=f"ggmlrpc-cpu-{i + 1}", daemon=True
            )
            for i in range(n_threads - 1)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, ith: int) -> None:
        lock = self._go[ith - 1]
        while True:
            lock.acquire()
            if self._closed:
                return
            self._walk(self._address, ith, self.n_threads)

    def run(self, records: int, first: int, last: int, *, error: int, alone: bool) -> None:
        """Walk records [first, last) and return when all are done.

        Args:
            records: address of record 0.
            first, last: range of records.
            error: address of the error slot (record.py ERROR).
            alone: only the calling thread works; right when every record is SOLO.
        """
        n = 1 if alone else self.n_threads
        block = self._run
        block[:4] = (records, first, last, error)
        block[B.ARRIVED] = block[B.LEFT] = 0
        if n > 1:
            for lock in self._go:
                lock.release()
        self._walk(self._address, 0, n)

    def close(self) -> None:
        """End the threads; no run may be going on."""
        self._closed = True
        for lock in self._go:
            lock.release()
        for thread in self._threads:
            thread.join()
