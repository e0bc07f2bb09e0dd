import base64
import os
import zlib

import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.blobs import Folder
from ggmlrpc_core.recording.data import Data, DataWriter, data_from_line, in_line
from ggmlrpc_core.recording.generate import Generated
from ggmlrpc_core.recording.lines import Fields

MADE = Generated("Q8_0", "1/w", exp=-5)


def written(root, data, *, pieces=1000, **options):
    writer = DataWriter(root, size=len(data), **options)
    for at in range(0, len(data), pieces):
        writer.write(data[at : at + pieces])
    return writer.finish()


def again(data):
    return data_from_line(Fields(data.to_line(), where="x"))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "raw"),
        (b"abc", "raw"),
        (bytes(5000), "fill"),
        (b"ab" * 5000, "packed"),
        (os.urandom(5000), "blob"),
        (os.urandom(1000) * 1100, "blob"),
    ],
)
def test_data_come_back_from_the_form_that_fits(tmp_path, data, kind):
    found = written(tmp_path, data)
    assert getattr(found, kind) is not None
    assert again(found) == found
    assert found.whole(Folder(tmp_path)) == data


def test_generated_data_are_recognised_and_nothing_is_stored(tmp_path):
    data = b"".join(MADE.pieces(3 << 20))
    found = written(tmp_path, data, pieces=12345, guess=MADE)
    assert found == Data(len(data), gen=MADE)
    assert again(found) == found
    assert found.whole(None) == data
    part = written(tmp_path, data[700:900], guess=MADE, skip=700)
    assert part == Data(200, gen=MADE, skip=700)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_wrong_guess_costs_nothing_but_time(tmp_path):
    data = bytearray(b"".join(MADE.pieces(2 << 20)))
    data[-1] ^= 1
    found = written(tmp_path, bytes(data), pieces=1 << 19, guess=MADE)
    assert found.blob is not None
    assert found.whole(Folder(tmp_path)) == data


def test_a_beginning_of_generated_data_is_recognised(tmp_path):
    writer = DataWriter(tmp_path, size=5000, guess=MADE)
    writer.write(b"".join(MADE.pieces(123)))
    assert writer.finish() == Data(123, gen=MADE)


def test_slices():
    assert Data(100, gen=MADE).slice(10) == Data(10, gen=MADE)
    assert in_line(b"ab" * 500).slice(3) == Data(3, raw=b"aba")


BOMB = base64.b64encode(zlib.compress(bytes(1 << 22))).decode()


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"n": 1}, "data is []"),
        ({"n": 1, "hex": "00", "fill": 0}, "data is ['hex', 'fill']"),
        ({"n": 2, "hex": "00"}, "hex is"),
        ({"n": 1 << 41, "fill": 0}, "n is"),
        ({"n": 9, "fill": 256}, "fill is 256"),
        ({"n": 9, "z": "@@"}, "z is"),
        ({"n": 1 << 30, "z": ""}, "n is"),
        ({"n": 9, "gen": "Q9", "seed": "x"}, "gen is 'Q9'"),
        ({"n": 9, "gen": "F32", "seed": "x", "lo": 0}, "hi is None"),
        ({"n": 9, "gen": "F32", "seed": "x", "lo": 0, "hi": 1e300}, "hi is"),
        ({"n": 9, "gen": "Q4_0", "seed": "x", "exp": 12}, "exp is 12"),
        ({"n": 9, "fill": 0, "more": 1}, "field is more"),
    ],
)
def test_what_is_not_of_the_format_is_refused(line, what):
    with pytest.raises(RecordingError) as caught:
        data_from_line(Fields(line, where="x"))
    assert what in str(caught.value)


def test_a_bomb_in_a_line_is_unpacked_no_further_than_it_says():
    data = data_from_line(Fields({"n": 100, "z": BOMB}, where="x"))
    with pytest.raises(RecordingError, match="101 bytes or more"):
        data.whole(None)


def test_a_blob_needs_a_place_and_much_data_a_limit(tmp_path):
    with pytest.raises(RecordingError, match="expected data in the line"):
        Data(9, blob="0" * 32).whole(None)
    with pytest.raises(RecordingError, match="expected at most"):
        Data(1 << 30, fill=0).whole(None)
