"""What stock servers did with the same cases: small files made from results of runs against them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import IO

from ggmlrpc_conformance.report.text import plain
from ggmlrpc_conformance.results import CaseResult, Ending, Verdict

FIELDS = ("id", "verdict", "ending", "found", "nmse")


@dataclass(frozen=True, slots=True)
class Known:
    """What one server did with one case.

    Attributes:
        name: of the server, "stock-7.0.0".
        nmse: of op cases; None when nothing was compared.
    """

    name: str
    verdict: Verdict
    ending: Ending
    found: str
    nmse: float | None


@cache
def shipped() -> Mapping[str, Known]:
    """What stock servers did, by id with dialect and device."""
    found: dict[str, Known] = {}
    folder = resources.files(__package__) / "baselines"
    if not folder.is_dir():
        return MappingProxyType(found)
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".csv"):
            text = file.read_text(encoding="utf-8")
            found.update(read(file.name.removesuffix(".csv"), text.splitlines()))
    return MappingProxyType(found)


def read(name: str, lines: Iterable[str]) -> dict[str, Known]:
    """Read a file of one server.

    Raises:
        ValueError: its columns are not FIELDS.
    """
    rows = csv.DictReader(lines)
    if tuple(rows.fieldnames or ()) != FIELDS:
        raise ValueError(f"baseline {name}: columns are {rows.fieldnames}, expected {FIELDS}")
    return {
        row["id"]: Known(
            name=name,
            verdict=Verdict(row["verdict"]),
            ending=Ending(row["ending"]),
            found=row["found"],
            nmse=float(row["nmse"]) if row["nmse"] else None,
        )
        for row in rows
    }


def write(file: IO[str], results: Iterable[CaseResult]) -> None:
    """Write a file from results; cases that say nothing of the server are left out."""
    out = csv.writer(file, lineterminator="\n")
    out.writerow(FIELDS)
    for r in sorted(results, key=lambda r: r.full_id):
        if r.verdict.judged:
            nmse = "" if r.accuracy is None else f"{r.accuracy.nmse:.3g}"
            found = "" if r.verdict.good else plain(r.found, 160)
            out.writerow([r.full_id, r.verdict, r.ending, found, nmse])
