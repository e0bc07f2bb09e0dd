"""Tables for a pipe: one line per row."""

import pytest

from ggmlrpc_core.cli.table import print_table, size_text


def test_a_row_is_a_line_however_long(capsys):
    print_table(("a", "b"), [("x", "y" * 300), ("[bold]", "z")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["a       b", "x       " + "y" * 300, "[bold]  z"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 20, "3.0 MiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes_for_people(size, text):
    assert size_text(size) == text
