"""Ops that are declared and never computed here.

View ops name bytes that are already there. The CUSTOM ops carry addresses of functions in the process of the
client: a server that obeyed them would call an address that a peer chose.
"""

from __future__ import annotations

from ggmlrpc_core.ops.declare import ANY, Param, i32, op, source

_VIEWS: tuple[tuple[str, int, list[Param]], ...] = (
    ("NONE", 0, []),
    ("RESHAPE", 1, []),
    ("VIEW", 1, [i32(0, "offset_low"), i32(1, "offset_high")]),
    ("PERMUTE", 1, [i32(d, f"axis_{d}") for d in range(4)]),
    ("TRANSPOSE", 1, []),
)
_FUNCTION_POINTERS = (
    ("MAP_CUSTOM1", 1, "2024-05-14"),
    ("MAP_CUSTOM2", 2, "2024-05-14"),
    ("MAP_CUSTOM3", 3, "2024-05-14"),
    ("CUSTOM", 0, "2025-04-09"),
)

for _name, _n, _params in _VIEWS:
    op(
        _name,
        sources=[source("a", *ANY)] * _n,
        result=ANY,
        params=_params,
        precision="nothing is computed",
        since="2024-05-14",
        upstream="ggml-cpu/ggml-cpu.c ggml_compute_forward",
    )(None)
for _name, _n, _since in _FUNCTION_POINTERS:
    op(
        _name,
        sources=[source(letter, *ANY) for letter in "abc"[:_n]],
        result=ANY,
        precision="always refused: it carries a function pointer",
        since=_since,
        upstream="ggml-cpu/ops.cpp ggml_compute_forward_map_custom1",
    )(None)
