"""MUL_MAT and MUL_MAT_ID: which kernels, what src1 is converted to, how the rows of weights are cut into chunks.

Few columns: dot products on the blocks as they are (kernels/mul_mat_dot.py). Many columns: tiles of weights are
dequantized into scratch memory of each thread and multiplied by all columns (mul_mat_tile.py, or mul_mat_amx.py
where AMX works). Weights are never copied whole; converted columns take no more memory than src1 itself, twice
that for F16.
"""

from __future__ import annotations

from collections.abc import Hashable
from types import MappingProxyType

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_cpu.amx import amx_works
from ggmlrpc_cpu.step import Context, Step, steps_of

PLAIN = ("F32", "F16", "BF16")

CODES: MappingProxyType[str, tuple[int, int]] = MappingProxyType(
    {
        "Q4_0": (8, 32), "Q4_1": (0, 32), "Q5_0": (16, 32), "Q5_1": (0, 32), "Q8_0": (128, 32),
        "IQ4_NL": (128, 32), "MXFP4": (12, 32), "Q2_K": (0, 16), "Q3_K": (4, 32), "Q4_K": (0, 32),
        "Q5_K": (0, 32), "Q6_K": (32, 32), "IQ4_XS": (128, 32),
    }
)  # fmt: skip
"""Types with a dot product on blocks: (offset of the codes, elements per sum of the columns)."""

TILES = (*PLAIN, *CODES, "Q1_0", "Q2_0", "TQ1_0", "TQ2_0", "NVFP4", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS",
         "IQ3_S", "IQ1_S", "IQ1_M")  # fmt: skip
"""Types that can be dequantized by tiles: all that MUL_MAT takes."""

FEW, FEW_WITH_AMX = 16, 6
"""Columns up to which weights are multiplied block by block: beyond, dequantizing them costs less."""
CHUNK_BYTES = 64 << 10
"""Bytes of weights that a thread takes at once."""
TILE_BYTES = 256 << 10
"""Bytes of a dequantized tile: it should stay in the second level cache."""
TABLE_HEAD = 8  # of the routing table, kernels/mul_mat_columns.py

AMX_SCRATCH = 6144 + 64  # kernels/mul_mat_amx.py, before the row and the tile
DOT_NS_PER_BYTE, TILE_NS_PER_FLOP, AMX_NS_PER_FLOP = 0.1, 0.01, 0.002


def _up(n: int, to: int) -> int:
    return (n + to - 1) // to * to


def _takes(node: Tensor, weights: Tensor, values: Tensor) -> bool:
    """Whether rows lie as the kernels read them."""
    return (
        weights.type.name in TILES
        and node.type.name == "F32"
        and (
            values.type.name == "F32"
            or (values.type.name == "F16" and weights.type.name in ("F16", "F32"))
        )
        and node.nb[0] == 4
        and weights.nb[0] == weights.type.type_size
        and values.nb[0] == values.type.type_size
    )


def _few(weights: Tensor) -> int:
    """How many columns are few for these weights."""
    if weights.type.name not in PLAIN and weights.type.name not in CODES:
        return 0
    return FEW if weights.type.name == "F32" or not amx_works() else FEW_WITH_AMX


