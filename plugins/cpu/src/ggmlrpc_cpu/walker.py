"""The compiled loop that every thread runs over the records of a stage.

Threads meet at a barrier after each record, unless the record says otherwise (record.py FLAGS). The barrier counts
arrivals and never goes back; a thread that leaves early because of an error or a stop adds so much that nobody waits
for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_cpu import record as R
from ggmlrpc_cpu import run_block as B
from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.simd import atomic_add, atomic_load, call0, call3, cpu_pause, load_i64

SPINS = 50
"""Turns of a waiting loop before the core is offered to others."""
RELEASE_ALL = 1 << 40


@inline
def wait_for(address: Any, target: Any, give_way: Any) -> Any:
    """Wait until the int64 at an address is at least `target`."""
    spins = 0
    while atomic_load(address) < target:
        cpu_pause()
        spins += 1
        if spins >= SPINS and give_way != 0:
            spins = 0
            call0(give_way)


@kernel("walk")
def walk(run: Any, ith: Any, nth: Any) -> None:
    """Run records [FIRST, LAST) of a run block as thread `ith` of `nth`."""
    records = load_i64(run + 8 * B.RECORDS)
    first, last = load_i64(run + 8 * B.FIRST), load_i64(run + 8 * B.LAST)
    error, give_way = load_i64(run + 8 * B.ERROR), load_i64(run + 8 * B.YIELD)
    arrived, left = run + 8 * B.ARRIVED, run + 8 * B.LEFT
    goal = np.int64(0)
    for i in range(first, last):
        rec = records + i * R.BYTES
        flags = load_i64(rec + 8 * R.FLAGS)
        if flags & R.SOLO:
            if ith == 0:
                call3(load_i64(rec + 8 * R.KERNEL), rec, 0, 1)
        else:
            call3(load_i64(rec + 8 * R.KERNEL), rec, ith, nth)
        if nth > 1 and i + 1 < last and not flags & R.JOIN:
            both = flags & load_i64(rec + R.BYTES + 8 * R.FLAGS)
            if not both & R.SOLO:  # thread 0 runs both: program order is enough
                goal += nth
                atomic_add(arrived, 1)
                wait_for(arrived, goal, give_way)
        if atomic_load(error) != 0 or atomic_load(error + 8 * R.ERROR_STOP) != 0:
            atomic_add(arrived, RELEASE_ALL)
            break
    # After its last access to the block a thread says so; thread 0 waits, so the block may be reused.
    if nth > 1:
        if ith == 0:
            wait_for(left, nth - 1, give_way)
        else:
            atomic_add(left, 1)
