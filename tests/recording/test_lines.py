import io

import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.lines import MAX_LINE, Fields, dumps, loads, number_out, read_lines


def test_a_last_line_without_its_end_is_left_out():
    stream = io.BytesIO(b'{"a":1}\n{"b":2}\n{"c":')
    assert list(read_lines(stream, name="x")) == [(1, b'{"a":1}\n'), (2, b'{"b":2}\n')]


def test_a_long_line_is_refused_without_reading_it_all():
    stream = io.BytesIO(b"x" * (3 * MAX_LINE))
    with pytest.raises(RecordingError, match="x: line 1 is longer than"):
        list(read_lines(stream, name="x"))
    assert stream.tell() == MAX_LINE + 1


def test_a_long_line_is_not_written():
    with pytest.raises(RecordingError, match="line: length"):
        dumps({"x": "y" * MAX_LINE})


@pytest.mark.parametrize(
    "text", [b"[1]", b"{", b'{"a":NaN}', b'{"a":1,"a":2}', b"[" * 200_000, b"1" * 5000, b"\xff"]
)
def test_what_is_no_plain_object_is_refused(text):
    with pytest.raises(RecordingError, match="x line 1: text is"):
        loads(text, where="x line 1")


@pytest.mark.parametrize("value", [0, 7, (1 << 53) - 1, 1 << 53, (1 << 64) - 1])
def test_integers_come_back(value):
    line = loads(dumps({"v": number_out(value)}), where="x")
    assert Fields(line, where="x").number("v") == value
    assert isinstance(line["v"], str) == (value >= 1 << 53)


@pytest.mark.parametrize("value", [-1, 11, True, 1.0, "7", None, "0xzz", "0x" + "f" * 17, []])
def test_what_is_no_integer_of_the_range_is_refused(value):
    with pytest.raises(RecordingError, match="expected an integer from 0 to 10"):
        Fields({"v": value}, where="x").number("v", most=10)


def test_fields_that_nobody_took_are_refused():
    fields = Fields({"a": 1, "b": 2}, where="x line 4")
    assert fields.number("a") == 1
    with pytest.raises(RecordingError, match="x line 4: field is b, expected only fields"):
        fields.end()


def test_kinds_of_fields_are_checked():
    with pytest.raises(RecordingError, match="a is absent, expected present"):
        Fields({}, where="x").text("a")
    with pytest.raises(RecordingError, match="expected one of p, q"):
        Fields({"a": "r"}, where="x").text("a", of=["p", "q"])
    with pytest.raises(RecordingError, match="at most 2 bytes in hex"):
        Fields({"a": "aabbcc"}, where="x").hexes("a", size=2)
    with pytest.raises(RecordingError, match="expected an object"):
        Fields({"a": 1}, where="x").inner("a")
    with pytest.raises(RecordingError, match="a list of at most 1 integers"):
        Fields({"a": [1, 2]}, where="x").numbers("a", least=0, most=9, at_most=1)