def _q8_stride(n: int, per_sum: int) -> int:
    padded = _up(n, 64)
    return _up(2 * padded + padded // 8 + 4 * padded // per_sum, 64)


def _place(t: Tensor) -> Hashable:
    return (id(t.buffer), t.offset, t.ne, t.nb, t.type.name)


class _Maker:
    """The steps of one node, for either op."""

    def __init__(
        self,
        node: Tensor,
        weights: Tensor,
        values: Tensor,
        *,
        n_columns: int,
        n_groups: int,
        n_threads: int,
    ) -> None:
        self.node, self.weights, self.values = node, weights, values
        self.n_columns, self.n_groups, self.n_threads = n_columns, n_groups, n_threads
        self.routed = node.op == "MUL_MAT_ID"
        self.table = 0
        if self.routed:
            slots = TABLE_HEAD + 4 * self.weights.ne[2] + n_columns
            self.table = _up(8 * slots, 64)

    def _rows(self) -> int:
        return self.values.ne[1] * self.values.ne[2] * self.values.ne[3]

    def _with_columns(
        self, kernel: str, key: Hashable, size: int, args: tuple[int, ...], last: Step
    ) -> list[Step]:
        """A conversion of src1, and the step that reads it."""
        convert = Step(
            kernel,
            self.node,
            args=(self.table, *args),
            shared=((kernel, key, args, _place(self.values)), self.table + size),
            makes_shared=not self.routed,
            cost=0.3 * self.values.nelements,
        )
        if not self.routed:
            convert.tensors = (self.node, self.weights, self.values)
        last.shared = convert.shared
        return [*self._route(self.table + size), convert, last]

    def _route(self, size: int) -> list[Step]:
        """The routing table comes first and is made for every node anew."""
        if not self.routed:
            return []
        key = ("route", id(self.node))
        cost = 3.0 * self.weights.ne[2] * self.n_columns
        return [
            Step(
                "MUL_MAT_ID:route",
                self.node,
                shared=(key, size),
                makes_shared=True,
                solo=True,
                cost=cost,
            )
        ]

    def _chunk(self, row_bytes: int, target: int, multiple: int) -> int:
        """Rows of weights to take at once, so that every thread has several turns."""
        rows = max(1, target // max(row_bytes, 1))
        turns = max(1, 4 * self.n_threads // self.n_groups)
        rows = min(rows, -(-self.weights.ne[1] // turns))
        return _up(rows, multiple)

    def few(self) -> list[Step]:
        """Dot products on the blocks."""
        w = self.weights
        n = w.ne[0]
        row_bytes = w.type.row_size(n)
        per = self._chunk(row_bytes, CHUNK_BYTES, 4)
        used = self.n_groups * w.ne[1] * row_bytes
        step = Step(
            f"{self.node.op}:dot:{w.type.name}",
            self.node,
            cost=DOT_NS_PER_BYTE * used * max(1, self.n_columns // self.n_groups),
        )
        if w.type.name not in PLAIN:
            offset, per_sum = CODES[w.type.name]
            stride = _q8_stride(n, per_sum)
            step.args = (self.table, stride, per, 0)
            return self._with_columns(
                "MUL_MAT:q8", None, stride * self._rows(), (stride, offset, per_sum), step
            )
        return self._as_f32(step, per)

    def _as_f32(self, step: Step, per: int) -> list[Step]:
        """Columns in f32: those of src1 where they are, or widened."""
        if self.values.type.name == "F32":
            step.args = (0, 0, per, 1)
            steps = self._route(self.table)
            if steps:
                step.shared = steps[0].shared
            return [*steps, step]
        stride = _up(4 * self.weights.ne[0], 64)
        step.args = (self.table, stride, per, 0)
        return self._with_columns("MUL_MAT:f32", None, stride * self._rows(), (stride,), step)

    def many(self) -> list[Step]:
        """Tiles of dequantized weights."""
        w = self.weights
        n = w.ne[0]
        flops = 2.0 * n * w.ne[1] * self.n_columns
        if (
            w.type.name != "F32"
            and self.values.type.name == "F32"
            and n > 0
            and n % 32 == 0
            and amx_works()
        ):
            return self._on_amx(flops)
        step = Step(f"{self.node.op}:tile:{w.type.name}", self.node, cost=TILE_NS_PER_FLOP * flops)
        per = min(32, self._chunk(4 * n, TILE_BYTES, 4))
        step.scratch = self.n_threads * (_up(4 * _up(n, 16) * per, 64) + 1024)
        return self._as_f32(step, per)

    def _on_amx(self, flops: float) -> list[Step]:
        """The same on AMX, columns packed as bf16."""
        w, threads = self.weights, self.n_threads
        n, parts = w.ne[0], 2 if w.type.name == "F16" else 1
        stride = parts * 32 * n
        scratch = threads * _up(AMX_SCRATCH + 4 * n + parts * 64 * n, 64)
        cost = (AMX_NS_PER_FLOP * (3 if parts == 2 else 1)) * flops
        step = Step(
            f"{self.node.op}:amx:{w.type.name}",
            self.node,
            args=(self.table, stride),
            scratch=scratch,
            cost=cost,
        )
        tiles = self.n_columns // 16 + self.n_groups
        steps = self._with_columns(
            f"{self.node.op}:bf16", w.ne[2:], stride * tiles, (stride, parts), step
        )
        steps[-2].scratch = 2048 * threads
        return steps


@steps_of("MUL_MAT")
def mul_mat(node: Tensor, context: Context) -> list[Step] | None:
    """ne = [n_rows, n_columns, ne12, ne13]: weights [k, n_rows, ne02, ne03] times values [k, n_columns, ne12, ne13]."""
    weights, values = node.src[0], node.src[1]
    if weights is None or values is None or not _takes(node, weights, values):
        return None
    n_groups = weights.ne[2] * weights.ne[3]
    n_columns = values.ne[1] * values.ne[2] * values.ne[3]
    make = _Maker(
        node, weights, values, n_columns=n_columns, n_groups=n_groups, n_threads=context.n_threads
    )
    few = n_columns // n_groups <= _few(weights)
    return make.few() if few else make.many()


@steps_of("MUL_MAT_ID")
def mul_mat_id(node: Tensor, context: Context) -> list[Step] | None:
    """ne = [n_rows, n_used, n_tokens]: weights [k, n_rows, n_experts], values [k, 1 or n_used, n_tokens], ids."""
    weights, values, ids = node.src[0], node.src[1], node.src[2] if len(node.src) > 2 else None
    if weights is None or values is None or ids is None or not _takes(node, weights, values):
        return None
    if (
        ids.type.name != "I32"
        or values.ne[3] != 1
        or weights.ne[3] != 1
        or ids.ne[2] * ids.ne[3] != 1
    ):
        return None
    n_columns = ids.ne[0] * ids.ne[1]
    n_groups = min(weights.ne[2], n_columns)  # at most so many experts are asked for
    make = _Maker(
        node, weights, values, n_columns=n_columns, n_groups=n_groups, n_threads=context.n_threads
    )
    few = n_columns <= _few(weights) * weights.ne[2]
    return make.few() if few else make.many()
