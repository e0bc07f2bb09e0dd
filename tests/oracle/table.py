"""The float64 evaluation of every computed op, by name."""

from __future__ import annotations

import numpy as np
from oracle import elements as e
from oracle import images as i
from oracle import products as p
from oracle import sequences as s

from ggmlrpc_core.ggml.numbering import NEWEST

UNARY_NAMES = {number: name for name, number in NEWEST.unary.items()}
GLU_NAMES = {number: name for name, number in NEWEST.glu.items()}


def _leading(node, x):
    """TOP_K: the k largest, compared as a set."""
    return np.argsort(-x, axis=-1)[..., : node.ne[0]]


ORACLE = {
    "DUP": e.copy, "CPY": e.copy, "CONT": e.copy,
    "ADD": e.add, "SUB": e.sub, "MUL": e.mul, "DIV": e.div, "ADD_ID": e.add_id,
    "ADD1": lambda n, a, b: a + b.item(),
    "ACC": lambda n, a, b: e.window(n, a, b, True), "SET": lambda n, a, b: e.window(n, a, b, False),
    "SQR": lambda n, x: x * x, "SQRT": lambda n, x: np.sqrt(x), "LOG": lambda n, x: np.log(x),
    "SIN": lambda n, x: np.sin(x), "COS": lambda n, x: np.cos(x),
    "SCALE": lambda n, x: x * n.f32(0) + n.f32(1), "CLAMP": e.clamp,
    "LEAKY_RELU": lambda n, x: np.where(x > 0, x, 0) + n.f32(0) * np.where(x < 0, x, 0),
    "UNARY": e.unary(UNARY_NAMES), "GLU": e.glu(GLU_NAMES), "FILL": lambda n, x: np.full(n.shape, n.f32(0)),
    "SUM": lambda n, x: x.sum().reshape(n.shape), "SUM_ROWS": lambda n, x: x.sum(axis=-1, keepdims=True),
    "MEAN": lambda n, x: x.mean(axis=-1, keepdims=True), "CUMSUM": lambda n, x: x.cumsum(axis=-1),
    "COUNT_EQUAL": lambda n, a, b: (a == b).sum().reshape(n.shape),
    "ARGMAX": e.argmax, "ARGSORT": e.order, "TOP_K": _leading,
    "REPEAT": lambda n, x, *_: np.tile(x, [a // b for a, b in zip(n.shape, x.shape)]),
    "REPEAT_BACK": e.repeat_back, "CONCAT": lambda n, a, b: np.concatenate([a, b], axis=3 - n.i32(0)),
    "PAD": e.pad, "PAD_REFLECT_1D": e.pad_reflect_1d,
    "ROLL": lambda n, x: np.roll(x, [n.i32(k) for k in range(4)], axis=[3, 2, 1, 0]),
    "NORM": e.norm, "RMS_NORM": e.rms_norm, "L2_NORM": e.l2_norm, "GROUP_NORM": e.group_norm,
    "SOFT_MAX": e.soft_max, "DIAG": e.diag, "TRI": e.triangle, "DIAG_MASK_INF": e.masked(-np.inf),
    "DIAG_MASK_ZERO": e.masked(0.0), "TIMESTEP_EMBEDDING": e.timestep_embedding, "ARANGE": e.arange,
    "MUL_MAT": p.mul_mat, "MUL_MAT_ID": p.mul_mat_id, "OUT_PROD": p.out_prod,
    "FLASH_ATTN_EXT": p.flash_attn_ext, "FLASH_ATTN_BACK": p.flash_attn_back,
    "ROPE": p.rope(1), "ROPE_BACK": p.rope(-1),
    "GET_ROWS": p.get_rows, "SET_ROWS": p.set_rows, "GET_ROWS_BACK": p.get_rows_back,
    "CONV_2D": i.conv_2d, "CONV_2D_DW": i.conv_2d_dw, "CONV_3D": i.conv_3d, "IM2COL": i.im2col,
    "IM2COL_BACK": i.im2col_back, "IM2COL_3D": i.im2col_3d, "COL2IM_1D": i.col2im_1d,
    "CONV_TRANSPOSE_1D": i.conv_transpose_1d, "CONV_TRANSPOSE_2D": i.conv_transpose_2d,
    "POOL_1D": i.pool_1d, "POOL_2D": i.pool_2d, "POOL_2D_BACK": i.pool_2d_back, "UPSCALE": i.upscale,
    "WIN_PART": i.win_part, "WIN_UNPART": i.win_unpart, "GET_REL_POS": i.get_rel_pos, "ADD_REL_POS": i.add_rel_pos,
    "SSM_CONV": s.ssm_conv, "SSM_SCAN": s.ssm_scan, "RWKV_WKV6": s.rwkv_wkv6, "RWKV_WKV7": s.rwkv_wkv7,
    "GATED_LINEAR_ATTN": s.gated_linear_attn, "GATED_DELTA_NET": s.gated_delta_net, "SOLVE_TRI": s.solve_tri,
    "LIGHTNING_INDEXER": s.lightning_indexer, "DSV4_HC_COMB": s.hc_comb, "DSV4_HC_PRE": s.hc_pre,
    "DSV4_HC_POST": s.hc_post,
    "SILU_BACK": s.silu_back, "RMS_NORM_BACK": s.rms_norm_back, "SOFT_MAX_BACK": s.soft_max_back,
    "CROSS_ENTROPY_LOSS": s.cross_entropy_loss, "CROSS_ENTROPY_LOSS_BACK": s.cross_entropy_loss_back,
    "OPT_STEP_ADAMW": s.adamw, "OPT_STEP_SGD": s.sgd,
}  # fmt: skip
