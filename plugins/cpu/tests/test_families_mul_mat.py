"""Which steps compute MUL_MAT and MUL_MAT_ID; nothing is compiled here."""

from __future__ import annotations

import pytest
from ggmlrpc_cpu.families import mul_mat
from ggmlrpc_cpu.step import Context, Step

from ggmlrpc_core.graph.build import GraphBuilder
from ggmlrpc_core.graph.tensor import Tensor


@pytest.fixture(params=[False, True], ids=["without AMX", "with AMX"])
def amx(request, monkeypatch) -> bool:
    monkeypatch.setattr(mul_mat, "amx_works", lambda: request.param)
    return request.param


def steps(node: Tensor, n_threads: int = 2) -> list[Step]:
    for i, t in enumerate(t for t in node.src if t is not None):
        t.buffer, t.offset = "buffer", i << 20
    family = mul_mat.mul_mat if node.op == "MUL_MAT" else mul_mat.mul_mat_id
    made = family(node, Context(n_threads))
    assert made is not None
    return made


def product(name: str, columns: int, *, k: int = 256, values: str = "F32") -> Tensor:
    b = GraphBuilder()
    return b.mul_mat(b.new_tensor(name, k, 40), b.new_tensor(values, k, columns))


def names(made: list[Step]) -> list[str]:
    return [s.kernel for s in made]


def test_one_column_of_blocks(amx):
    assert names(steps(product("Q4_K", 1))) == ["MUL_MAT:q8", "MUL_MAT:dot:Q4_K"]


def test_one_column_of_plain_weights_needs_no_conversion(amx):
    assert names(steps(product("F16", 1))) == ["MUL_MAT:dot:F16"]
    assert names(steps(product("F16", 1, values="F16"))) == ["MUL_MAT:f32", "MUL_MAT:dot:F16"]


def test_many_columns(amx):
    expected = ["MUL_MAT:bf16", "MUL_MAT:amx:Q4_K"] if amx else ["MUL_MAT:tile:Q4_K"]
    assert names(steps(product("Q4_K", 100))) == expected


def test_f32_weights_never_go_through_bf16(amx):
    assert names(steps(product("F32", 100))) == ["MUL_MAT:tile:F32"]


def test_rows_that_fill_no_tile_stay_in_f32(amx):
    assert names(steps(product("F16", 100, k=77))) == ["MUL_MAT:tile:F16"]


def test_types_without_dot_products_are_dequantized(amx):
    kernel = "MUL_MAT:amx:IQ1_S" if amx else "MUL_MAT:tile:IQ1_S"
    assert names(steps(product("IQ1_S", 1)))[-1] == kernel


def test_equal_columns_have_equal_keys(amx):
    b = GraphBuilder()
    x = b.new_tensor("F32", 256, 1)
    first, second, other = (
        steps(b.mul_mat(b.new_tensor(name, 256, 8), x))[0] for name in ("Q4_K", "Q5_K", "Q6_K")
    )
    assert first.makes_shared
    assert first.shared == second.shared
    assert first.shared != other.shared, "codes of Q6_K have another offset"


def test_experts_are_routed_first(amx):
    b = GraphBuilder()
    ids = b.new_tensor("I32", 2, 300)
    node = b.mul_mat_id(b.new_tensor("Q8_0", 64, 8, 4), b.new_tensor("F32", 64, 1, 300), ids)
    tail = ["MUL_MAT_ID:bf16", "MUL_MAT_ID:amx:Q8_0"] if amx else ["MUL_MAT_ID:tile:Q8_0"]
    made = steps(node)
    assert names(made) == ["MUL_MAT_ID:route", *tail]
    assert made[0].solo
    assert len({s.shared for s in made[1:]}) == 1
    assert made[0].shared[1] >= made[-1].shared[1], "the table and the columns fit"


def test_weights_are_never_copied_whole(amx):
    """Scratch grows with threads and the length of rows, not with the number of rows."""
    b = GraphBuilder()

    def scratch(n_rows: int) -> int:
        node = b.mul_mat(b.new_tensor("Q4_0", 4096, n_rows), b.new_tensor("F32", 4096, 64))
        return max(s.scratch for s in steps(node))

    assert scratch(4096) == scratch(65536) < 4 << 20


def test_quantized_values_are_left_to_the_reference(amx):
    node = product("F32", 2, values="Q8_0")
    assert mul_mat.mul_mat(node, Context(2)) is None
