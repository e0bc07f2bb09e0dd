"""Graph messages: what is accepted, what is refused and in which words."""

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.bind import Bound
from ggmlrpc_core.graph.parse import parse_graph
from ggmlrpc_core.wire.dialects import dialect
from ggmlrpc_core.wire.tensors import TensorRecord, to_wire

D = dialect("7.0.0")
BASE, SIZE = 0x10000, 4096
OWN = Bound("buffer", BASE, SIZE)


def record(i, op="NONE", src=(), *, at=0, ne=(8, 1, 1, 1), flags=16, **kwargs):
    nb = (4, 4 * ne[0], 4 * ne[0] * ne[1], 4 * ne[0] * ne[1] * ne[2])
    return TensorRecord(
        id=i, type=0, ne=ne, nb=kwargs.pop("nb", nb), op=NEWEST.ops[op], src=(*src, *[0] * (10 - len(src))),
        flags=flags, **{"buffer": 9, "data": BASE + at, "name": f"t{i}".encode(), **kwargs},
    )  # fmt: skip


A, B = record(1), record(2, at=32)
SUM = record(3, "ADD", (1, 2), at=64, use_count=1)


def parse(nodes, records, *, checked=None, array=None, d=D):
    return parse_graph(
        np.array(nodes, np.uint64),
        to_wire(d, records) if array is None else array,
        dialect=d,
        resolve={9: OWN}.get,
        check_nodes=lambda table, rows: (
            checked.append(rows.tolist()) if checked is not None else None
        ),
    )


def refusal(nodes, records, **kwargs):
    with pytest.raises(BadGraph) as caught:
        parse(nodes, records, **kwargs)
    return str(caught.value)


def test_a_graph_is_resolved_and_bound():
    checked = []
    graph = parse([3], [A, B, SUM], checked=checked)
    (node,) = graph.nodes
    assert (node.op, node.name, node.ne, node.offset, node.buffer) == (
        "ADD",
        "t3",
        (8, 1, 1, 1),
        64,
        "buffer",
    )
    assert [s.name for s in node.src] == ["t1", "t2"]
    assert (node.use_count, node.type, node.flags) == (1, TYPES["F32"], 16)
    assert graph.work == graph.nodes
    assert checked == [[2]]


def test_the_key_follows_what_runs_and_not_names_or_ids():
    key = parse([3], [A, B, SUM]).key
    renamed = [
        r._replace(id=r.id + 100, name=b"x", src=tuple(s and s + 100 for s in r.src))
        for r in (A, B, SUM)
    ]
    assert parse([103], renamed).key == key
    assert parse([3], [A, B, SUM._replace(data=BASE + 128)]).key != key
    assert parse([3], [A, B, SUM._replace(op=NEWEST.ops["MUL"])]).key != key
    assert parse([3], [A, B, SUM._replace(use_count=2)]).key != key
    assert parse([3], [A, B, SUM._replace(op_params=(1,) + (0,) * 15)]).key != key


def test_views_and_empty_and_unflagged_nodes_do_not_run():
    view = record(4, "VIEW", (1,), view_src=1)
    empty = record(5, "ADD", (1, 2), ne=(0, 1, 1, 1), at=SIZE)
    unflagged = record(6, "ADD", (1, 2), flags=0)
    checked = []
    graph = parse([4, 5, 6, 3], [A, B, SUM, view, empty, unflagged], checked=checked)
    assert [n.name for n in graph.nodes] == ["t4", "t5", "t6", "t3"]
    assert [n.name for n in graph.work] == ["t3"]
    assert checked == [[2]]
    assert graph.nodes[0].view_src is graph.work[0].src[0]


def test_without_any_compute_flag_every_node_runs():
    graph = parse([3], [A, B, SUM._replace(flags=0)])
    assert [n.name for n in graph.work] == ["t3"]


def test_no_nodes():
    assert parse([], []).nodes == []


def test_the_first_of_duplicate_tensors_wins():
    other = record(1, at=256)
    graph = parse([3], [A, other, B, SUM])
    assert graph.nodes[0].src[0].offset == 0


def test_a_cast_may_name_itself():
    cast = record(7, "CPY", (1, 7), at=64)
    (node,) = parse([7], [A, cast]).nodes
    assert node.src[1] is node


def test_a_long_chain_is_just_a_long_list():
    n = 20000
    chain = [record(1)] + [record(i, "ADD", (i - 1, 1), at=32) for i in range(2, n)]
    assert len(parse(range(2, n), chain).work) == n - 2


def test_missing_ids():
    assert refusal([8], [A]) == "GRAPH_COMPUTE: node id is 0x8, expected an id of the tensor list"
    assert refusal([0], [A]) == "GRAPH_COMPUTE: node id is 0x0, expected an id of the tensor list"
    assert (
        refusal([3], [A, SUM])
        == "GRAPH_COMPUTE: source id of 't3' is 0x2, expected an id of the tensor list"
    )
    assert refusal([3], [A, B, SUM._replace(view_src=77)]) == (
        "GRAPH_COMPUTE: source id of 't3' is 0x4d, expected an id of the tensor list"
    )


def test_missing_ids_out_of_reach_do_not_matter():
    stray = record(5, "ADD", (98, 99), at=64)
    assert len(parse([3], [A, B, SUM, stray]).work) == 1


