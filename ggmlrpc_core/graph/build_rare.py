"""The rest of the ops as methods of the graph builder: generators, recurrence, training.

Names, argument order and result shapes are ggml's; extents are written ne[0] first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.build_base import BuilderBase, need, padded_ne
from ggmlrpc_core.graph.tensor import FLAG_PARAM, Tensor


class OtherOps(BuilderBase):
    """Element-wise leftovers, generators, state space models, losses and optimizers."""

    # element-wise and generators

    def add1(self, a: Tensor, b: Tensor, *, inplace: bool = False) -> Tensor:
        """ADD1: add the one element of `b` to all of `a`."""
        need(b.nelements == 1, "ADD1", "elements of src[1]", b.nelements, expected="1")
        return self.like(a, "ADD1", [a, b], inplace=inplace)

    def window(
        self,
        op: str,
        a: Tensor,
        b: Tensor,
        *,
        nb: Sequence[int],
        offset: int,
        inplace: bool = False,
    ) -> Tensor:
        """ACC or SET: add or write `b` into a window of `a`; `nb` are its strides 1 to 3, bytes."""
        params = {0: nb[0], 1: nb[1], 2: nb[2], 3: offset, 4: int(inplace)}
        return self.like(a, op, [a, b], params=params, inplace=inplace)

    def log(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """LOG, natural."""
        return self.like(a, "LOG", [a], inplace=inplace)

    def sin(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """SIN."""
        return self.like(a, "SIN", [a], inplace=inplace)

    def cos(self, a: Tensor, *, inplace: bool = False) -> Tensor:
        """COS."""
        return self.like(a, "COS", [a], inplace=inplace)

    def xielu(
        self, a: Tensor, *, alpha_n: float, alpha_p: float, beta: float, eps: float
    ) -> Tensor:
        """UNARY XIELU; the slots hold beta + softplus(alpha_n) and softplus(alpha_p)."""
        params: dict[int, int | float] = {
            0: NEWEST.unary["XIELU"],
            1: beta + math.log1p(math.exp(alpha_n)),
            2: math.log1p(math.exp(alpha_p)),
            3: float(beta),
            4: float(eps),
        }
        return self.like(a, "UNARY", [a], params=params)

    def swiglu_clamp(self, a: Tensor, b: Tensor, *, limit: float) -> Tensor:
        """GLU SWIGLU_CLAMP."""
        params: dict[int, int | float] = {0: NEWEST.glu["SWIGLU_CLAMP"], 3: float(limit)}
        return self.like(a, "GLU", [a, b], params=params)

    def leaky_relu(self, a: Tensor, slope: float, *, inplace: bool = False) -> Tensor:
        """LEAKY_RELU."""
        return self.like(a, "LEAKY_RELU", [a], params={0: float(slope)}, inplace=inplace)

    def fill(self, a: Tensor, value: float, *, inplace: bool = False) -> Tensor:
        """FILL: the extents of `a`, one value."""
        return self.like(a, "FILL", [a], params={0: float(value)}, inplace=inplace)

    def tri(self, a: Tensor, kind: int) -> Tensor:
        """TRI: 0 upper with diagonal, 1 upper, 2 lower with diagonal, 3 lower."""
        need(a.ne[0] == a.ne[1], "TRI", "ne", list(a.ne), expected="a square")
        return self.like(a, "TRI", [a], params={0: kind})

    def diag(self, a: Tensor) -> Tensor:
        """DIAG: the row onto the diagonal."""
        need(a.ne[1] == 1, "DIAG", "ne[1]", a.ne[1], expected="1")
        return self.node("DIAG", a.type, (a.ne[0], a.ne[0], *a.ne[2:]), src=[a])

    def diag_mask_zero(self, a: Tensor, n_past: int, *, inplace: bool = False) -> Tensor:
        """DIAG_MASK_ZERO: 0 where column > n_past + row."""
        return self.like(a, "DIAG_MASK_ZERO", [a], params={0: n_past}, inplace=inplace)

    def roll(self, a: Tensor, *shift: int) -> Tensor:
        """ROLL: cyclic shift per dimension."""
        return self.like(a, "ROLL", [a], params=dict(enumerate(shift)))

    def arange(self, start: float, stop: float, step: float) -> Tensor:
        """ARANGE: F32 [ceil((stop - start) / step)]."""
        params = {0: float(start), 1: float(stop), 2: float(step)}
        return self.node("ARANGE", "F32", (math.ceil((stop - start) / step),), params=params)

    def timestep_embedding(self, a: Tensor, dim: int, max_period: int) -> Tensor:
        """TIMESTEP_EMBEDDING: F32 [dim, t]."""
        params = {0: dim, 1: max_period}
        return self.node("TIMESTEP_EMBEDDING", "F32", (dim, a.ne[0]), src=[a], params=params)

    def count_equal(self, a: Tensor, b: Tensor) -> Tensor:
        """COUNT_EQUAL: I64 [1]."""
        need(a.ne == b.ne, "COUNT_EQUAL", "src[1].ne", list(b.ne), expected=str(list(a.ne)))
        return self.node("COUNT_EQUAL", "I64", (1,), src=[a, b])

    # recurrent and state space models

    def ssm_conv(self, sx: Tensor, c: Tensor) -> Tensor:
        """SSM_CONV: sx [d_conv - 1 + t, d_inner, s], c [d_conv, d_inner]: [d_inner, t, s]."""
        ne = (sx.ne[1], sx.ne[0] - c.ne[0] + 1, sx.ne[2])
        return self.node("SSM_CONV", "F32", ne, src=[sx, c])

    def ssm_scan(
        self,
        s: Tensor,
        x: Tensor,
        dt: Tensor,
        *,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        ids: Tensor,
        slots: int = 1,
    ) -> Tensor:
        """SSM_SCAN: outputs of x, then `slots` states of each sequence, in one dimension."""
        n = x.nelements + slots * s.ne[0] * s.ne[1] * s.ne[2] * ids.ne[0]
        return self.node("SSM_SCAN", "F32", (n,), src=[s, x, dt, a, b, c, ids], params={0: slots})

    def _recurrent(
        self, op: str, src: Sequence[Tensor], params: dict[int, int | float] | None = None
    ) -> Tensor:
        """Output rows, then final states: [S * H, t + S * sequences]; the last source is the state."""
        size, heads, tokens = src[0].ne[:3]
        ne = (size * heads, tokens + size * src[-1].ne[1])
        return self.node(op, "F32", ne, src=src, params=params)

    def rwkv_wkv6(
        self, k: Tensor, v: Tensor, r: Tensor, *, tf: Tensor, td: Tensor, state: Tensor
    ) -> Tensor:
        """RWKV_WKV6."""
        return self._recurrent("RWKV_WKV6", [k, v, r, tf, td, state])

    def rwkv_wkv7(
        self, r: Tensor, w: Tensor, k: Tensor, *, v: Tensor, a: Tensor, b: Tensor, state: Tensor
    ) -> Tensor:
        """RWKV_WKV7."""
        return self._recurrent("RWKV_WKV7", [r, w, k, v, a, b, state])

    def gated_linear_attn(
        self, k: Tensor, v: Tensor, q: Tensor, *, g: Tensor, state: Tensor, scale: float
    ) -> Tensor:
        """GATED_LINEAR_ATTN."""
        return self._recurrent("GATED_LINEAR_ATTN", [k, v, q, g, state], {0: float(scale)})

    def gated_delta_net(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        g: Tensor,
        beta: Tensor,
        state: Tensor,
        slots: int = 1,
    ) -> Tensor:
        """GATED_DELTA_NET: attention rows, then `slots` states: [S * H, t * s + slots * S * s]."""
        size, heads, tokens, seqs = v.ne
        ne = (size * heads, tokens * seqs + slots * size * seqs)
        src = [q, k, v, g, beta, state]
        return self.node("GATED_DELTA_NET", "F32", ne, src=src, params={0: slots})

    def solve_tri(self, a: Tensor, b: Tensor) -> Tensor:
        """SOLVE_TRI: X of A X = B, A lower triangular."""
        return self.like(b, "SOLVE_TRI", [a, b])

    def lightning_indexer(self, q: Tensor, k: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """LIGHTNING_INDEXER: [kv, tok, 1, s]."""
        ne = (k.ne[2], q.ne[2], 1, q.ne[3])
        return self.node("LIGHTNING_INDEXER", "F32", ne, src=[q, k, weights, mask])

    def dsv4_hc_comb(
        self, mixes: Tensor, scale: Tensor, base: Tensor, *, eps: float, n_iter: int
    ) -> Tensor:
        """DSV4_HC_COMB: [4, 4, tok]."""
        params: dict[int, int | float] = {0: float(eps), 1: n_iter}
        ne = (4, 4, mixes.ne[1])
        return self.node("DSV4_HC_COMB", "F32", ne, src=[mixes, scale, base], params=params)

    def dsv4_hc_pre(
        self, x: Tensor, weights: Tensor, *, scale: float = 1.0, gated: bool = False
    ) -> Tensor:
        """DSV4_HC_PRE: [n, tok]."""
        params: dict[int, int | float] = {0: float(scale), 1: int(gated)}
        ne = (x.ne[0], x.ne[2])
        return self.node("DSV4_HC_PRE", "F32", ne, src=[x, weights], params=params)

    def dsv4_hc_post(
        self, x: Tensor, residual: Tensor, post: Tensor, comb: Tensor | None = None
    ) -> Tensor:
        """DSV4_HC_POST: [n, hc, tok]."""
        ne = (x.ne[0], residual.ne[1], x.ne[1])
        return self.node("DSV4_HC_POST", "F32", ne, src=[x, residual, post, comb])

    # training

    def repeat_back(self, a: Tensor, like: Tensor | Sequence[int]) -> Tensor:
        """REPEAT_BACK: sum the tiles of `a` down to the extents of `like`."""
        target = like.ne if isinstance(like, Tensor) else padded_ne(like)
        return self.node("REPEAT_BACK", a.type, target, src=[a])

    def silu_back(self, grad: Tensor, x: Tensor) -> Tensor:
        """SILU_BACK."""
        return self.like(x, "SILU_BACK", [grad, x])

    def rms_norm_back(self, grad: Tensor, x: Tensor, *, eps: float) -> Tensor:
        """RMS_NORM_BACK."""
        return self.like(grad, "RMS_NORM_BACK", [grad, x], params={0: float(eps)})

    def soft_max_ext_back(self, grad: Tensor, y: Tensor, *, scale: float = 1.0) -> Tensor:
        """SOFT_MAX_BACK; `y` is the output of SOFT_MAX."""
        params = {0: float(scale), 1: 0.0}
        return self.like(grad, "SOFT_MAX_BACK", [grad, y], params=params)

    def get_rows_back(self, grad: Tensor, ids: Tensor, like: Tensor) -> Tensor:
        """GET_ROWS_BACK: scatter-add into [grad.ne0, rows of `like`]."""
        return self.node("GET_ROWS_BACK", "F32", (grad.ne[0], like.ne[1]), src=[grad, ids])

    def cross_entropy_loss(self, a: Tensor, b: Tensor) -> Tensor:
        """CROSS_ENTROPY_LOSS: one element."""
        return self.node("CROSS_ENTROPY_LOSS", a.type, (1,), src=[a, b])

    def cross_entropy_loss_back(self, grad: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """CROSS_ENTROPY_LOSS_BACK."""
        return self.like(a, "CROSS_ENTROPY_LOSS_BACK", [grad, a, b])

    def opt_step_adamw(
        self, a: Tensor, grad: Tensor, m: Tensor, *, v: Tensor, params: Tensor
    ) -> Tensor:
        """OPT_STEP_ADAMW on weights `a`, which get the parameter flag; a view of them."""
        a.flags |= FLAG_PARAM
        return self.view_of(a, "OPT_STEP_ADAMW", src=[a, grad, m, v, params])

    def opt_step_sgd(self, a: Tensor, grad: Tensor, params: Tensor) -> Tensor:
        """OPT_STEP_SGD on weights `a`, which get the parameter flag; a view of them."""
        a.flags |= FLAG_PARAM
        return self.view_of(a, "OPT_STEP_SGD", src=[a, grad, params])
