"""The run block: what one call of the walker is told, as int64 slots. Written by threads.py, read by walker.py."""

from __future__ import annotations

RECORDS = 0  # address of record 0
FIRST, LAST = 1, 2  # range of records
ERROR = 3  # address of the error slot
YIELD = 4  # address of a function that lets another thread run, 0 for none
ARRIVED, LEFT = 8, 16  # counters, on cache lines of their own
SLOTS = 24
