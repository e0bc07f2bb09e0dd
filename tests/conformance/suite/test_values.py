"""Values of case files."""

from __future__ import annotations

import pytest
from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import HarnessError
from ggmlrpc_conformance.link import Memory
from ggmlrpc_conformance.target import Target
from ggmlrpc_conformance.values import checked, data_of, number, tensor, unsigned

from ggmlrpc_core.wire.dialects import newest


@pytest.fixture
def ctx() -> Context:
    context = Context(Target("127.0.0.1:1"), newest())
    context.keep("x", Memory(0xABC, 0x1000, 64))
    return context


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (7, 7), ("7", 7), ("0x10", 16), ("2^40", 1 << 40), ("2^64 - 1", (1 << 64) - 1), ("x", 0xABC),
        ("x.base + 8", 0x1008), ("x.base - 1", 0xFFF), ("x.end", 0x1040), ("device", 0), ("x.end - x.base", 64),
    ],
)  # fmt: skip
def test_numbers(ctx, text, value) -> None:
    assert number(ctx, text) == value


def test_negative_numbers_wrap_where_they_must(ctx) -> None:
    assert number(ctx, "-1") == -1
    assert unsigned(ctx, -1) == (1 << 64) - 1


@pytest.mark.parametrize("text", ["y", "x.size", "1 +", "?"])
def test_what_cannot_be_read_is_an_error_of_the_suite(ctx, text) -> None:
    with pytest.raises(HarnessError):
        number(ctx, text)


def test_data() -> None:
    assert data_of({"fill": 7, "size": 3}) == b"\7\7\7"
    assert data_of({"ramp": 3}) == bytes([3, 10, 17])
    assert data_of({"ramp": 2, "start": 1}) == bytes([10, 17])
    assert data_of({"f32": [1]}) == b"\0\0\x80\x3f"
    assert data_of({"header": [14, 24]}) == b"\x0e" + (24).to_bytes(8, "little")
    assert data_of({"header": [0, -1]}) == b"\0" + b"\xff" * 8
    assert data_of("0e00") == b"\x0e\0"


def test_a_tensor_of_a_buffer(ctx) -> None:
    record, wire = tensor(ctx, {"in": "x", "at": 8, "type": "F32", "ne": [4], "wire": {"op": 9999}})
    assert (record.buffer, record.data, record.ne, record.nb) == (
        0xABC,
        0x1008,
        (4, 1, 1, 1),
        (4, 16, 16, 16),
    )
    assert wire == {"op": 9999}


def test_a_tensor_without_extents_is_the_rest_of_its_buffer(ctx) -> None:
    assert tensor(ctx, {"in": "x", "at": 24}).record.ne == (40, 1, 1, 1)


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        (5, 5, True), (5, 6, False), ("nonzero", 0, False), (">= 64", 64, True), (">= 64", 63, False),
        ("<= total", 9, True), ("<= total", 11, False), ("power of two", 48, False), ("power of two", 64, True),
        ("multiple of 32", 96, True), ("multiple of 32", 97, False), ("any", 0, True), ("x.base", 0x1000, True),
    ],
)  # fmt: skip
def test_predicates(ctx, rule, value, holds) -> None:
    assert (checked(ctx, {"v": rule}, {"v": value, "total": 10}) is None) is holds
