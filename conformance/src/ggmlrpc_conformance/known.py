"""Known deviations of a server: a reviewed file of case ids with verdict, reason and link. Strict both ways.

A listed case that passes is XPASS, an entry that names no case of the suite is stale; both end a run with exit 3.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path

from ggmlrpc_conformance.results import CaseResult, Verdict


@dataclass(frozen=True, slots=True)
class Deviation:
    """One block of a file.

    Attributes:
        ids: of cases, without dialect; `*` stands for anything.
        verdicts: that are expected, one of which must be found.
        reason: what the server does and why.
        link: where it is written or reported; may be empty.
        dialects: names that it is limited to; empty for all.
    """

    ids: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    reason: str
    link: str = ""
    dialects: tuple[str, ...] = ()

    def names(self, case_id: str, dialect: str) -> bool:
        """Whether it is about a case."""
        if self.dialects and dialect not in self.dialects:
            return False
        return any(case_id == i or ("*" in i and fnmatchcase(case_id, i)) for i in self.ids)


def read_known(name: str) -> list[Deviation]:
    """Read a file: a path, or the name of one that comes with the suite ("ggml-rpc-server-7.0.0").

    Raises:
        FileNotFoundError: neither exists.
        ValueError: a block has no reason or no ids.
    """
    path = Path(name)
    if path.suffix != ".toml" or not path.exists():
        entry = resources.files(__package__).joinpath("deviations", f"{name}.toml")
        if not entry.is_file():
            raise FileNotFoundError(f"{name} is no file and no list of this suite")
        text = entry.read_text(encoding="utf-8")
    else:
        text = path.read_text(encoding="utf-8")
    found = []
    for block in tomllib.loads(text).get("deviation", []):
        if not block.get("reason") or not block.get("ids"):
            raise ValueError(f"{name}: a block has no reason or no ids: {block}")
        found.append(
            Deviation(
                ids=tuple(block["ids"]),
                verdicts=tuple(Verdict(v) for v in block["verdicts"]),
                reason=block["reason"],
                link=block.get("link", ""),
                dialects=tuple(block.get("dialects", ())),
            )
        )
    return found


def apply_known(result: CaseResult, known: Iterable[Deviation]) -> CaseResult:
    """XFAIL for an expected deviation, XPASS where the case passes, the result itself otherwise."""
    entry = next((d for d in known if d.names(result.case_id, result.dialect)), None)
    if entry is None or not result.verdict.judged:
        return result
    reason = f"{entry.reason} {entry.link}".strip()
    if result.verdict in entry.verdicts:
        return replace(result, verdict=Verdict.XFAIL, reason=f"{result.verdict}: {reason}")
    if result.verdict.good:
        return replace(result, verdict=Verdict.XPASS, reason=f"listed as known: {reason}")
    return result


def stale(known: Iterable[Deviation], case_ids: Iterable[str]) -> list[str]:
    """Ids of lists that name no case."""
    ids = list(case_ids)
    return [
        pattern
        for entry in known
        for pattern in entry.ids
        if not any(i == pattern or ("*" in pattern and fnmatchcase(i, pattern)) for i in ids)
    ]
