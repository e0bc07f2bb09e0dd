"""The op table as data."""

from ggmlrpc_core.ops import OPS
from ggmlrpc_core.ops.declare import ANY, ENCODABLE, FLOATS, QUANTS
from ggmlrpc_core.ops.support import op_support, type_words, undeclared


def test_types_are_named_in_groups():
    assert type_words(frozenset(ANY)) == "any"
    assert type_words(frozenset(FLOATS)) == "floats"
    assert type_words(frozenset((*FLOATS, *QUANTS, "I32"))) == "floats, quantized, I32"
    assert type_words(frozenset((*FLOATS, *ENCODABLE))) == "floats, convertible quantized"
    assert type_words(frozenset(("F16", "F32"))) == "F32, F16"
    assert type_words(frozenset()) == "none"


def test_every_declaration_has_an_entry_in_the_order_of_numbers():
    entries = op_support()
    assert {entry.name for entry in entries} == set(OPS)
    assert [entry.name for entry in entries[:4]] == ["NONE", "DUP", "ADD", "ADD_ID"]


def test_kinds():
    kinds = {entry.name: entry.kind for entry in op_support()}
    assert {name for name, kind in kinds.items() if kind == "view"} == {
        "NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE",
    }  # fmt: skip
    assert {name for name, kind in kinds.items() if kind == "refused"} == {
        "MAP_CUSTOM1", "MAP_CUSTOM2", "MAP_CUSTOM3", "CUSTOM",
    }  # fmt: skip


def test_an_entry():
    entry = next(entry for entry in op_support() if entry.name == "SOFT_MAX")
    assert [(s.name, s.types, s.optional) for s in entry.sources] == [
        ("a", "floats", False),
        ("mask", "F32, F16", True),
        ("sinks", "F32", True),
    ]
    assert entry.result == "the type of source 0"
    assert entry.params == ("0: scale (f32)", "1: max_bias (f32)")
    assert entry.since == "2024-05-14"


def test_undeclared_ops_are_those_without_a_declaration():
    assert not set(undeclared()) & set(OPS)
