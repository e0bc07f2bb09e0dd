"""Declarations: parameters, sources, and one declaration for each op."""

import csv
import re
from pathlib import Path

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


FACTS = {
    row["op"]: row
    for row in csv.DictReader(
        (Path(__file__).parent / "op_params.csv").read_text(encoding="utf-8").splitlines()
    )
}
"""What was read in the sources of 7.0.0 (index:type:name), from which no declaration is made."""


def slots_of(name):
    """{slot: type} of what the newest sources set; slots that are always 0 count as not there."""
    text = FACTS[name]["op_params"]
    if text.startswith("as "):
        return slots_of(text.removeprefix("as "))
    found = {}
    for first, last, kind, what in re.findall(r"(\d+)(?:\.\.(\d+))?:(i32|f32):(\S+)", text):
        if what != "0":
            found |= dict.fromkeys(range(int(first), int(last or first) + 1), kind)
    return found


@pytest.mark.parametrize("name", sorted(FACTS))
def test_parameters_are_those_that_were_read_in_the_sources(name):
    declared = OPS[name]
    if declared.compute is None and name not in ("PERMUTE",):
        return  # views, and ops that carry function pointers
    ours = {p.slot: p.kind for p in declared.params}
    theirs = slots_of(name)
    assert {slot: ours.get(slot) for slot in theirs} == theirs
    # CONV_TRANSPOSE_1D has a padding that is always 0.
    assert set(ours) - set(theirs) <= ({1} if name == "CONV_TRANSPOSE_1D" else set())


def test_every_op_was_read():
    assert set(FACTS) == set(OPS)
