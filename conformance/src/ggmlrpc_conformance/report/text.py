"""Text that came from a peer, made safe for each place that it goes to. HTML is escaped by the template engine."""

from __future__ import annotations

import re

MAX_TEXT = 400

_MARKUP = {ord(ch): f"&#{ord(ch)};" for ch in "&<>\\`*[]|#!~@"}


_OUTER_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""Inside a word it is no markup, and names are full of them."""


def plain(text: object, most: int = MAX_TEXT) -> str:
    """One line without control characters, cut to `most` characters."""
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(
            ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in shown
        )
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def lines(text: str, most: int = 40) -> str:
    """Several lines without other control characters; the last `most` of them."""
    return "\n".join(plain(line, 2000) for line in text.splitlines()[-most:])


def markdown(text: object, most: int = MAX_TEXT) -> str:
    """Plain text in a Markdown table cell: nothing of it is markup."""
    return _OUTER_UNDERSCORE.sub("&#95;", plain(text, most).translate(_MARKUP))


def spreadsheet(text: object) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula."""
    shown = plain(text)
    return "'" + shown if shown.startswith(("=", "+", "-", "@")) else shown


def count(n: int, one: str, several: str | None = None) -> str:
    """'1 case', '1,200 cases'."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def listed(words: list[str], most: int = 6) -> str:
    """'a, b and 3 more'."""
    if len(words) <= most:
        return ", ".join(words)
    return ", ".join(words[: most - 1]) + f" and {len(words) - most + 1} more"


def joined(words: list[str]) -> str:
    """'a, b and c'."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
