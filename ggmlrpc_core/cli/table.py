"""Tables on a terminal, and the same unwrapped for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

_NO_WRAP = 10_000
"""Columns for output that no terminal shows: a line per row, whatever is in it."""


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text under headings."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))  # a device's own words are no markup
    Console(width=None if sys.stdout.isatty() else _NO_WRAP).print(table)


def size_text(size: float) -> str:
    """Bytes for people."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"
