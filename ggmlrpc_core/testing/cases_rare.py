"""Op cases outside plain language models: generators, images, state space models, training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ggmlrpc_core.testing.cases_model import ENCODED, RESULT
from ggmlrpc_core.testing.inputs import EXACT, Case, Inputs

CONV = 1e-5
"""Bound of convolutions: kernels in F16, long sums in f32."""
SCAN = 1e-6
"""Bound of recurrences, where rounding adds up over tokens."""
F32 = RESULT["F32"]


def elementwise() -> Iterator[Case]:
    """Element-wise leftovers and generators."""
    yield Case("ADD1/F32", lambda b: b.add1(b.rand("F32", 33, 3), b.rand("F32", 1)), F32)
    for op in ("ACC", "SET"):

        def window(b: Inputs, op=op):
            a = b.rand("F32", 8, 6, 2)
            return b.window(op, a, b.rand("F32", 5, 3), nb=a.nb[1:], offset=a.nb[1] + 8)

        yield Case(f"{op}/F32 window", window, F32)
    for op, low in (("log", 0.1), ("sin", -6.0), ("cos", -6.0)):
        for t in ("F32", "F16"):
            yield Case(
                f"{op.upper()}/{t}",
                lambda b, op=op, t=t, low=low: getattr(b, op)(b.rand(t, 33, 3, low=low, high=6.0)),
                RESULT[t],
            )
    yield Case(
        "UNARY/XIELU F32",
        lambda b: b.xielu(
            b.rand("F32", 33, 3, low=-3, high=3), alpha_n=0.8, alpha_p=0.8, beta=0.5, eps=-1e-6
        ),
        F32,
    )
    yield Case("LEAKY_RELU/F32", lambda b: b.leaky_relu(b.rand("F32", 33, 3), 0.1), F32)
    yield Case("FILL/F32", lambda b: b.fill(b.rand("F32", 33, 3), 1.5), EXACT)
    for kind in range(4):
        yield Case(f"TRI/{kind}", lambda b, k=kind: b.tri(b.rand("F32", 9, 9, 2), k), EXACT)
    yield Case("DIAG/F32", lambda b: b.diag(b.rand("F32", 7, 1, 3)), EXACT)
    yield Case("DIAG_MASK_ZERO/F32", lambda b: b.diag_mask_zero(b.rand("F32", 7, 5), 1), F32)
    yield Case("ROLL/F32", lambda b: b.roll(b.rand("F32", 7, 5, 4, 3), 2, -1, 3, 1), EXACT)
    yield Case("ARANGE/F32", lambda b: b.arange(1.0, 9.5, 0.5), F32)
    for dim in (8, 15):
        yield Case(
            f"TIMESTEP_EMBEDDING/dim={dim}",
            lambda b, d=dim: b.timestep_embedding(b.rand("F32", 5, low=0, high=900), d, 10000),
            1e-6,
        )
    yield Case("COUNT_EQUAL/I32", lambda b: b.count_equal(b.ids(3, 40, 5), b.ids(3, 40, 5)), EXACT)
    for t in ("Q4_0", "Q8_0"):
        yield Case(f"ADD1/{t}", lambda b, t=t: b.add1(b.rand(t, 64, 3), b.rand("F32", 1)), ENCODED)


def images() -> Iterator[Case]:
    """Convolutions, pooling, scaling, windows."""
    for t in ("F32", "F16"):

        def im2col(b: Inputs, t=t):
            kernel, data = b.rand("F16", 3, 2, 4, 5), b.rand("F32", 9, 7, 4, 2)
            return b.im2col(kernel, data, stride=(2, 1), pad=(1, 0), dilation=(1, 2), ggml_type=t)

        yield Case(f"IM2COL/{t}", im2col, RESULT[t])
        yield Case(
            f"CONV_2D/{t}",
            lambda b, t=t: b.conv_2d(b.rand(t, 3, 3, 4, 5), b.rand("F32", 9, 7, 4, 2), pad=(1, 1)),
            CONV,
        )
        yield Case(
            f"CONV_2D_DW/{t}",
            lambda b, t=t: b.conv_2d(
                b.rand(t, 3, 3, 1, 4),
                b.rand("F32", 9, 7, 4),
                stride=(2, 2),
                pad=(1, 1),
                depthwise=True,
            ),
            CONV,
        )
        yield Case(
            f"CONV_TRANSPOSE_1D/{t}",
            lambda b, t=t: b.conv_transpose_1d(b.rand(t, 4, 3, 5), b.rand("F32", 8, 5), stride=2),
            CONV,
        )
        yield Case(
            f"CONV_TRANSPOSE_2D/{t}",
            lambda b, t=t: b.conv_transpose_2d(
                b.rand(t, 3, 3, 2, 4), b.rand("F32", 5, 6, 4), stride=2
            ),
            CONV,
        )
    yield Case(
        "IM2COL/1-D",
        lambda b: b.im2col(
            b.rand("F16", 3, 4, 5), b.rand("F32", 9, 4, 2), is_2d=False, ggml_type="F32"
        ),
        F32,
    )
    yield Case(
        "CONV_2D_DW/channels first in memory",
        lambda b: b.conv_2d(
            b.permute(b.rand("F32", 4, 1, 3, 3), 3, 2, 0, 1),
            b.permute(b.rand("F32", 4, 9, 7), 2, 0, 1, 3),
            depthwise=True,
        ),
        CONV,
    )
    yield Case(
        "COL2IM_1D/F32",
        lambda b: b.col2im_1d(b.rand("F32", 12, 5), stride=2, channels=3, crop=1),
        F32,
    )
    for kind in (0, 1):
        yield Case(
            f"POOL_1D/{kind}",
            lambda b, k=kind: b.pool_1d(b.rand("F32", 16, 3), k, k=2, stride=2, pad=0),
            F32,
        )
        yield Case(
            f"POOL_2D/{kind}",
            lambda b, k=kind: b.pool_2d(
                b.rand("F32", 9, 8, 3, 2), k, k=(3, 2), stride=(2, 2), pad=(1, 0)
            ),
            F32,
        )
    for mode in (0, 1, 2, 256, 257, 258, 513):
        yield Case(
            f"UPSCALE/mode={mode}",
            lambda b, m=mode: b.upscale(b.rand("F32", 5, 4, 3), 10, 7, 3, mode=m),
            1e-6,
        )
    for mode in (0, 1, 513):
        yield Case(
            f"UPSCALE/smaller, mode={mode}",
            lambda b, m=mode: b.upscale(b.rand("F32", 9, 8, 3), 4, 3, 2, mode=m),
            1e-6,
        )
    for t in ("F32", "F16"):
        yield Case(
            f"CONV_2D/{t} strided, dilated",
            lambda b, t=t: b.conv_2d(
                b.rand(t, 2, 3, 3, 4),
                b.rand("F32", 11, 9, 3, 2),
                stride=(2, 3),
                pad=(2, 1),
                dilation=(3, 2),
            ),
            CONV,
        )
        yield Case(
            f"POOL_2D/{t} overlapping, fractional padding",
            lambda b, t=t: b.pool_2d(
                b.rand(t, 9, 8, 3), 1, k=(3, 3), stride=(2, 1), pad=(0.5, 1.5)
            ),
            F32,
        )
    yield Case("PAD_REFLECT_1D/F32", lambda b: b.pad_reflect_1d(b.rand("F32", 9, 3), 2, 4), EXACT)

    def im2col_back(b: Inputs):
        grad = b.rand("F32", 24, 7, 6, 2)
        return b.im2col_back(grad, b.rand("F32", 3, 2, 4, 5), 9, 7, 4, 2)

    def pool_2d_back(b: Inputs, kind: int):
        data = b.rand("F32", 8, 6, 3)
        pooled = b.rand("F32", 4, 3, 3)
        return b.pool_2d_back(pooled, data, kind, k=(2, 2), stride=(2, 2))

    yield Case("IM2COL_BACK/F32", im2col_back, F32)
    for kind in (0, 1):
        yield Case(f"POOL_2D_BACK/{kind}", lambda b, k=kind: pool_2d_back(b, k), F32)
    for t in ("F32", "F16"):
        yield Case(
            f"IM2COL_3D/{t}",
            lambda b, t=t: b.im2col_3d(
                b.rand("F16", 3, 2, 2, 12), b.rand("F32", 7, 6, 5, 8), 4, pad=(1, 0, 1), ggml_type=t
            ),
            RESULT[t],
        )
        yield Case(
            f"CONV_3D/{t}",
            lambda b, t=t: b.conv_3d(
                b.rand(t, 3, 2, 2, 12),
                b.rand("F32", 7, 6, 5, 8),
                4,
                stride=(2, 1, 1),
                pad=(1, 0, 1),
            ),
            CONV,
        )
    yield Case("WIN_PART/F32", lambda b: b.win_part(b.rand("F32", 4, 7, 6), 4), EXACT)
    yield Case("WIN_UNPART/F32", lambda b: b.win_unpart(b.rand("F32", 4, 4, 4, 4), 7, 6, 4), EXACT)
    yield Case("GET_REL_POS/F16", lambda b: b.get_rel_pos(b.rand("F16", 8, 11), 6, 6), EXACT)
    yield Case(
        "ADD_REL_POS/F32",
        lambda b: b.add_rel_pos(
            b.rand("F32", 16, 12, 2), b.rand("F32", 4, 4, 3, 2), b.rand("F32", 4, 4, 3, 2)
        ),
        F32,
    )


def recurrent() -> Iterator[Case]:
    """State space models and linear attention."""
    yield Case(
        "SSM_CONV/F32", lambda b: b.ssm_conv(b.rand("F32", 9, 8, 2), b.rand("F32", 4, 8)), 1e-6
    )
    for mamba2 in (False, True):

        def scan(b: Inputs, mamba2=mamba2):
            d_state, dim, heads, t, s = 16, (8 if mamba2 else 1), 6, 5, 2
            return b.ssm_scan(
                b.rand("F32", d_state, dim, heads, 3), b.rand("F32", dim, heads, t, s), b.rand("F32", heads, t, s),
                a=b.rand("F32", 1 if mamba2 else d_state, heads, low=-2.0, high=-0.1),
                b=b.rand("F32", d_state, 2, t, s), c=b.rand("F32", d_state, 2, t, s),
                ids=b.ids(3, s, distinct=True),
            )  # fmt: skip

        yield Case(f"SSM_SCAN/mamba{2 if mamba2 else 1}", scan, SCAN)

    def snapshots(b: Inputs):
        d_state, dim, heads, t, s = 16, 4, 4, 5, 2
        return b.ssm_scan(
            b.rand("F32", d_state, dim, heads, 4), b.rand("F32", dim, heads, t, s), b.rand("F32", heads, t, s),
            a=b.rand("F32", 1, heads, low=-2.0, high=-0.1),
            b=b.rand("F32", d_state, 1, t, s), c=b.rand("F32", d_state, 1, t, s),
            ids=b.ids(4, s, distinct=True), slots=3,
        )  # fmt: skip

    yield Case("SSM_SCAN/mamba2 slots=3", snapshots, SCAN)

    def square(b: Inputs, n: int, size: int = 16):
        return [b.rand("F32", size, 2, 6, low=0.0) for _ in range(n)]

    def wkv6(b: Inputs):
        k, v, r, td = square(b, 4)
        tf, state = b.rand("F32", 16, 2), b.rand("F32", 16 * 16 * 2, 2)
        return b.rwkv_wkv6(k, v, r, tf=tf, td=td, state=state)

    def wkv7(b: Inputs):
        # heads of 64: with others the stock CPU's vector loop runs past their end
        r, w, k, v, a, c = square(b, 6, 64)
        a = b.scale(a, -0.01)
        return b.rwkv_wkv7(r, w, k, v=v, a=a, b=c, state=b.rand("F32", 64 * 64 * 2, 2))

    def gla(b: Inputs):
        k, v, q, g = square(b, 4)
        return b.gated_linear_attn(k, v, q, g=g, state=b.rand("F32", 16 * 16 * 2, 2), scale=0.25)

    def delta(b: Inputs, gate: int, slots: int):
        q, k = b.rand("F32", 16, 2, 5, 2), b.rand("F32", 16, 2, 5, 2)
        return b.gated_delta_net(
            b.l2_norm(q, eps=1e-6), b.l2_norm(k, eps=1e-6), b.rand("F32", 16, 4, 5, 2),
            g=b.rand("F32", gate, 4, 5, 2, low=-1.0, high=-0.1),
            beta=b.rand("F32", 1, 4, 5, 2, low=0.1), state=b.rand("F32", 16, 16, 4, 2), slots=slots,
        )  # fmt: skip

    yield Case("RWKV_WKV6/F32", wkv6, SCAN)
    yield Case("RWKV_WKV7/F32", wkv7, SCAN)
    yield Case("GATED_LINEAR_ATTN/F32", gla, SCAN)
    for gate, slots in ((1, 1), (16, 1), (1, 3)):
        yield Case(
            f"GATED_DELTA_NET/gate={gate} slots={slots}",
            lambda b, g=gate, s=slots: delta(b, g, s),
            SCAN,
        )

    def solve(b: Inputs):
        lower = np.tril(b.rng.uniform(-0.5, 0.5, (2, 6, 6))) + 2 * np.eye(6)
        return b.solve_tri(b.given("F32", lower.astype(np.float32)), b.rand("F32", 4, 6, 2))

    yield Case("SOLVE_TRI/F32", solve, SCAN)

    def indexer(b: Inputs, t: str):
        return b.lightning_indexer(
            b.rand("F32", 32, 4, 3), b.rand(t, 32, 1, 9), b.rand("F32", 4, 3), b.causal_mask(9, 3)
        )

    for t in ("F32", "F16", "Q8_0"):
        yield Case(f"LIGHTNING_INDEXER/{t}", lambda b, t=t: indexer(b, t), 1e-6)
    yield Case(
        "DSV4_HC_COMB/F32",
        lambda b: b.dsv4_hc_comb(
            b.rand("F32", 24, 5), b.rand("F32", 3), b.rand("F32", 24), eps=1e-6, n_iter=4
        ),
        SCAN,
    )
    yield Case(
        "DSV4_HC_PRE/F32",
        lambda b: b.dsv4_hc_pre(b.rand("F32", 16, 4, 5), b.rand("F32", 4, 5)),
        F32,
    )
    yield Case(
        "DSV4_HC_PRE/gated",
        lambda b: b.dsv4_hc_pre(
            b.rand("F32", 16, 4, 5), b.rand("F32", 16, 4, 5), scale=0.5, gated=True
        ),
        1e-6,
    )
    for with_comb in (True, False):
        yield Case(
            f"DSV4_HC_POST/comb={with_comb}",
            lambda b, c=with_comb: b.dsv4_hc_post(
                b.rand("F32", 16, 5), b.rand("F32", 16, 4, 5), b.rand("F32", 4, 5),
                b.rand("F32", 4, 4, 5) if c else None,
            ),
            F32,
        )  # fmt: skip


def training() -> Iterator[Case]:
    """Gradients, losses, optimizer steps."""
    yield Case("REPEAT_BACK/F32", lambda b: b.repeat_back(b.rand("F32", 8, 6, 4), (4, 3, 2)), F32)
    yield Case(
        "SILU_BACK/F32", lambda b: b.silu_back(b.rand("F32", 33, 3), b.rand("F32", 33, 3)), F32
    )
    yield Case(
        "RMS_NORM_BACK/F32",
        lambda b: b.rms_norm_back(b.rand("F32", 33, 3), b.rand("F32", 33, 3), eps=1e-5),
        F32,
    )
    yield Case(
        "SOFT_MAX_BACK/F32",
        lambda b: b.soft_max_ext_back(b.rand("F32", 33, 3), b.rand("F32", 33, 3, low=0), scale=0.5),
        F32,
    )
    yield Case(
        "GET_ROWS_BACK/F32",
        lambda b: b.get_rows_back(b.rand("F32", 16, 7), b.ids(5, 7), b.rand("F32", 16, 5)),
        F32,
    )
    yield Case(
        "CROSS_ENTROPY_LOSS/F32",
        lambda b: b.cross_entropy_loss(b.rand("F32", 33, 4), b.rand("F32", 33, 4, low=0)),
        F32,
    )
    yield Case(
        "CROSS_ENTROPY_LOSS_BACK/F32",
        lambda b: b.cross_entropy_loss_back(
            b.rand("F32", 1), b.rand("F32", 33, 4), b.rand("F32", 33, 4, low=0)
        ),
        F32,
    )

    def adamw(b: Inputs):
        w, g, m = (b.rand("F32", 33, 3) for _ in range(3))
        v = b.rand("F32", 33, 3, low=0.0)
        params = b.given("F32", np.array([1e-3, 0.9, 0.999, 1e-8, 0.01, 10.0, 1000.0], np.float32))
        return b.opt_step_adamw(w, g, m, v=v, params=params), m, v

    def sgd(b: Inputs):
        params = b.given("F32", np.array([0.1, 0.01], np.float32))
        return b.opt_step_sgd(b.rand("F32", 33, 3), b.rand("F32", 33, 3), params)

    yield Case("OPT_STEP_ADAMW/F32", adamw, 1e-6)
    yield Case("OPT_STEP_SGD/F32", sgd, F32)


RARE_GROUPS = (elementwise, images, recurrent, training)
