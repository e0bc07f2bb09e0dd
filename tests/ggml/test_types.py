import pytest

from ggmlrpc_core.ggml.types import FORK_TYPES, TYPES, read_table


def test_the_live_types_of_the_newest_state():
    assert len(TYPES) == 35
    assert TYPES["Q4_0"].id == 2
    assert (TYPES["Q4_K"].blck_size, TYPES["Q4_K"].type_size) == (256, 144)
    assert (str(TYPES["IQ4_NL"]), repr(TYPES["BF16"])) == ("IQ4_NL", "BF16")
    assert not {"Q4_2", "Q4_0_4_4"} & set(TYPES)


def test_ids_are_unique_and_below_the_count():
    ids = [t.id for t in TYPES.values()]
    assert len(set(ids)) == len(ids)
    (count,) = (
        int(r["id"]) for r in read_table("types") if (r["type"], r["tree"]) == ("COUNT", "upstream")
    )
    assert max(ids) == count - 1


@pytest.mark.parametrize(
    ("name", "quantized", "ne0", "row_size"),
    [
        ("F32", False, 3, 12),
        ("I64", False, 2, 16),
        ("Q8_0", True, 64, 68),
        ("Q6_K", True, 512, 420),
    ],
)
def test_row_size(name, quantized, ne0, row_size):
    assert TYPES[name].quantized is quantized
    assert TYPES[name].row_size(ne0) == row_size


def test_what_the_stock_cpu_does_with_a_type():
    assert TYPES["Q4_K"].partner == "Q8_K"
    assert TYPES["IQ2_XS"].dot and not TYPES["IQ2_XS"].from_f32
    assert TYPES["Q8_1"].from_f32 and not TYPES["Q8_1"].dot


@pytest.mark.parametrize(
    ("name", "ne0", "row_size"), [("IQ2_KS", 512, 142), ("IQ1_BN", 64, 15), ("IQ2_K", 256, 76)]
)
def test_rows_of_the_fork_have_bytes_beside_their_blocks(name, ne0, row_size):
    assert FORK_TYPES[name].row_size(ne0) == row_size


def test_every_type_of_the_fork_has_the_geometry_of_the_table():
    rows = [r for r in read_table("types") if r["tree"] == "ik_llama.cpp" and r["type"] != "COUNT"]
    assert len(rows) == len(FORK_TYPES) == 63
    for row in rows:
        one = FORK_TYPES[row["type"]]
        assert one.row_size(one.blck_size) == int(row["type_size_bytes"]) + int(
            row["row_meta_bytes"]
        )
    assert {t.row_meta for t in TYPES.values()} == {0}
