"""Tables for a pipe: one line per row."""

from ggmlrpc_core.cli.table import print_table


def test_a_row_is_a_line_however_long(capsys):
    print_table(("a", "b"), [("x", "y" * 300), ("[bold]", "z")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["a       b", "x       " + "y" * 300, "[bold]  z"]
