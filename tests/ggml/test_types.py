import pytest

from ggmlrpc_core.ggml.types import TYPES, read_table


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
