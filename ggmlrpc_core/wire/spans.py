"""Which wire states there are: every span between two dates at which a version or one of its numberings changed.

Made from ggml/data: the rows of versions.csv and the heads of the numbering tables. Rows of proposals are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from ggmlrpc_core.ggml.numbering import numbering_dates
from ggmlrpc_core.ggml.types import read_table
from ggmlrpc_core.wire.version import ERA_A, ERA_B, ERA_C, ERA_D, ERA_E, ProtocolVersion, V

ERAS = {"none-A": ERA_A, "none-B": ERA_B, "none-C": ERA_C, "none-D": ERA_D, "none-E": ERA_E}

FORK = "ik"
_DEFAULT_SOURCES = 10

COMPUTE_FLAG = "2026-01-19"
"""Since then clients set a flag on nodes that are to be computed, and servers skip the others (inside 3.6.0)."""

_ROW = re.compile(
    r"(?P<era>none-[A-E])|(?:(?P<fork>ik)-)?(?P<version>\d+\.\d+\.\d+)(?: \((?P<sources>\d+) sources\))?"
)

_UNSURE_DATES = {"6.0.0": "2026-08-26", "7.0.0": "2026-09-11"}
"""First dates that are known as "on or after"."""


@dataclass(frozen=True, slots=True)
class Span:
    """From one change of a version or of its numbers to the next.

    Attributes:
        label: "none-C", "2.0.0", "ik-3.5.2/16src".
        first: date, YYYY-MM-DD.
        end: first date of the next span of the same tree; "" for the newest.
        version: as a triple; eras before HELLO are 0.1 to 0.5.
        numbered_as: the version in the heads of the numbering tables.
        fork: "ik" or "".
        max_src: sources of a tensor.
    """

    label: str
    first: str
    end: str
    version: ProtocolVersion
    numbered_as: str
    fork: str
    max_src: int


def spans() -> list[Span]:
    """Every span, oldest first: those of upstream, then those of the fork."""
    rows = [(m, r) for r in read_table("versions") if (m := _ROW.fullmatch(r["version"]))]
    found = []
    for fork in ("", FORK):
        tree = [(m, _first(r)) for m, r in rows if (m["fork"] or "") == fork]
        ends = [first for _, first in tree[1:]] + [""]
        cut = [
            (match, first)
            for (match, start), end in zip(tree, ends)
            for first in _changes(_numbered_as(match), start, end)
        ]
        for (match, first), (_, end) in pairwise([*cut, (None, "")]):
            assert match is not None
            found.append(_span(match, first, end))
    return found


def _first(row: dict[str, str]) -> str:
    return _UNSURE_DATES.get(row["version"], row["first_date"])


def _changes(numbered_as: str, start: str, end: str) -> list[str]:
    """The start, and the dates inside at which numbers moved or the compute flag came."""
    dates = {d for v, d in numbering_dates() if v == numbered_as}
    if not numbered_as.startswith(FORK):
        dates.add(COMPUTE_FLAG)
    return sorted({start} | {d for d in dates if start < d < (end or "9999")})


def _numbered_as(match: re.Match[str]) -> str:
    if match["era"]:
        return "none"
    return f"{FORK}-{match['version']}" if match["fork"] else match["version"]


def _span(match: re.Match[str], first: str, end: str) -> Span:
    label = match["era"] or _numbered_as(match)
    if match["sources"]:
        label += f"/{match['sources']}src"
    return Span(
        label=label,
        first=first,
        end=end,
        version=ERAS.get(label) or V(*(int(part) for part in match["version"].split("."))),
        numbered_as=_numbered_as(match),
        fork=match["fork"] or "",
        max_src=int(match["sources"] or _DEFAULT_SOURCES),
    )
