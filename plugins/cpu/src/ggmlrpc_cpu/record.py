"""The record of a compiled stage: what a kernel gets, as 96 int64 slots. The one home of these numbers.

A kernel has the signature `void(int64 record, int64 ith, int64 nth)`: the address of its record, the number of the
calling thread and how many threads there are. All addresses are in bytes.
"""

from __future__ import annotations

KERNEL = 0  # address of the kernel
NODE = 1  # index of the node in Graph.work
COUNTER = 2  # address of an int64 that is 0 when the record starts; chunks are taken by atomic add
SCRATCH = 3  # address of scratch memory, 64-byte aligned
SCRATCH_SIZE = 4  # bytes
ERROR = 5  # address of int64[4]: node index + 1 (0: none), id found, limit, and ERROR_STOP
FLAGS = 6  # SOLO, JOIN
SHARED = (
    7  # address of memory that several records use, for example a quantized activation (step.py)
)
OP_PARAMS = 8  # 16 int32 in 8 slots
TENSORS = 16  # tensor k: 0 is the node, 1 + s is source s; 10 slots each
TENSOR_SLOTS = 10  # address (0: absent), type id, ne0..ne3, nb0..nb3
N_TENSORS = 7
ROW_FUNCTION = 86  # addresses of up to two row functions, void(int64 src, int64 dst, int64 n)
ARGS = 88  # eight integers whose meaning the kernel and its planner share
N_ARGS = 8
SLOTS = 96
BYTES = 8 * SLOTS

ERROR_STOP = 3
"""Slot of the error array: not 0 when the run is to end; kernels then behave as if no work were left."""

ADDRESS, TYPE, NE, NB = 0, 1, 2, 6  # inside a tensor

SOLO = 1
"""Flag: thread 0 runs the record alone, as thread 0 of 1."""
JOIN = 2
"""Flag: the next record does not depend on this one, so no barrier follows."""
