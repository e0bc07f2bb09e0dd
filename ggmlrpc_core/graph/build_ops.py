"""The ops of language models as methods of the graph builder.

Names, argument order and result shapes are ggml's. Extents are written ne[0] first. What the
arithmetic is stands in `ggmlrpc_core.ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES, GgmlType
from ggmlrpc_core.graph.build_base import BuilderBase, need, padded_ne
from ggmlrpc_core.graph.tensor import Tensor


class RopeMode(IntEnum):
    """How ROPE pairs the elements of a row (op_params[2])."""

    NORMAL = 0
    NEOX = 2
    MROPE = 8
    VISION = 24
    IMROPE = 40


class Order(IntEnum):
    """Sort order of ARGSORT (op_params[0])."""

    ASC = 0
    DESC = 1


class Prec(IntEnum):
    """Accumulator precision asked of MUL_MAT and FLASH_ATTN_EXT."""

    DEFAULT = 0
    F32 = 10
    BF16 = 15
    F16 = 20
    Q8 = 30
    Q4 = 40


def need_tiles(op: str, small: Tensor, big: Tensor) -> None:
    """Every extent of `big` is a multiple of the one of `small`."""
    ok = all(n != 0 and m % n == 0 for n, m in zip(small.ne, big.ne)) or 0 in big.ne
    need(
        ok, op, "ne of the smaller operand", list(small.ne), expected=f"divisors of {list(big.ne)}"
    )


class ModelOps(BuilderBase):
    """Views, copies, element-wise ops, matrix products, norms, attention, rows."""

    # views: no work, only names for bytes

    def view(
        self, a: Tensor, *ne: int, nb: Sequence[int] = (), offset: int = 0, name: str = ""
    ) -> Tensor:
        """VIEW: `ne` elements from `offset` bytes on.

        Args:
            a: any tensor.
            ne: 1 to 4 extents.
            nb: strides of dimensions 1 up to len(ne) - 1, bytes; () for no gaps.
            offset: bytes into `a`.
        """
        full = padded_ne(ne)
        strides = [a.type.type_size, a.type.row_size(full[0]), 0, 0]
        for d in (1, 2, 3):
            if d <= len(nb):
                strides[d] = nb[d - 1]
            elif d > 1:
                strides[d] = strides[d - 1] * full[d - 1]
        params = {0: _signed(offset & 0xFFFFFFFF), 1: _signed(offset >> 32)}
        quad = (strides[0], strides[1], strides[2], strides[3])
        return self.view_of(
            a, "VIEW", ne=full, nb=quad, offset=offset, src=[a], params=params, name=name
        )

    def reshape(self, a: Tensor, *ne: int, name: str = "") -> Tensor:
        """RESHAPE: other extents over the same elements; `a` contiguous."""
        full = padded_ne(ne)
        count = full[0] * full[1] * full[2] * full[3]
        need(a.contiguous, "RESHAPE", "src[0]", f"nb={list(a.nb)}", expected="contiguous")
        need(count == a.nelements, "RESHAPE", "ne", list(full), expected=f"{a.nelements} elements")
        return self.view_of(a, "RESHAPE", ne=full, src=[a], name=name)

    def permute(self, a: Tensor, *axes: int, name: str = "") -> Tensor:
        """PERMUTE: dimension i of `a` becomes dimension axes[i]."""
        need(sorted(axes) == [0, 1, 2, 3], "PERMUTE", "axes", list(axes), expected="each of 0 to 3")
        ne, nb = [0] * 4, [0] * 4
        for i, axis in enumerate(axes):
            ne[axis], nb[axis] = a.ne[i], a.nb[i]
        strides = (nb[0], nb[1], nb[2], nb[3])
        return self._restrided("PERMUTE", a, ne, strides, dict(enumerate(axes)), name)

    def transpose(self, a: Tensor, *, name: str = "") -> Tensor:
        """TRANSPOSE: dimensions 0 and 1 exchanged."""
        ne = (a.ne[1], a.ne[0], a.ne[2], a.ne[3])
        return self._restrided("TRANSPOSE", a, ne, (a.nb[1], a.nb[0], a.nb[2], a.nb[3]), {}, name)

    def _restrided(
        self,
        op: str,
        a: Tensor,
        ne: Sequence[int],
        nb: tuple[int, int, int, int],
        params: dict[int, int],
        name: str,
    ) -> Tensor:
        # A quantized row moved to another dimension is legal as a name for bytes, though nothing
        # reads it; node() would refuse its ne[0], so extents are set after the view was made.
        result = self.view_of(a, op, src=[a], params=params, name=name)
        result.ne, result.nb = padded_ne(ne), nb
        return result

    # copies

    def dup(self, a: Tensor, *, name: str = "") -> Tensor:
        """DUP: a contiguous copy."""
        return self.like(a, "DUP", [a], name=name)

    def cont(self, a: Tensor, *ne: int, name: str = "") -> Tensor:
        """CONT: a contiguous copy, with other extents when given."""
        full = padded_ne(ne) if ne else a.ne
        count = full[0] * full[1] * full[2] * full[3]
        need(count == a.nelements, "CONT", "ne", list(full), expected=f"{a.nelements} elements")
        return self.node("CONT", a.type, full, src=[a], name=name)

    def cpy(self, a: Tensor, b: Tensor, *, name: str = "") -> Tensor:
        """CPY: write `a`, converted to the type of `b`, into `b`; the result is a view of `b`."""
        need(
            a.nelements == b.nelements,
            "CPY",
            "number of elements of the target",
            b.nelements,
            expected=str(a.nelements),
        )
        return self.view_of(b, "CPY", src=[a, b], name=name)

    def cast(self, a: Tensor, ggml_type: str | GgmlType, *, name: str = "") -> Tensor:
        """CPY into a new tensor of another type; the node names itself as source 1, as in ggml."""
        result = self.node("CPY", ggml_type, a.ne, src=[a], name=name)
        result.src = (a, result)
        return result

    def repeat(self, a: Tensor, like: Tensor | Sequence[int], *, name: str = "") -> Tensor:
        """REPEAT: tile `a` up to the extents of `like`."""
        target = like.ne if isinstance(like, Tensor) else padded_ne(like)
        result = self.node("REPEAT", a.type, target, src=[a], name=name)
        need_tiles("REPEAT", a, result)
        return result

    def concat(self, a: Tensor, b: Tensor, dim: int, *, name: str = "") -> Tensor:
        """CONCAT: `b` behind `a` along `dim`."""
        need(0 <= dim < 4, "CONCAT", "dim", dim, expected="0 to 3")
        need(a.type == b.type, "CONCAT", "src[1].type", b.type, expected=str(a.type))
        rest = all(a.ne[d] == b.ne[d] for d in range(4) if d != dim)
        need(rest, "CONCAT", "src[1].ne", list(b.ne), expected=f"{list(a.ne)} except in {dim}")
        ne = [n + (b.ne[d] if d == dim else 0) for d, n in enumerate(a.ne)]
        return self.node("CONCAT", a.type, ne, src=[a, b], params={0: dim}, name=name)

    def pad(
        self, a: Tensor, *right: int, left: Sequence[int] = (), circular: bool = False
    ) -> Tensor:
        """PAD: zeros (or wrapped values) behind and before each dimension."""
        rp = [*right, 0, 0, 0, 0][:4]
        lp = [*left, 0, 0, 0, 0][:4]
        params = {2 * d + side: pads[d] for side, pads in enumerate((lp, rp)) for d in range(4)}
        ne = [n + lo + hi for n, lo, hi in zip(a.ne, lp, rp)]
        return self.node("PAD", a.type, ne, src=[a], params={**params, 8: int(circular)})

    # element-wise

    def _tiled(self, op: str, a: Tensor, b: Tensor, inplace: bool, name: str) -> Tensor:
        need_tiles(op, b, a)
        return self.like(a, op, [a, b], inplace=inplace, name=name)

    def add(self, a: Tensor, b: Tensor, *, inplace: bool = False, name: str = "") -> Tensor:
        """ADD: a + b, `b` tiled over `a`."""
        return self._tiled("ADD", a, b, inplace, name)

    def sub(self, a: Tensor, b: Tensor, *, inplace: bool = False, name: str = "") -> Tensor:
        """SUB: a - b, `b` tiled over `a`."""
        return self._tiled("SUB", a, b, inplace, name)

    def mul(self, a: Tensor, b: Tensor, *, inplace: bool = False, name: str = "") -> Tensor:
        """MUL: a * b, `b` tiled over `a`."""
        return self._tiled("MUL", a, b, inplace, name)

    def div(self, a: Tensor, b: Tensor, *, inplace: bool = False, name: str = "") -> Tensor:
        """DIV: a / b, `b` tiled over `a`."""
        return self._tiled("DIV", a, b, inplace, name)

    def add_id(self, a: Tensor, b: Tensor, ids: Tensor, *, name: str = "") -> Tensor:
        """ADD_ID: row ids[i1, i2] of `b` is added to row (i1, i2) of `a`."""
        need(a.ne[0] == b.ne[0], "ADD_ID", "src[1].ne[0]", b.ne[0], expected=str(a.ne[0]))
        need(a.ne[1:3] == ids.ne[:2], "ADD_ID", "ids.ne", list(ids.ne[:2]), expected=str(a.ne[1:3]))
        return self.like(a, "ADD_ID", [a, b, ids], name=name)

    def scale(
        self, a: Tensor, s: float, *, bias: float = 0.0, inplace: bool = False, name: str = ""
    ) -> Tensor:
        """SCALE: a * s + bias."""
        params = {0: float(s), 1: float(bias)}
        return self.like(a, "SCALE", [a], params=params, inplace=inplace, name=name)

    def clamp(self, a: Tensor, low: float, high: float, *, inplace: bool = False) -> Tensor:
        """CLAMP: each element into [low, high]."""
        params = {0: float(low), 1: float(high)}
        return self.like(a, "CLAMP", [a], params=params, inplace=inplace)

    def unary(self, a: Tensor, function: str, *, inplace: bool = False, name: str = "") -> Tensor:
        """UNARY: a function by its name in unary_ops.csv, "GELU_QUICK"."""
        params = {0: NEWEST.unary[function]}
        return self.like(a, "UNARY", [a], params=params, inplace=inplace, name=name)

    def silu(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """UNARY SILU."""
        return self.unary(a, "SILU", inplace=inplace)

    def gelu(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """UNARY GELU, the tanh form."""
        return self.unary(a, "GELU", inplace=inplace)

    def relu(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """UNARY RELU."""
        return self.unary(a, "RELU", inplace=inplace)

    def tanh(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """UNARY TANH."""
        return self.unary(a, "TANH", inplace=inplace)

    def sigmoid(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """UNARY SIGMOID."""
        return self.unary(a, "SIGMOID", inplace=inplace)

    def sqr(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """SQR: a * a."""
        return self.like(a, "SQR", [a], inplace=inplace)

    def sqrt(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """SQRT."""
        return self.like(a, "SQRT", [a], inplace=inplace)

    def glu(
        self, a: Tensor, function: str, *, b: Tensor | None = None, swapped: bool = False
    ) -> Tensor:
        """GLU: activation(gate) * up, by a name of glu_ops.csv.

        Without `b` each row of `a` holds the gate, then the other half (the reverse when swapped).
        """
        params: dict[int, int | float] = {0: NEWEST.glu[function], 1: int(swapped)}
        return self._glu(a, b, params)

    def _glu(self, a: Tensor, b: Tensor | None, params: dict[int, int | float]) -> Tensor:
        if b is None:
            need(a.ne[0] % 2 == 0, "GLU", "src[0].ne[0]", a.ne[0], expected="an even number")
            return self.node("GLU", a.type, (a.ne[0] // 2, *a.ne[1:]), src=[a], params=params)
        need(a.ne == b.ne, "GLU", "src[1].ne", list(b.ne), expected=str(list(a.ne)))
        need(a.type == b.type, "GLU", "src[1].type", b.type, expected=str(a.type))
        return self.node("GLU", a.type, a.ne, src=[a, b], params=params)

    def swiglu(self, a: Tensor, *, b: Tensor | None = None, swapped: bool = False) -> Tensor:
        """GLU SWIGLU."""
        return self.glu(a, "SWIGLU", b=b, swapped=swapped)

    def geglu(self, a: Tensor, *, b: Tensor | None = None, swapped: bool = False) -> Tensor:
        """GLU GEGLU."""
        return self.glu(a, "GEGLU", b=b, swapped=swapped)

    def swiglu_oai(self, a: Tensor, b: Tensor, *, alpha: float, limit: float) -> Tensor:
        """GLU SWIGLU_OAI."""
        number = NEWEST.glu["SWIGLU_OAI"]
        return self._glu(a, b, {0: number, 1: 0, 2: float(alpha), 3: float(limit)})

    # matrix products

    def mul_mat(self, a: Tensor, b: Tensor, *, prec: Prec = Prec.DEFAULT, name: str = "") -> Tensor:
        """MUL_MAT: a [k, m, A2, A3] by b [k, n, B2, B3] gives F32 [m, n, B2, B3].

        Raises:
            LocalProtocolError: k differs, B2 or B3 is no multiple of A2 or A3, `a` is transposed.
        """
        need(a.ne[0] == b.ne[0], "MUL_MAT", "src[1].ne[0]", b.ne[0], expected=str(a.ne[0]))
        for d in (2, 3):
            rule = f"a multiple of {a.ne[d]}"
            need(b.ne[d] % a.ne[d] == 0, "MUL_MAT", f"src[1].ne[{d}]", b.ne[d], expected=rule)
        need(a.nb[0] <= a.nb[1], "MUL_MAT", "src[0]", "transposed", expected="rows first")
        ne = (a.ne[1], b.ne[1], b.ne[2], b.ne[3])
        return self.node("MUL_MAT", "F32", ne, src=[a, b], params={0: int(prec)}, name=name)

    def mul_mat_id(self, a: Tensor, b: Tensor, ids: Tensor, *, name: str = "") -> Tensor:
        """MUL_MAT_ID: a [k, m, E], b [k, used or 1, tok], ids I32 [used, tok]: [m, used, tok]."""
        op = "MUL_MAT_ID"
        need(ids.type == TYPES["I32"], op, "ids.type", ids.type, expected="I32")
        need(a.ne[0] == b.ne[0], op, "src[1].ne[0]", b.ne[0], expected=str(a.ne[0]))
        need(ids.ne[1] == b.ne[2], op, "ids.ne[1]", ids.ne[1], expected=str(b.ne[2]))
        need(ids.ne[0] % b.ne[1] == 0, op, "ids.ne[0]", ids.ne[0], expected=f"n * {b.ne[1]}")
        return self.node(op, "F32", (a.ne[1], ids.ne[0], b.ne[2]), src=[a, b, ids], name=name)

    def out_prod(self, a: Tensor, b: Tensor) -> Tensor:
        """OUT_PROD: a [m, k, A2, A3], b [n, k, B2, B3] gives F32 [m, n, B2, B3]."""
        need(a.ne[1] == b.ne[1], "OUT_PROD", "src[1].ne[1]", b.ne[1], expected=str(a.ne[1]))
        return self.node("OUT_PROD", "F32", (a.ne[0], b.ne[0], *b.ne[2:]), src=[a, b])

    # norms and reductions

    def norm(self, a: Tensor, *, eps: float, inplace: bool = False) -> Tensor:
        """NORM: each row to mean 0 and variance 1."""
        return self.like(a, "NORM", [a], params={0: float(eps)}, inplace=inplace)

    def rms_norm(self, a: Tensor, *, eps: float, inplace: bool = False, name: str = "") -> Tensor:
        """RMS_NORM: each row divided by its root mean square."""
        return self.like(a, "RMS_NORM", [a], params={0: float(eps)}, inplace=inplace, name=name)

    def l2_norm(self, a: Tensor, *, eps: float, inplace: bool = False) -> Tensor:
        """L2_NORM: each row divided by its length, at least eps."""
        return self.like(a, "L2_NORM", [a], params={0: float(eps)}, inplace=inplace)

    def group_norm(self, a: Tensor, n_groups: int, *, eps: float, inplace: bool = False) -> Tensor:
        """GROUP_NORM: normalise over ne[0], ne[1] and the channels of a group of dimension 2."""
        params: dict[int, int | float] = {0: n_groups, 1: float(eps)}
        return self.like(a, "GROUP_NORM", [a], params=params, inplace=inplace)

    def sum(self, a: Tensor) -> Tensor:
        """SUM over all elements: one element."""
        return self.node("SUM", a.type, (1,), src=[a])

    def sum_rows(self, a: Tensor) -> Tensor:
        """SUM_ROWS: [1, ne1, ne2, ne3]."""
        return self.node("SUM_ROWS", a.type, (1, *a.ne[1:]), src=[a])

    def mean(self, a: Tensor) -> Tensor:
        """MEAN of each row, F32."""
        return self.node("MEAN", "F32", (1, *a.ne[1:]), src=[a])

    def cumsum(self, a: Tensor) -> Tensor:
        """CUMSUM along dimension 0."""
        return self.like(a, "CUMSUM", [a])

    def argmax(self, a: Tensor) -> Tensor:
        """ARGMAX of each row of a matrix: I32 [ne1]."""
        need(a.ne[2:] == (1, 1), "ARGMAX", "src[0].ne", list(a.ne), expected="a matrix")
        return self.node("ARGMAX", "I32", (a.ne[1],), src=[a])

    def argsort(self, a: Tensor, *, order: Order = Order.ASC) -> Tensor:
        """ARGSORT of each row, I32."""
        return self.like(a, "ARGSORT", [a], params={0: int(order)}, ggml_type="I32")

    def argsort_top_k(self, a: Tensor, k: int) -> Tensor:
        """The first k of a descending ARGSORT, as ggml_argsort_top_k makes it: a VIEW."""
        return self._first_k(self.argsort(a, order=Order.DESC), k)

    def _first_k(self, a: Tensor, k: int) -> Tensor:
        need(0 < k <= a.ne[0], "ARGSORT", "k", k, expected=f"1 to {a.ne[0]}")
        return self.view(a, k, *a.ne[1:], nb=a.nb[1:])

    def top_k(self, a: Tensor, k: int) -> Tensor:
        """TOP_K: ids of the k largest of each row, in no particular order, I32."""
        need(0 < k <= a.ne[0], "TOP_K", "k", k, expected=f"1 to {a.ne[0]}")
        return self.node("TOP_K", "I32", (k, *a.ne[1:]), src=[a])

    # attention

    def rope_ext(
        self,
        a: Tensor,
        pos: Tensor,
        freq_factors: Tensor | None = None,
        *,
        n_dims: int,
        mode: int = RopeMode.NORMAL,
        n_ctx_orig: int = 0,
        freq_base: float = 10000.0,
        freq_scale: float = 1.0,
        ext_factor: float = 0.0,
        attn_factor: float = 1.0,
        beta_fast: float = 32.0,
        beta_slow: float = 1.0,
        sections: Sequence[int] = (0, 0, 0, 0),
        inplace: bool = False,
        back: bool = False,
    ) -> Tensor:
        """ROPE of a [d, heads, tok] at positions I32 [tok], or [4 * tok] for the modes with bit 8.

        With `back`, ROPE_BACK: rotate by the negative angle.
        """
        op = "ROPE_BACK" if back else "ROPE"
        axes = 4 if mode & RopeMode.MROPE else 1
        need(pos.type == TYPES["I32"], op, "positions type", pos.type, expected="I32")
        need(
            pos.ne[0] == axes * a.ne[2],
            op,
            "positions ne[0]",
            pos.ne[0],
            expected=str(axes * a.ne[2]),
        )
        params: dict[int, int | float] = {
            1: n_dims, 2: int(mode), 4: n_ctx_orig, 5: float(freq_base), 6: float(freq_scale),
            7: float(ext_factor), 8: float(attn_factor), 9: float(beta_fast), 10: float(beta_slow),
        }  # fmt: skip
        params |= {11 + i: n for i, n in enumerate(sections)}
        return self.like(a, op, [a, pos, freq_factors], params=params, inplace=inplace)

    def soft_max_ext(
        self,
        a: Tensor,
        mask: Tensor | None = None,
        *,
        scale: float = 1.0,
        max_bias: float = 0.0,
        sinks: Tensor | None = None,
        inplace: bool = False,
    ) -> Tensor:
        """SOFT_MAX of a * scale + slope * mask over rows; see ops for the slope."""
        if mask is not None:
            need(mask.ne[0] == a.ne[0], "SOFT_MAX", "mask.ne[0]", mask.ne[0], expected=str(a.ne[0]))
            rule = f"at least {a.ne[1]}"
            need(mask.ne[1] >= a.ne[1], "SOFT_MAX", "mask.ne[1]", mask.ne[1], expected=rule)
        need(
            max_bias == 0 or mask is not None,
            "SOFT_MAX",
            "mask",
            None,
            expected="one with max_bias",
        )
        params = {0: float(scale), 1: float(max_bias)}
        return self.like(a, "SOFT_MAX", [a, mask, sinks], params=params, inplace=inplace)

    def diag_mask_inf(self, a: Tensor, n_past: int, *, inplace: bool = False) -> Tensor:
        """DIAG_MASK_INF: -inf where column > n_past + row."""
        return self.like(a, "DIAG_MASK_INF", [a], params={0: n_past}, inplace=inplace)

    def flash_attn_ext(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        *,
        scale: float,
        max_bias: float = 0.0,
        logit_softcap: float = 0.0,
        sinks: Tensor | None = None,
        prec: Prec = Prec.DEFAULT,
    ) -> Tensor:
        """FLASH_ATTN_EXT: q [dk, tok, heads, s], k [dk, kv, heads_kv, s], v [dv, kv, heads_kv, s].

        mask F16 [kv, >= tok, m2, m3] or None, sinks F32 [heads] or None.
        Result F32 [dv, heads, tok, s].
        """
        op = "FLASH_ATTN_EXT"
        need(k.ne[0] == q.ne[0], op, "k.ne[0]", k.ne[0], expected=str(q.ne[0]))
        need(k.ne[1] == v.ne[1], op, "v.ne[1]", v.ne[1], expected=str(k.ne[1]))
        need(q.ne[2] % k.ne[2] == 0, op, "q.ne[2]", q.ne[2], expected=f"a multiple of {k.ne[2]}")
        if mask is not None:
            need(mask.ne[0] == k.ne[1], op, "mask.ne[0]", mask.ne[0], expected=str(k.ne[1]))
            need(mask.ne[1] >= q.ne[1], op, "mask.ne[1]", mask.ne[1], expected=f">= {q.ne[1]}")
        params: dict[int, int | float] = {
            0: float(scale), 1: float(max_bias), 2: float(logit_softcap), 3: int(prec),
        }  # fmt: skip
        ne = (v.ne[0], q.ne[2], q.ne[1], q.ne[3])
        return self.node(op, "F32", ne, src=[q, k, v, mask, sinks], params=params)

    # rows

    def get_rows(self, a: Tensor, ids: Tensor, *, name: str = "") -> Tensor:
        """GET_ROWS: a [n, rows, A2, A3], ids I32 [r, A2, A3]: [n, r, A2, A3], F32 (I32 of I32)."""
        need(ids.type == TYPES["I32"], "GET_ROWS", "ids.type", ids.type, expected="I32")
        need(a.ne[2] == ids.ne[1], "GET_ROWS", "ids.ne[1]", ids.ne[1], expected=str(a.ne[2]))
        ggml_type = "I32" if a.type == TYPES["I32"] else "F32"
        return self.node("GET_ROWS", ggml_type, (a.ne[0], *ids.ne[:3]), src=[a, ids], name=name)

    def set_rows(self, a: Tensor, b: Tensor, ids: Tensor, *, name: str = "") -> Tensor:
        """SET_ROWS: rows `ids` (I64 or I32) of `a` become the rows of `b`; a view of `a`."""
        op = "SET_ROWS"
        need(a.ne[0] == b.ne[0], op, "values ne[0]", b.ne[0], expected=str(a.ne[0]))
        need(a.ne[2:] == b.ne[2:], op, "values ne[2:]", list(b.ne[2:]), expected=str(a.ne[2:]))
        need(ids.ne[0] == b.ne[1], op, "ids.ne[0]", ids.ne[0], expected=str(b.ne[1]))
        for d in (2, 3):
            rule = f"a multiple of {ids.ne[d - 1]}"
            need(b.ne[d] % ids.ne[d - 1] == 0, op, f"values ne[{d}]", b.ne[d], expected=rule)
        return self.view_of(a, op, src=[b, ids, a], name=name)


def _signed(word: int) -> int:
    """32 bits as the signed integer of a slot."""
    return word - (1 << 32) if word >= 1 << 31 else word
