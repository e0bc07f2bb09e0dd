import re
from itertools import pairwise

import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.types import read_table
from ggmlrpc_core.wire import dialects
from ggmlrpc_core.wire.version import V


def test_names_newest_and_lookup():
    names = dialects.dialect_names()
    assert names[0] == "none-A"
    assert names[-3:] == ["5.1.0", "6.0.0", "7.0.0"]
    assert dialects.newest().name == "7.0.0"
    assert dialects.by_version(V(6, 0)).name == "6.0.0"
    assert dialects.by_version(V(6, 1)) is None
    assert dialects.by_version(V(2, 0)).name == "2.0.0@2025-10-02"


def test_a_bare_version_means_its_last_numbering():
    assert dialects.dialect("2.0.0").name == "2.0.0@2025-10-02"
    assert dialects.dialect("none-C").name == "none-C@2024-12-03"
    assert dialects.dialect("2.0.0@2025-08-05").numbering.ops["ADD_ID"] == 3


def test_every_version_of_the_table_is_there():
    labels = [r["version"] for r in read_table("versions")]
    upstream = [v for v in labels if not v.startswith("ik-") and "proposal" not in v]
    assert list(dict.fromkeys(n.partition("@")[0] for n in dialects.dialect_names())) == upstream


UPSTREAM = [
    row
    for row in read_table("versions")
    if not row["version"].startswith("ik-") and "proposal" not in row["version"]
]


@pytest.mark.parametrize("row", UPSTREAM, ids=lambda r: r["version"])
def test_sizes_are_those_of_the_table(row):
    d = dialects.dialect(row["version"])
    assert d.tensor.size == int(row["rpc_tensor_bytes"])
    hello = d.by_name.get("HELLO")
    assert (hello is None) == (row["hello_request_bytes"] == "")
    if hello is not None:
        assert hello.request.size == int(row["hello_request_bytes"])
        assert hello.reply.size == int(row["hello_response_bytes"])
    assert len(d.numbering.ops) == int(row["op_count_last"])
    # 6.0 has a number above its last command that is never sent
    assert max(d.by_number) + 1 == int(row["command_count"]) - (d.version >= V(6, 0))


def test_nine_op_numberings_hide_behind_2_0_0():
    numberings = {
        tuple(dialects.dialect(n).numbering.ops.items())
        for n in dialects.dialect_names()
        if n.startswith("2.0.0@")
    }
    assert len(numberings) == 9


FORK = [row for row in read_table("versions") if row["version"].startswith("ik-")]


@pytest.mark.parametrize("row", FORK, ids=lambda r: r["version"])
def test_states_of_the_fork_are_those_of_the_table(row):
    label = re.sub(r" \((\d+) sources\)", r"/\1src", row["version"])
    d = dialects.dialect(label)
    assert (d.label, d.fork, d.proven) == (label, "ik", False)
    assert ".".join(map(str, d.version)) == label.removeprefix("ik-").partition("/")[0]
    assert d.tensor.size == int(row["rpc_tensor_bytes"])
    hello = d.by_name["HELLO"]
    assert hello.request.size == int(row["hello_request_bytes"])
    assert hello.reply.size == int(row["hello_response_bytes"])
    assert max(d.by_number) + 1 == int(row["command_count"])
    states = dialects.states_of(label)
    assert states[0].shipped == row["first_date"]
    assert len(states[0].numbering.ops) == int(row["op_count_first"])
    assert len(states[-1].numbering.ops) == int(row["op_count_last"])


def test_the_fork_hides_numberings_and_sizes():
    names = dialects.fork_names()
    assert [n for n in names if n.startswith("ik-3.5.1@")] == [
        "ik-3.5.1@2025-11-30",
        "ik-3.5.1@2025-12-04",
        "ik-3.5.1@2025-12-24",
    ]
    assert dialects.dialect("ik-3.5.2").name == "ik-3.5.2/16src@2026-07-25"
    assert dialects.dialect("ik-3.5.2/10src").name == "ik-3.5.2/10src@2026-04-13"
    sizes = {d.max_src: d.tensor.size for d in map(dialects.dialect, names)}
    assert sizes == {10: 296, 12: 312, 16: 344}
    layout = {f.name: f for f in dialects.dialect("ik-3.5.2/16src").tensor.fields}
    assert layout["src"].count == 16


def test_only_the_fork_and_6_0_are_not_proven():
    every = map(dialects.dialect, [*dialects.dialect_names(), *dialects.fork_names()])
    assert {d.label.partition("-")[0] for d in every if not d.proven} == {"ik", "6.0.0"}


@pytest.mark.parametrize(
    ("name", "long", "size"),
    [
        ("7.0.0/name128", "7.0.0/name128", 360),
        ("none-B/name128", "none-B/name128@2024-05-23", 356),
        ("2.0.0/name128", "2.0.0/name128@2025-10-02", 360),
        ("2.0.0/name128@2025-08-05", "2.0.0/name128@2025-08-05", 360),
    ],
)
def test_long_names_are_an_attribute_of_any_dialect(name, long, size):
    d = dialects.dialect(name)
    assert (d.name, d.max_name, d.tensor.size) == (long, 128, size)
    assert d is dialects.dialect(long)
    plain = dialects.dialect(name.replace("/name128", ""))
    assert (d.version, d.numbering) == (plain.version, plain.numbering)
    assert d.by_name["GET_TENSOR"].request.size == plain.by_name["GET_TENSOR"].request.size + 64


def test_a_state_ends_where_the_next_one_begins():
    names = dialects.dialect_names()
    for one, after in pairwise(map(dialects.dialect, names)):
        assert one.last == after.shipped
    assert dialects.newest().last == ""


def test_unknown_name_lists_what_exists():
    with pytest.raises(LocalProtocolError) as caught:
        dialects.dialect("8.0.0")
    assert str(caught.value).startswith(
        "dialect: name is '8.0.0', expected one of none-A, none-B, "
    )


@pytest.mark.parametrize(
    ("name", "head", "memset_answered"),
    [("5.1.0", 304, True), ("6.0.0", 304, False), ("7.0.0", 305, False)],
)
def test_what_differs_in_the_newest(name, head, memset_answered):
    d = dialects.dialect(name)
    assert d.by_name["SET_TENSOR"].request.size == head
    assert (d.by_name["MEMSET_TENSOR"].reply is not None) is memset_answered
    assert d.by_number[14].name == "HELLO"


def test_foreign_tensors_have_address_zero_from_4_0():
    assert not dialects.dialect("3.6.1").foreign_data_is_zero
    assert dialects.dialect("4.0.0").foreign_data_is_zero


def test_what_servers_of_an_age_mind():
    states = {d.name: d for d in map(dialects.dialect, dialects.dialect_names())}
    first_growing = next(name for name, d in states.items() if d.graphs_may_grow)
    assert first_growing == "none-C@2024-09-20"
    told = [d.lengths_checked for d in states.values()]
    assert told == sorted(told, key=[False, None, True].index)
    assert [name for name, d in states.items() if d.lengths_checked is None] == [
        "none-C@2024-10-03"
    ]


def test_who_runs_a_graph_again():
    every = map(dialects.dialect, [*dialects.dialect_names(), *dialects.fork_names()])
    has = [d for d in every if "GRAPH_RECOMPUTE" in d.by_name]
    assert {d.label for d in has if not d.server_recomputes} == {"ik-3.5.1"}
