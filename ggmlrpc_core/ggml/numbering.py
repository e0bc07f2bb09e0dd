"""Numbers of ops, unary and glu functions and types, per dialect.

ggml inserts new ops in the middle of the enum, so numbers belong to a dialect. Inside the package an op
is a name; only `wire/` turns names into numbers and back.

Data: data/ops.csv, unary_ops.csv, glu_ops.csv (a column per numbering) and types.csv. A column is headed
`version@first date`; the numbering of a version without a date is its last column.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from ggmlrpc_core.ggml.types import read_table


@dataclass(frozen=True, slots=True, eq=False)
class Numbering:
    """One state of ggml's enums: name to number, for ops, unary and glu functions and types."""

    label: str
    ops: MappingProxyType[str, int]
    unary: MappingProxyType[str, int]
    glu: MappingProxyType[str, int]
    types: MappingProxyType[str, int]


def _split(column: str) -> tuple[str, str]:
    """'2.0.0@2025-08-05' -> ('2.0.0', '2025-08-05'); a column without a date sorts last."""
    version, _, date = column.replace("(assumed)", "").partition("@")
    return version, date


def _version_key(version: str) -> tuple[int, ...]:
    return (-1,) if version == "none" else tuple(int(part) for part in version.split("."))


@cache
def _columns(table: str) -> list[str]:
    return list(read_table(table)[0])[1:]


def _column_for(table: str, version: str, date: str) -> str:
    """The column in force for a version at a date: the newest that is not newer."""
    ik = version.startswith("ik-")
    columns = [c for c in _columns(table) if c.startswith("ik-") == ik]
    wanted = (_version_key(version.removeprefix("ik-")), date or "9999")
    best = None
    for column in columns:
        column_version, column_date = _split(column)
        key = (_version_key(column_version.removeprefix("ik-")), column_date)
        if key <= wanted:
            best = column
    if best is None:
        raise KeyError(f"{table}: no numbering for {version}@{date}")
    return best


@cache
def _enum(table: str, column: str) -> MappingProxyType[str, int]:
    rows = read_table(table)
    key = next(iter(rows[0]))
    return MappingProxyType(
        {row[key]: int(row[column]) for row in rows if row[column] and row[key] != "COUNT"}
    )


_NOT_IN_FORK = frozenset({"TQ1_0", "TQ2_0", "NVFP4", "Q1_0", "Q2_0", "Q8_K"})
"""Types of upstream that the fork lacks, or has with other bytes under the same number."""


@cache
def _types(until: str, *, fork: bool) -> MappingProxyType[str, int]:
    """Live types that appeared before a date. The fork has upstream's old ones and its own.

    The fork's Q8_K has other bytes than upstream's and is called IK_Q8_K here: one name, one meaning.
    """
    found = {}
    for row in read_table("types"):
        own = fork and row["tree"] == "ik_llama.cpp"
        shared = row["tree"] == "upstream" and not (fork and row["type"] in _NOT_IN_FORK)
        if (own or shared) and row["type"] != "COUNT" and row["first_date"] < (until or "9999"):
            name = f"IK_{row['type']}" if own and row["type"] in _NOT_IN_FORK else row["type"]
            found[name] = int(row["id"])
    return MappingProxyType(found)


@cache
def numbering_dates() -> frozenset[tuple[str, str]]:
    """(version, date) of every column that starts inside a version."""
    heads = (
        _split(column) for table in ("ops", "unary_ops", "glu_ops") for column in _columns(table)
    )
    return frozenset((version, date) for version, date in heads if date)


@cache
def numbering(version: str, date: str = "", *, until: str = "") -> Numbering:
    """The numbering of a version; with a date (YYYY-MM-DD) where one version hides several.

    Args:
        version: as in the heads of the tables: "none", "2.0.0", "ik-3.5.2".
        date: of the state; "" for the last one.
        until: types that appeared before this date are in; "" for all.

    Raises:
        KeyError: the version is older than the first table column.
    """
    label = f"{version}@{date}" if date else version
    return Numbering(
        label=label,
        ops=_enum("ops", _column_for("ops", version, date)),
        unary=_enum("unary_ops", _column_for("unary_ops", version, date)),
        glu=_enum("glu_ops", _column_for("glu_ops", version, date)),
        types=_types(until, fork=version.startswith("ik-")),
    )


NEWEST = numbering("7.0.0")
"""The numbering that names inside the package are taken from."""
