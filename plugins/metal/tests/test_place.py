"""Which nodes are host stages, and why."""

import pytest
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.place import host_reason, seconds

from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.testing.host import HostDevice


def placed(build):
    b = GraphBuilder()
    node = build(b)
    allocate([node], HostDevice())
    return node


def test_common_nodes_are_traced():
    node = placed(lambda b: b.mul_mat(b.new_tensor("Q4_K", 256, 8), b.new_tensor("F32", 256, 2)))
    assert host_reason(node, None, gpu=True) == ""


def test_an_override_makes_a_host_op_a_traced_one():
    node = placed(
        lambda b: b.mul_mat_id(
            b.new_tensor("F32", 32, 8, 4), b.new_tensor("F32", 32, 1, 1), b.new_tensor("I32", 2, 1)
        )
    )
    assert host_reason(node, None, gpu=False) == "experts are chosen by ids"
    assert host_reason(node, Override("MUL_MAT_ID", bool, print), gpu=False) == ""


def test_elements_that_are_not_aligned():
    node = placed(lambda b: b.scale(b.new_tensor("F32", 8), 2.0))
    node.src[0].offset += 2
    assert host_reason(node, None, gpu=False) == "a tensor is not aligned to its elements"


def test_what_a_gpu_lacks():
    node = placed(lambda b: b.cont(b.new_tensor("F64", 8)))
    assert host_reason(node, None, gpu=False) == ""
    assert host_reason(node, None, gpu=True) == "F64 is unknown to the GPU"
    node = placed(lambda b: b.cpy(b.new_tensor("I64", 8), b.view(b.new_tensor("I64", 8, 8), 1, 8)))
    node.nb = (8, 64, 512, 512)
    assert host_reason(node, None, gpu=True) == "a GPU does not scatter I64"


def test_rows_that_do_not_start_at_multiples_of_a_step():
    node = placed(
        lambda b: b.set_rows(
            b.new_tensor("F32", 8, 8), b.new_tensor("F32", 8, 2), b.new_tensor("I64", 2)
        )
    )
    assert host_reason(node, None, gpu=False) == ""
    node.nb = (4, 40, 320, 320)
    assert host_reason(node, None, gpu=False) == "rows are not at multiples of a step"


@pytest.mark.parametrize(
    ("ggml_type", "reason"), [("Q4_0", ""), ("Q6_K", "a tensor of over 2 GiB")]
)
def test_large_tensors_must_have_rows_of_whole_words(ggml_type, reason):
    node = product(ggml_type, 1)
    weights = node.src[0]
    weights.ne = (256, 1 << 24, 1, 1)
    weights.nb = (*weights.nb[:2], weights.nb[1] << 24, weights.nb[1] << 24)
    assert host_reason(node, None, gpu=True).startswith(reason)


def product(ggml_type: str, n: int):
    """64 rows of weights times n columns."""
    return placed(
        lambda b: b.mul_mat(b.new_tensor(ggml_type, 256, 64), b.new_tensor("F32", 256, n))
    )


def test_more_work_takes_longer():
    times = [seconds(product("F16", n), gpu=False) for n in (1, 16, 256)]
    assert times == sorted(times) and times[2] > 10 * times[0]
    moved = 2 * 256 * 64 + 4 * 16 * (256 + 64)
    assert times[1] == pytest.approx(4e-6 + 2 * 256 * 64 * 16 / 4e9 + moved / 4e9)
