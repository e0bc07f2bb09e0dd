"""A stage as a function on MLX arrays; runs while MLX traces it, once per plan.

Knows slots, nodes and the op table; no buffer and no byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import OPS, Leading, RowUpdate
from ggmlrpc_core.ops.values import encode
from ggmlrpc_metal.layout import Read, StageSpec, Step, Update
from ggmlrpc_metal.store import assign

FRESH_OPS = frozenset(
    {
        "ADD", "ADD_ID", "DIV", "FLASH_ATTN_EXT", "GET_ROWS", "GLU", "L2_NORM", "MUL", "MUL_MAT", "MUL_MAT_ID",
        "NORM", "RMS_NORM", "ROPE", "SCALE", "SOFT_MAX", "SUB", "UNARY",
    }
)  # fmt: skip
"""Ops whose results are always computed. Any other may hand on the memory of a source, which may be root bytes."""


class StageFunction:
    """The function of a stage.

    Args:
        mx: the module mlx.core.
        spec: what it does. Neither holds what is compiled, so nothing refers to itself.
    """

    def __init__(self, mx: Any, spec: StageSpec) -> None:
        self._mx = mx
        self._spec = spec

    def __call__(
        self, inputs: Sequence[Any], repacked: Sequence[Sequence[Any]]
    ) -> tuple[list[Any], list[Any]]:
        """(outputs in order, [smallest, largest] id of every check in the order of the steps)."""
        trace = _Trace(
            self._mx, inputs, dict(zip((at for at, _, _ in self._spec.repacked), repacked))
        )
        for number, step in enumerate(self._spec.steps):
            trace.run(number, step)
        outputs = []
        for output in self._spec.outputs:
            found = trace.flat(output.slot)
            if output.as_bytes:
                found = found.view(self._mx.uint8)
            if (output.start, output.stop) != (0, found.shape[0]):
                found = found[output.start : output.stop]
            outputs.append(self._mx.contiguous(found))
        return outputs, trace.checks


class _Trace:
    """Slots while the function runs."""

    def __init__(self, mx: Any, inputs: Sequence[Any], repacked: dict[int, Sequence[Any]]) -> None:
        self._mx = mx
        self._inputs = inputs
        self._repacked = repacked
        self._values: list[Any] = []  # as the op gave them
        self._flat: dict[int, Any] = {}
        self.checks: list[Any] = []

    def run(self, number: int, step: Step) -> None:
        """Compute one node."""
        op = OPS[step.node.op]
        raws = [None if read is None else self._raw(read) for read in step.reads]
        if step.check is not None:
            raws[step.check[0]] = self._bounded(raws[step.check[0]], step.check[1])
        if number in self._repacked:
            assert step.override is not None and step.override.repack is not None
            raws[step.override.repack.slot] = tuple(self._repacked[number])
        params = {p.name: p.read(step.node) for p in op.params}
        if step.override is not None:
            value = step.override.compute(step.node, *raws, **params)
        else:
            assert op.compute is not None, "a host stage, or refused before"
            value = op.compute(self._mx, step.node, *raws, **params)
        if step.update is None:
            value = encode(self._mx, value, step.node.type)
            if step.node.op not in FRESH_OPS and any(r and r.from_input for r in step.reads):
                value = self._own(value)
            self._values.append(value)
        else:
            self._values.append(self._updated(step.node, step.update, value))

    def flat(self, slot: int) -> Any:
        """A value or an input as a flat array."""
        if slot < 0:
            return self._inputs[-1 - slot]
        if slot not in self._flat:
            self._flat[slot] = self._values[slot].reshape(-1)
        return self._flat[slot]

    def _raw(self, read: Read) -> Any:
        mx = self._mx
        dtype = getattr(mx, read.dtype)
        if read.slot >= 0 and read.strides is None and read.offset == 0:
            value = self._values[read.slot]
            if value.dtype == dtype and tuple(value.shape) == read.shape:
                return value
        flat = self.flat(read.slot)
        if flat.dtype == mx.uint64 and read.dtype != "uint64":
            return self._from_words(flat, read, dtype)
        if flat.dtype != dtype:
            flat = flat.view(dtype)
        if read.strides is not None:
            return mx.as_strided(flat, read.shape, read.strides, read.offset)
        count = int(np.prod(read.shape, dtype=np.int64))
        if (read.offset, count) != (0, flat.shape[0]):
            flat = flat[read.offset : read.offset + count]
        return flat.reshape(read.shape)

    def _from_words(self, words: Any, read: Read, dtype: Any) -> Any:
        """A tensor of an extent with too many items for one dimension (see place.py)."""
        row = read.shape[-1] * dtype.size // 8
        rows = int(np.prod(read.shape[:-1], dtype=np.int64))
        first = read.offset * dtype.size // 8
        part = words[first : first + rows * row].reshape(rows, row)
        return part.view(dtype).reshape(read.shape)

    def _bounded(self, ids: Any, limit: int) -> Any:
        """Ids that cannot leave [0, limit), and a note of how far they would have."""
        self.checks.append(self._mx.stack([self._mx.min(ids), self._mx.max(ids)]))
        return self._mx.clip(ids, 0, limit - 1)

    def _own(self, value: Any) -> Any:
        """The same bits in memory of their own."""
        mx = self._mx
        word = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32, 8: mx.uint64}[value.dtype.size]
        return mx.bitwise_or(value.view(word), mx.array(0, word)).view(value.dtype)

    def _updated(self, node: Tensor, update: Update, value: Any) -> Any:
        """The old value with the node's elements written over it, flat."""
        mx = self._mx
        base = self._raw(update.base)
        if isinstance(value, RowUpdate):
            raw = encode(mx, value.values, node.type)
            return self._rows(base, node, update, value.rows, raw)
        if isinstance(value, Leading):
            raw = encode(mx, value.values, node.type)
            return assign(mx, base, raw, (1,), update.offset)
        return assign(mx, base, encode(mx, value, node.type), update.strides, update.offset)

    def _rows(self, base: Any, node: Tensor, update: Update, rows: Any, raw: Any) -> Any:
        """Write rows by number; of equal numbers the last counts (place.py has checked the strides)."""
        mx = self._mx
        n3, n2, _, width = raw.shape
        s3, s2 = update.strides[:2]
        step = node.nb[1] // base.dtype.size
        first = mx.array(
            [[(update.offset + i3 * s3 + i2 * s2) // step] for i3 in range(n3) for i2 in range(n2)]
        )
        at = (rows.reshape(n3 * n2, -1) + first).reshape(-1).astype(mx.int32)
        raw = raw.reshape(-1, width)
        if at.shape[0] > 1:
            raw = raw[self._last_writer(at)]
        table = base.reshape(-1, step)
        if width == step:
            table[at] = raw
        else:
            table[at, :width] = raw
        return table.reshape(-1)

    def _last_writer(self, at: Any) -> Any:
        """For each row number the last place where it stands: a GPU writes equal ones in any order."""
        mx = self._mx
        order = mx.argsort(at)
        ranked = at[order]
        return order[mx.searchsorted(ranked, at, side="right") - 1]