def test_a_tensor_with_id_zero_can_be_a_node():
    assert parse([0], [A, B, SUM._replace(id=0)]).work[0].op == "ADD"


def test_a_node_listed_twice():
    assert (
        refusal([3, 3], [A, B, SUM])
        == "GRAPH_COMPUTE: node list is one id twice, expected each id once"
    )


@pytest.mark.parametrize("number", [4, 31, 38, 43, 0xFFFFFFFF])
def test_types_that_do_not_live(number):
    array = to_wire(D, [A, B, SUM])
    array["type"][1] = number
    assert (
        refusal([3], [], array=array)
        == f"GRAPH_COMPUTE: type is {number}, expected a live type [tensor 't2']"
    )


def test_rows_must_be_whole_blocks():
    bad = record(1, ne=(31, 1, 1, 1))._replace(type=TYPES["Q4_0"].id)
    assert refusal([3], [bad, B, SUM]) == (
        "GRAPH_COMPUTE: ne[0] is 31, expected a multiple of the block size of its type [tensor 't1']"
    )


def test_extents_that_overflow():
    huge = record(1)._replace(ne=(2**31, 2**31, 2**31, 1))
    assert refusal([3], [huge, B, SUM]) == (
        "GRAPH_COMPUTE: ne is [2147483648, 2147483648, 2147483648, 1], expected fewer than 2^62 elements [tensor 't1']"
    )
    wide = record(1)._replace(ne=(2**31 - 1, 2**30, 1, 1), nb=(2**32 - 1, 2**32 - 1, 1, 1))
    assert (
        "nb is [4294967295, 4294967295, 1, 1], expected fewer than 2^62 bytes spanned"
        in refusal([3], [wide, B, SUM])
    )


@pytest.mark.parametrize(
    "data", [BASE - 1, BASE - 2**15, BASE + SIZE - 31, BASE + SIZE, 2**64 - 16, 0]
)
def test_bytes_outside_the_buffer(data):
    message = refusal([3], [A._replace(data=data), B, SUM])
    assert message == (
        f"GRAPH_COMPUTE: region is [{data:#x}, {data + 32:#x}), expected inside its buffer [tensor 't1']"
    )


def test_the_last_byte_of_the_buffer_is_inside():
    parse([3], [A._replace(data=BASE + SIZE - 32), B, SUM])


def test_strides_reach_outside():
    wide = record(1)._replace(ne=(1, 3, 1, 1), nb=(4, 4092, 4, 4))
    assert "region is" in refusal([3], [wide, B, SUM])


def test_foreign_tensors_are_fine_unless_touched():
    foreign = record(5, buffer=0, data=0)
    view = record(6, "VIEW", (5,), buffer=0, data=0)
    assert len(parse([6, 3], [A, B, SUM, foreign, view]).work) == 1
    assert refusal([3], [A, foreign._replace(id=2), SUM]) == (
        "GRAPH_COMPUTE: buffer is 0x0, expected a buffer of this connection for a tensor that is computed or read "
        "[tensor 't5']"
    )
    assert refusal([3], [A, B, SUM._replace(buffer=1234, data=0)]).startswith(
        "GRAPH_COMPUTE: buffer is 0x4d2, "
    )


def test_an_address_without_a_buffer():
    wild = record(5, buffer=0, data=0x7FFF0000)
    assert refusal([3], [A, B, SUM, wild]) == (
        "GRAPH_COMPUTE: data of a tensor without buffer is 0x7fff0000, expected 0 [tensor 't5']"
    )
    assert "0x7fff0000" in refusal([3], [A, B, SUM, wild._replace(buffer=1234)])


def test_names_of_a_peer_are_escaped():
    message = refusal([3], [A._replace(name=b"\x1b[31m\n", data=0), B, SUM])
    assert "\x1b" not in message
    assert "\n" not in message


def test_a_view_of_an_old_client_is_in_the_buffer_of_what_it_shows():
    """Clients of before 2024-06 name the buffer of the graph's results in views of anything."""
    other = {9: OWN, 8: Bound("results", 1 << 40, 64)}.get
    whole = record(1)
    view = record(2, "VIEW", (1,), at=16, ne=(4, 1, 1, 1), view_src=1, buffer=8)
    copy = record(3, "CPY", (1, 2), at=16, ne=(4, 1, 1, 1), view_src=1, buffer=8)

    def read(name, *records):
        d = dialect(name)
        return parse_graph(
            np.array([3], np.uint64), to_wire(d, list(records)), dialect=d, resolve=other,
            check_nodes=lambda table, rows: None,
        )  # fmt: skip

    (node,) = read("none-A", whole, view, copy).nodes
    assert (node.buffer, node.offset) == ("buffer", 16)
    assert [(s.buffer, s.offset) for s in node.src] == [("buffer", 0), ("buffer", 16)]
    with pytest.raises(BadGraph, match="region is"):
        read("7.0.0", whole, view, copy)
    with pytest.raises(BadGraph, match="region is"):
        read("none-A", whole, view, copy._replace(data=BASE + SIZE))
    with pytest.raises(BadGraph, match="region is"):
        read("none-A", whole, view, copy._replace(view_src=0))
