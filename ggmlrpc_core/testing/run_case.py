"""Run op cases on a device of this process: bytes in, graph, bytes out, compared with the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ggmlrpc_core import quants
from ggmlrpc_core.device import Buffer, Device
from ggmlrpc_core.graph.build import allocate
from ggmlrpc_core.graph.tensor import VIEW_OPS, Graph, Tensor
from ggmlrpc_core.graph.views import RAW_DTYPE, raw_view
from ggmlrpc_core.testing.cases import nmse
from ggmlrpc_core.testing.inputs import Case
from ggmlrpc_core.testing.reference import ReferenceDevice

POISON = 0xFF
"""What every byte holds before a case: NaN to whoever reads a result that nobody wrote."""


class CaseFailed(AssertionError):
    """A device gave another result than the reference."""


def write(buffer: Buffer, offset: int, data: bytes | np.ndarray) -> None:
    """Send bytes into a buffer as a session does: writable, fill it, commit, until done."""
    source = np.frombuffer(data, np.uint8).data
    at = 0
    while at < len(source):
        target = buffer.writable(offset + at, len(source) - at)
        if not 0 < len(target) <= len(source) - at:
            raise CaseFailed(f"writable gave {len(target)} bytes of {len(source) - at} asked for")
        target[:] = source[at : at + len(target)]
        buffer.commit(offset + at, len(target))
        at += len(target)


def read(buffer: Buffer, offset: int, size: int) -> bytes:
    """The bytes of a range as a session reads them."""
    return b"".join(bytes(piece) for piece in buffer.read(offset, size))


class Loaded:
    """A case on a device: graph bound, inputs uploaded.

    Attributes:
        graph: ready to prepare.
        outputs: to compare.
        buffer: holds everything.
    """

    def __init__(self, case: Case, device: Device) -> None:
        inputs, self.outputs = case.make()
        leafs = [t for t, _ in inputs.data]
        self.buffer: Buffer = allocate([*self.outputs, *leafs], device)
        self.buffer.fill(0, self.buffer.size, POISON)
        for tensor, data in inputs.data:
            write(tensor.buffer, tensor.offset, data)
        self.graph = inputs.graph(*self.outputs)
        self._device = device

    def run(self) -> None:
        """Prepare, run, synchronize."""
        self._device.prepare(self.graph).run(lambda: False)
        self._device.synchronize()

    def bytes(self) -> np.ndarray:
        """The whole buffer."""
        return np.frombuffer(read(self.buffer, 0, self.buffer.size), np.uint8)

    def written(self) -> np.ndarray:
        """bool for each byte of the buffer: a node may write it."""
        mask = np.zeros(self.buffer.size, bool)
        for node in self.graph.nodes:
            if node.op in VIEW_OPS:
                continue
            size = node.nbytes
            if node.view_src is None:
                size = max(size, self._device.alloc_size(node, list(node.src)))
            mask[node.offset : node.offset + size] = True
            for slot in (2, 3) if node.op == "OPT_STEP_ADAMW" else ():
                moment = node.src[slot]
                assert moment is not None
                mask[moment.offset : moment.offset + moment.nbytes] = True
        return mask


def values_of(tensor: Tensor, memory: np.ndarray) -> np.ndarray:
    """The elements of a tensor in the bytes of its buffer: decoded to f32 unless its type is a plain one."""
    raw = raw_view(tensor, memory)
    if tensor.type.name in RAW_DTYPE and tensor.type.name != "BF16":
        return raw
    return quants.to_f32(np, raw, tensor.type)


def expected_of(case: Case) -> list[np.ndarray]:
    """The outputs of a case by the reference ops.

    Raises:
        UnsupportedOp: the reference does not have the op.
    """
    loaded = Loaded(case, ReferenceDevice())
    loaded.run()
    memory = loaded.bytes()
    return [values_of(t, memory).copy() for t in loaded.outputs]


def compare(
    case: Case, outputs: Sequence[Tensor], wanted: Sequence[np.ndarray], memory: np.ndarray
) -> float:
    """The largest nmse of outputs in the bytes of their buffer.

    Raises:
        CaseFailed: it is above the bound of the case.
    """
    worst = 0.0
    for tensor, expected in zip(outputs, wanted, strict=True):
        got = values_of(tensor, memory)
        if case.compare == "sorted":
            got, expected = np.sort(got, axis=-1), np.sort(expected, axis=-1)
        error = nmse(got, expected)
        worst = max(worst, error)
        if not error <= case.nmse:
            raise CaseFailed(f"nmse of {tensor!r} is {error:.3g}, expected at most {case.nmse:g}")
    return worst


def run_case(case: Case, device: Device, *, want: Sequence[np.ndarray] | None = None) -> float:
    """Run a case and compare.

    Args:
        case: what to run.
        device: where.
        want: expected outputs; None for those of the reference.

    Returns:
        The largest nmse of its outputs.

    Raises:
        CaseFailed: above the bound, bytes outside the results changed, or two runs gave different bits.
    """
    wanted = expected_of(case) if want is None else want
    loaded = Loaded(case, device)
    try:
        before = loaded.bytes()
        loaded.run()
        after = loaded.bytes()
        stray = np.flatnonzero((before != after) & ~loaded.written())
        if stray.size:
            raise CaseFailed(
                f"byte {int(stray[0])} of the buffer changed, expected only results to"
            )
        return compare(case, loaded.outputs, wanted, after)
    finally:
        loaded.buffer.free()


def run_twice(case: Case, device: Device) -> Graph:
    """Run one graph twice over the same inputs; the bits must be equal.

    Raises:
        CaseFailed: they differ.
    """
    loaded = Loaded(case, device)
    try:
        start = loaded.bytes()
        loaded.run()
        first = loaded.bytes()
        write(loaded.buffer, 0, start)
        loaded.run()
        if not np.array_equal(first, loaded.bytes()):
            raise CaseFailed("two runs of one graph gave different bits")
        return loaded.graph
    finally:
        loaded.buffer.free()
