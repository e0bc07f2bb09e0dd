"""A stage as a function on MLX arrays; runs while MLX traces it, once per plan.

Knows slots, nodes and the op table; no buffer and no byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ggmlrpc_core.ops.declare import OPS, Leading
from ggmlrpc_core.ops.values import encode, floats
from ggmlrpc_metal.layout import Read, StageSpec, Step, Update
from ggmlrpc_metal.override import find_fusion
from ggmlrpc_metal.overrides import FUSIONS
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

    Attributes:
        checked: the steps whose ids the last trace gives the range of.
    """

    def __init__(self, mx: Any, spec: StageSpec) -> None:
        self._mx = mx
        self._spec = spec
        self.checked: list[Step] = []

    def __call__(self, inputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """(outputs in order, [smallest, largest] id for each of `checked`)."""
        trace = _Trace(self._mx, inputs, self._spec.steps)
        for step in self._spec.steps:
            trace.run(step)
        outputs = []
        for output in self._spec.outputs:
            found = trace.array(output.slot)
            if output.as_bytes or output.stop - output.start != found.size:
                found = trace.flat(output.slot)
                found = found.view(self._mx.uint8) if output.as_bytes else found
                found = found[output.start : output.stop]
            outputs.append(self._mx.contiguous(found))
        self.checked = [step for step, _ in trace.checks]
        return outputs, [found for _, found in trace.checks]


class _Trace:
    """Slots while the function runs."""

    def __init__(self, mx: Any, inputs: Sequence[Any], steps: Sequence[Step]) -> None:
        self._mx = mx
        self._xp = _with_shared_constants(mx)
        self._inputs = inputs
        self._steps = steps
        self._values: list[Any] = []  # as the op gave them
        self._flat: dict[int, Any] = {}
        self._raws: dict[Read, Any] = {}
        self._places: dict[Any, Any] = {}
        self.checks: list[tuple[Step, Any]] = []

    def run(self, step: Step) -> None:
        """Compute one node."""
        op = OPS[step.node.op]
        raws = [None if read is None else self._raw(read) for read in step.reads]
        set_rows = step.node.op == "SET_ROWS" and step.override is None
        if step.check is not None and not set_rows:
            raws[step.check[0]] = self._bounded(step, raws[step.check[0]])
        if set_rows:
            assert step.update is not None, "it writes into a table"
            self._values.append(self._set_rows(step, step.update, raws))
            return
        params = {p.name: p.read(step.node) for p in op.params}
        fused = self._fused(step, raws)
        if fused is not None:
            value = fused
        elif step.override is not None:
            value = step.override.compute(step.node, *raws, **params)
        else:
            assert op.compute is not None, "a host stage, or refused before"
            value = op.compute(self._xp, step.node, *raws, **params)
        if isinstance(value, Leading):
            assert step.update is not None, "a part of something older"
            raw = self._encoded(step, value.values, step.reads)
            self._values.append(self._updated(step.update, raw, (1,)))
            return
        raw = self._encoded(step, value, step.reads)
        if step.update is not None:
            raw = self._updated(step.update, raw, step.update.strides)
        self._values.append(raw)

    def _fused(self, step: Step, raws: list[Any]) -> Any:
        """The node together with the one that computes its source 0; None where no fusion takes them.

        The value of the first stays in its slot: MLX computes it only if somebody else asks for it.
        """
        read = step.reads[0] if step.reads else None
        if read is None or read.from_input or read.strides is not None or read.offset:
            return None
        first = self._steps[read.slot]
        if first.update is not None or raws[0] is not self._values[read.slot]:
            return None
        fusion = find_fusion(FUSIONS, first.node, step.node)
        if fusion is None:
            return None
        source = first.reads[0]
        assert source is not None, "source 0 is required"
        return fusion.compute(first.node, step.node, self._raw(source), raws[1])

    def array(self, slot: int) -> Any:
        """A value or an input."""
        return self._values[slot] if slot >= 0 else self._inputs[-1 - slot]

    def flat(self, slot: int) -> Any:
        """The same with one dimension."""
        if slot not in self._flat:
            self._flat[slot] = self.array(slot).reshape(-1)
        return self._flat[slot]

    def _raw(self, read: Read) -> Any:
        if read not in self._raws:
            self._raws[read] = self._take(read)
        return self._raws[read]

    def _take(self, read: Read) -> Any:
        mx = self._mx
        dtype = getattr(mx, read.dtype)
        if read.strides is None and read.offset == 0:
            whole = self.array(read.slot)
            if whole.dtype == dtype and tuple(whole.shape) == read.shape:
                return whole
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

    def _bounded(self, step: Step, ids: Any) -> Any:
        """Ids that cannot leave their range, and a note of how far they would have."""
        assert step.check is not None, "asked only for ids that earlier steps computed"
        self.checks.append((step, self._mx.stack([self._mx.min(ids), self._mx.max(ids)])))
        return self._mx.clip(ids, 0, step.check[1] - 1)

    def _like(self, slot: int, value: Any) -> Any:
        """A new value in the shape of the old one, as the next run of the stage expects it."""
        old = self.array(slot)
        if old.dtype == value.dtype and old.size == value.size:
            return value.reshape(old.shape)
        return value

    def _own(self, value: Any) -> Any:
        """The same bits in memory of their own."""
        mx = self._mx
        word = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32, 8: mx.uint64}[value.dtype.size]
        return mx.bitwise_or(value.view(word), mx.array(0, word)).view(value.dtype)

    def _encoded(self, step: Step, value: Any, reads: Sequence[Read | None]) -> Any:
        """A value in the type of its node, in memory that no root bytes share."""
        raw = encode(self._mx, value, step.node.type)
        if step.node.op not in FRESH_OPS and any(read and read.from_input for read in reads):
            return self._own(raw)
        return raw

    def _updated(self, update: Update, raw: Any, strides: tuple[int, ...]) -> Any:
        """The old value with elements written over it."""
        base = self._raw(update.base)
        new = assign(self._mx, base, raw, strides, update.offset)
        return self._like(update.base.slot, new)

    def _set_rows(self, step: Step, update: Update, raws: list[Any]) -> Any:
        """SET_ROWS: rows of a table by number; of equal numbers the last counts (place.py has checked the strides)."""
        mx, node = self._mx, step.node
        values = self._encoded(step, floats(mx, raws[0], node.src[0]), step.reads[:1])
        n3, n2, n_rows, width = values.shape
        length = node.nb[1] // values.dtype.size
        table = self.array(update.base.slot)
        if table.dtype != values.dtype or table.size != update.base.shape[0]:
            table = self._raw(update.base)
        table = table.reshape(-1, length)
        at, last = self._row_places(step, update, length, (n3, n2, n_rows))
        values = values.reshape(-1, width)
        if at.shape[0] == 1 and width == length:
            return self._like(update.base.slot, mx.slice_update(table, values, at, (0,)))
        values = values[last]
        if width == length:
            table[at] = values
        else:
            table[at, :width] = values
        return self._like(update.base.slot, table)

    def _row_places(
        self, step: Step, update: Update, length: int, extents: tuple[int, int, int]
    ) -> tuple[Any, Any]:
        """(row of the table for each row of values, which row of values comes to lie there), both flat.

        Equal for all nodes that write rows with the same ids to the same places, so they are made once.
        """
        mx, read = self._mx, step.reads[1]
        assert read is not None, "ids are a required source"
        s3, s2 = update.strides[:2]
        key = (read, step.check, s3, s2, update.offset, length, extents)
        if key not in self._places:
            n3, n2, _ = extents
            ids = self._raw(read) if step.check is None else self._bounded(step, self._raw(read))
            ids = ids[0]
            ids = mx.tile(ids, (n3 // ids.shape[0], n2 // ids.shape[1], 1)).astype(mx.int32)
            i3, i2 = np.arange(n3)[:, None, None], np.arange(n2)[None, :, None]
            first = ((update.offset + i3 * s3 + i2 * s2) // length).astype(np.int32)
            at = (ids + mx.array(first)).reshape(-1) if first.any() else ids.reshape(-1)
            order = mx.argsort(at)
            last = order[mx.searchsorted(at[order], at, side="right") - 1]
            self._places[key] = at, last
        return self._places[key]


def _with_shared_constants(mx: Any) -> Any:
    """MLX with equal arrays from equal numbers of the host.

    Nodes of one graph ask for the same tables again and again. With the same array MLX sees that what they compute
    from it is the same, the angles of ROPE for one, and computes it once.
    """
    known: dict[tuple[str, tuple[int, ...], bytes], Any] = {}

    def asarray(numbers: np.ndarray) -> Any:
        key = (numbers.dtype.str, numbers.shape, numbers.tobytes())
        if key not in known:
            known[key] = mx.asarray(numbers)
        return known[key]

    names = {name: found for name, found in vars(mx).items() if not name.startswith("__")}
    return SimpleNamespace(**{**names, "__name__": mx.__name__, "asarray": asarray})
