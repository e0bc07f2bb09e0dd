"""Runs one op case over the wire: upload, graph, download, compare; sentinels, sources and a second run for free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ggmlrpc_conformance.case import Said
from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import CaseFault, Mismatch, NotApplicable
from ggmlrpc_conformance.graphs import graph_fields
from ggmlrpc_conformance.link import Link, Memory
from ggmlrpc_conformance.ops.compare import ROW_FACTOR, Distance, distance
from ggmlrpc_conformance.results import Accuracy, Verdict
from ggmlrpc_core.errors import GgmlRpcError
from ggmlrpc_core.graph.build import message_order
from ggmlrpc_core.graph.tensor import VIEW_OPS, Graph, Tensor
from ggmlrpc_core.testing.inputs import Case as OpCase
from ggmlrpc_core.testing.inputs import Inputs
from ggmlrpc_core.testing.run_case import expected_of, values_of

POISON = 0xFF
"""What every byte holds before: NaN to whoever reads a result that nobody wrote."""
GUARD = 64
"""Bytes between tensors, which nothing may write."""
ASKED = frozenset({"FLASH_ATTN_EXT", "MUL_MAT", "MUL_MAT_ID", "CUMSUM", "ARGSORT", "TOP_K"})
"""Ops whose result may need more room than its bytes: the server is asked, as clients do."""


class Placed:
    """A case on a server: tensors in one buffer, inputs uploaded."""

    def __init__(self, link: Link, op_case: OpCase, *, device: int) -> None:
        self.link, self.device = link, device
        self.inputs, self.outputs = op_case.make()
        roots = [*self.outputs, *(t for t, _ in self.inputs.data)]
        alignment = link.call("GET_ALIGNMENT", device=device)["alignment"]
        self.room: dict[int, int] = {}
        end = 0
        tensors = message_order(roots)
        for t in tensors:
            if t.view_src is None:
                t.offset = end
                self.room[id(t)] = self._room(t)
                end += -(-(self.room[id(t)] + GUARD) // alignment) * alignment
        self.memory: Memory = link.alloc(max(end, alignment), device=device)
        for t in tensors:
            if t.view_src is not None:
                t.offset = t.view_src.offset + t.view_offs
            t.buffer = self.memory
        self.graph: Graph = self.inputs.graph(*self.outputs)
        self.fields = graph_fields(link.dialect, self.graph.nodes, self.memory, device=device)
        link.call("BUFFER_CLEAR", remote_ptr=self.memory.handle, value=POISON)
        self.start = np.full(self.memory.size, POISON, np.uint8)
        for t, data in self.inputs.data:
            link.set(self.memory, data.tobytes(), offset=t.offset)
            self.start[t.offset : t.offset + len(data)] = data

    def _room(self, tensor: Tensor) -> int:
        """Bytes for a tensor, asked of the server where a client would ask."""
        asked = tensor.type.quantized or tensor.op in ASKED
        if not asked or "GET_ALLOC_SIZE" not in self.link.dialect.by_name:
            return tensor.nbytes
        record = Memory(0, 0, 0).record(ggml_type=tensor.type.name, ne=tensor.ne)
        answer = self.link.call("GET_ALLOC_SIZE", device=self.device, tensor=record, srcs=[])
        size = int(answer["alloc_size"])
        if size < tensor.nbytes:
            raise Mismatch(f"room for {tensor.nbytes} bytes of {tensor!r}", f"{size}")
        return size

    def run(self) -> np.ndarray:
        """Send the graph; the whole buffer afterwards."""
        self.link.call("GRAPH_COMPUTE", **self.fields)
        return self.read()

    def run_again(self) -> np.ndarray:
        """The same from the same start, by GRAPH_RECOMPUTE where the dialect has it."""
        self.link.set(self.memory, self.start.tobytes())
        if "GRAPH_RECOMPUTE" in self.link.dialect.by_name:
            self.link.call("GRAPH_RECOMPUTE", device=self.device)
        else:
            self.link.call("GRAPH_COMPUTE", **self.fields)
        return self.read()

    def read(self) -> np.ndarray:
        """The whole buffer."""
        return np.frombuffer(self.link.get(self.memory), np.uint8)

    def written(self) -> np.ndarray:
        """bool for each byte: a node may write it."""
        mask = np.zeros(self.memory.size, bool)
        for node in self.graph.nodes:
            if node.op in VIEW_OPS:
                continue
            mask[node.offset : node.offset + max(node.nbytes, self.room.get(id(node), 0))] = True
            for slot in (0, 2, 3) if node.op.startswith("OPT_STEP") else ():
                if slot < len(node.src) and (moment := node.src[slot]) is not None:
                    mask[moment.offset : moment.offset + moment.nbytes] = True
        return mask


def run_op_case(ctx: Context, *, op_case: OpCase, interop: float) -> Said | None:
    """One op case; QUALITY for what is inside the interop limit and not inside the tight one."""
    placed = Placed(ctx.links["a"], op_case, device=ctx.device)
    ctx.keep("tensors", placed.memory)
    wanted = expected(ctx, op_case)
    after = placed.run()
    _check_outside(placed, after)
    worst = _compare(op_case, placed, wanted, after)
    same = None
    if ctx.tier != "smoke":
        same = bool(np.array_equal(after, placed.run_again()))
    ctx.accuracy = Accuracy(worst.nmse, worst.row, worst.largest, interop, op_case.nmse, same)
    return _verdict(worst, interop, op_case.nmse, same)


def expected(ctx: Context, op_case: OpCase) -> Sequence[np.ndarray]:
    """The outputs of the reference ops, or those of the server that --reference names."""
    if not ctx.reference:
        try:
            return expected_of(op_case)
        except GgmlRpcError as exc:
            raise NotApplicable(f"the reference ops cannot say: {exc}") from exc
    from ggmlrpc_conformance.target import Target

    other = Context(Target(ctx.reference), ctx.dialect, timeout=ctx.timeout)
    try:
        placed = Placed(other.connect(), op_case, device=0)
        memory = placed.run()
    except CaseFault as exc:
        raise NotApplicable(f"the server of --reference cannot say: {exc}") from exc
    finally:
        other.close()
    return [values_of(t, memory).copy() for t in placed.outputs]


def _check_outside(placed: Placed, after: np.ndarray) -> None:
    """Nothing but results has changed: not sources, not the bytes between tensors."""
    stray = np.flatnonzero((placed.start != after) & ~placed.written())
    if stray.size:
        at = int(stray[0])
        raise Mismatch(
            "bytes outside the results as they were",
            f"byte {at} changed, of {_owner(placed.inputs, at)}",
        )


def _owner(inputs: Inputs, at: int) -> str:
    for t, data in inputs.data:
        if t.offset <= at < t.offset + len(data):
            return f"source {t!r}"
    return "no tensor"


def _compare(
    op_case: OpCase, placed: Placed, wanted: Sequence[np.ndarray], after: np.ndarray
) -> Distance:
    worst = Distance(0.0, 0.0, 0.0)
    for tensor, want in zip(placed.outputs, wanted, strict=True):
        got = values_of(tensor, after)
        if op_case.compare == "sorted":
            got, want = np.sort(got, axis=-1), np.sort(want, axis=-1)
        found = distance(got, want)
        if found.nmse > worst.nmse:
            worst = found
    return worst


def _verdict(worst: Distance, interop: float, tight: float, same: bool | None) -> Said | None:
    if worst.mask:
        return Said(
            reply=Verdict.FAIL, expected="NaN and infinities as the reference", found=worst.mask
        )
    if not worst.nmse <= interop:
        return Said(
            reply=Verdict.FAIL,
            expected=f"an error of at most {interop:.3g}",
            found=f"{worst.nmse:.3g}",
        )
    if worst.row > ROW_FACTOR * interop and interop > 0:
        return Said(
            reply=Verdict.QUALITY,
            expected=f"no row off by more than {ROW_FACTOR * interop:.3g}",
            found=f"{worst.row:.3g}",
        )
    if worst.nmse > tight:
        return Said(
            reply=Verdict.QUALITY,
            expected=f"an error of at most {tight:.3g}",
            found=f"{worst.nmse:.3g}",
        )
    if same is False:
        return Said(
            reply=Verdict.QUALITY,
            expected="the same bits when the graph runs again",
            found="others",
        )
    return None
