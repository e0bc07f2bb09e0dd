"""Declarations: parameters, sources, and one declaration for each op."""

import pytest

from ggmlrpc_core.ops import OPS
from ggmlrpc_core.ops.declare import ENCODABLE, QUANTS, f32, i32, op, source


def test_parameters_are_read_from_their_slots(bench):
    node = bench.node("SCALE", "F32", (1,), params={0: 1.5, 3: -7})
    assert f32(0, "scale").read(node) == 1.5
    assert i32(3, "n").read(node) == -7


def test_an_op_is_declared_once():
    with pytest.raises(ValueError, match=r"^op ADD is declared twice$"):
        op("ADD", sources=[], result="F32", precision="", since="", upstream="")(None)


def test_required_sources_are_counted():
    assert OPS["SOFT_MAX"].n_required == 1
    assert OPS["ADD_ID"].n_required == 3
    assert OPS["ARANGE"].n_required == 0


def test_optional_sources_come_last():
    for declared in OPS.values():
        optional = [s.optional for s in declared.sources]
        assert optional == sorted(optional), declared.name


def test_source_types_are_a_set():
    assert source("a", "F32", "F16").types == {"F32", "F16"}


def test_groups_of_types():
    assert len(QUANTS) == 25
    assert "IQ2_XXS" in QUANTS
    assert "IQ2_XXS" not in ENCODABLE
    assert not {"Q8_1", "Q8_K"} & {*QUANTS, *ENCODABLE}


def test_parameter_names_and_slots_are_distinct():
    for declared in OPS.values():
        assert len({p.name for p in declared.params}) == len(declared.params)
        assert len({p.slot for p in declared.params}) == len(declared.params)
        assert all(0 <= p.slot < 16 for p in declared.params)
