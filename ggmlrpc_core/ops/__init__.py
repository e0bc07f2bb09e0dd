"""The reference op table: every ggml op as a pure function, with the rules that its nodes must keep.

Importing this package fills OPS. Modules are found by family; see each docstring.
"""

from ggmlrpc_core.ops import (  # noqa: F401  (imported for their declarations)
    arrange,
    attention,
    attention_back,
    backward,
    conv,
    copy,
    deepseek,
    elementwise,
    generate,
    glu,
    im2col,
    linear_attention,
    matmul,
    never,
    norm,
    optimizer,
    pool,
    reduce,
    rope,
    rows,
    softmax,
    solve,
    sort,
    state_space,
    unary,
    upscale,
    window,
)
from ggmlrpc_core.ops.declare import OPS, Ids, Leading, Op, Param, RowUpdate, Source, Updates
from ggmlrpc_core.ops.run import compute, run_node
from ggmlrpc_core.ops.validate import check_nodes

__all__ = [
    "OPS",
    "Ids",
    "Leading",
    "Op",
    "Param",
    "RowUpdate",
    "Source",
    "Updates",
    "check_nodes",
    "compute",
    "run_node",
]
