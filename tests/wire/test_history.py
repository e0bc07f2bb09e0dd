import pytest

from ggmlrpc_core.ggml.types import read_table
from ggmlrpc_core.wire import history
from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names, newest


@pytest.mark.parametrize(
    "row", read_table("shipped"), ids=lambda r: f"{r['package']}-{r['release']}"
)
def test_a_release_lies_inside_its_dialect(row):
    one = dialect(row["dialect"])
    assert one.name == row["dialect"]
    assert one.shipped <= row["date"]
    # A release carries sources that are up to a month older than itself.
    assert not one.last or row["date"][:7] <= _month_after(one.last)
    (release,) = [r for r in history.releases(one) if r.release == row["release"]]
    assert str(release) == f"{row['package']} {row['release']}"


def _month_after(date):
    year, month = int(date[:4]), int(date[5:7]) + 1
    return f"{year + month // 13}-{(month - 1) % 12 + 1:02}"


def test_the_one_before_is_of_the_same_tree():
    for names in (dialect_names(), fork_names()):
        chain = [history.before(dialect(name)) for name in names]
        assert chain == [None, *map(dialect, names[:-1])]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("none-C@2024-06-15", "a tensor has 296 bytes instead of 292"),
        ("1.0.0", "a HELLO of 0 bytes instead of no HELLO"),
        ("3.5.0", "GRAPH_COMPUTE is not answered any more"),
        ("3.6.0@2025-12-05", "GET_ALLOC_SIZE has 3260 bytes instead of 300"),
        ("3.6.0@2026-01-19", "nodes to be computed have flag 16"),
        ("4.0.0", "a HELLO of 24 bytes instead of a HELLO of 0 bytes"),
        ("4.0.0", "tensors of other servers have address 0"),
        ("7.0.0", "1 glu function new: SWIGLU_CLAMP"),
        (
            "7.0.0",
            "MUL_MAT, MUL_MAT_ID, FLASH_ATTN_EXT changed (before: there were two precisions)",
        ),
        ("ik-3.5.2/12src", "a tensor has 312 bytes instead of 296"),
    ],
)
def test_what_was_new(name, change):
    assert change in history.changes(dialect(name))


def test_meanings_are_told_where_they_changed():
    told = [c for n in dialect_names() for c in history.changes(dialect(n)) if c.startswith("PAD ")]
    assert len(told) == 2
    assert any(
        c.startswith("PAD changed (before: ") for c in history.changes(dialect("2.0.0@2025-09-04"))
    )


def test_every_dialect_but_the_first_changed_something():
    for name in dialect_names()[1:]:
        assert history.changes(dialect(name)), name
    assert history.changes(dialect("none-A")) == []
    assert history.releases(newest())
