import pytest

from ggmlrpc_core.ggml.numbering import NEWEST, numbering, numbering_dates
from ggmlrpc_core.ggml.types import read_table


def test_the_newest():
    assert (len(NEWEST.ops), len(NEWEST.unary), len(NEWEST.glu)) == (101, 22, 7)
    assert (NEWEST.ops["MUL_MAT"], NEWEST.unary["SILU"], NEWEST.glu["SWIGLU_CLAMP"]) == (29, 10, 6)
    assert sorted(NEWEST.ops.values()) == list(range(101))


@pytest.mark.parametrize(
    ("version", "date", "mul_mat"),
    [
        ("1.0.0", "", 27),
        ("2.0.0", "2025-08-04", 27),
        ("2.0.0", "2025-08-05", 28),
        ("2.0.0", "", 28),
        ("3.0.0", "2025-10-04", 28),
        ("3.5.0", "", 29),
        ("none", "2025-04-17", 27),
    ],
)
def test_mul_mat_moves(version, date, mul_mat):
    assert numbering(version, date).ops["MUL_MAT"] == mul_mat


def test_relu_moved_for_two_days():
    assert numbering("2.0.0", "2025-05-20").unary["RELU"] == 6
    assert numbering("2.0.0", "2025-05-21").unary["RELU"] == 14
    assert numbering("2.0.0", "2025-05-23").unary["RELU"] == 6


def test_the_fork_has_its_own_numbers():
    assert numbering("ik-3.5.2").unary["GELU"] == 15
    assert "SWIGLU_CLAMP" not in numbering("5.1.0").glu


def test_before_the_first_table():
    with pytest.raises(KeyError, match="ops: no numbering for none@2024-05-13"):
        numbering("none", "2024-05-13")


def test_dates_inside_versions():
    assert ("2.0.0", "2025-08-05") in numbering_dates()
    assert ("2.0.0", "2025-07-03") in numbering_dates()  # glu only


@pytest.mark.parametrize(
    ("until", "newest"), [("2025-08-05", "IQ4_XS"), ("2025-10-04", "MXFP4"), ("", "Q2_0")]
)
def test_types_that_had_appeared(until, newest):
    types = numbering("2.0.0", "2025-04-25", until=until).types
    assert newest in types
    assert ("MXFP4" in types) == (newest != "IQ4_XS")
    assert ("Q2_0" in types) == (until == "")


def test_the_fork_has_its_own_types():
    fork, ours = numbering("ik-3.5.2").types, NEWEST.types
    assert (fork["IQ2_K"], fork["Q4_0"], fork["IK_Q8_K"], fork["I2_S"]) == (137, 2, 15, 36)
    shared = {name for name in fork if name in ours}
    assert all(fork[name] == ours[name] for name in shared)
    assert shared == set(ours) - {"TQ1_0", "TQ2_0", "NVFP4", "Q1_0", "Q2_0", "Q8_K"}


TABLES = [
    (table, column)
    for table in ("ops", "unary_ops", "glu_ops")
    for column in list(read_table(table)[0])[1:]
]


@pytest.mark.parametrize(("table", "column"), TABLES, ids=[f"{t}-{c}" for t, c in TABLES])
def test_every_column_numbers_from_0_to_its_count(table, column):
    rows = read_table(table)
    name = next(iter(rows[0]))
    numbers = {row[name]: int(row[column]) for row in rows if row[column]}
    count = numbers.pop("COUNT", 0)
    assert sorted(numbers.values()) == list(range(count))
    version, _, date = column.replace("(assumed)", "").partition("@")
    found = numbering(version, date)
    assert (
        dict({"ops": found.ops, "unary_ops": found.unary, "glu_ops": found.glu}[table]) == numbers
    )
