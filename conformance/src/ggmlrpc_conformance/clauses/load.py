"""The clauses of the specification, read from the TOML files beside this module.

A clause is one requirement with a permanent id. The files are the only home of their texts:
docs/reference/protocol/ is made from them, cases cite their ids, and the report quotes them. Ids are
never used again: a clause that no longer holds stays, with `withdrawn`.

Knows no case, no server and no socket.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from ggmlrpc_core.wire.commands import COMMANDS
from ggmlrpc_core.wire.spans import ERAS
from ggmlrpc_core.wire.version import ProtocolVersion, V

PAGES = (
    "framing", "connection", "negotiation", "order", "devices", "buffers", "tensors", "data",
    "hash-cache", "graphs", "ops", "limits", "safety", "dialects",
)  # fmt: skip
"""Names of the files, in the order of reading."""

LEVELS = ("MUST", "SHOULD", "MAY")
ROLES = ("server", "client", "both")

_FIELDS = frozenset({
    "id", "level", "role", "since", "before", "commands", "text", "why", "source", "untested", "withdrawn",
})  # fmt: skip
_REQUIRED = frozenset({"id", "level", "text", "why", "source"})


@dataclass(frozen=True, slots=True)
class Clause:
    """One requirement.

    Attributes:
        id: permanent, "GRAPH-7".
        level: of RFC 2119. MUST where a real client of the dialect depends on it, SHOULD for safety and for other
            clients' sake, MAY for what a client has to expect.
        role: who has to keep it: server, client or both.
        since, before: the dialects that it is about: from this version on, up to but without this one. Version
            numbers or eras ("none-D"); None for no bound.
        commands: those that it is about; empty for all.
        text: the requirement, Markdown.
        why: for a MUST, what the client does.
        source: file, function and version of upstream that show it.
        untested: why no case can show a breach; None when one should.
        withdrawn: why it no longer holds; None when it does.
        page: name of its page.
    """

    id: str
    level: str
    role: str
    since: str | None
    before: str | None
    commands: tuple[str, ...]
    text: str
    why: str
    source: str
    untested: str | None
    withdrawn: str | None
    page: str

    def applies_to(self, version: ProtocolVersion) -> bool:
        """Whether it is about dialects of a version; eras before HELLO are 0.1 to 0.5."""
        if self.since is not None and version < version_of(self.since):
            return False
        return self.before is None or version < version_of(self.before)


@dataclass(frozen=True, slots=True)
class Page:
    """A file of clauses.

    Attributes:
        intro: Markdown; `{answers}` and `{numbers}` stand for tables made from the schema.
    """

    name: str
    title: str
    intro: str
    clauses: tuple[Clause, ...]


def version_of(name: str) -> ProtocolVersion:
    """A version number or an era as a triple.

    Raises:
        ValueError: neither.
    """
    if (era := ERAS.get(name)) is not None:
        return era
    if not re.fullmatch(r"\d+\.\d+\.\d+", name):
        raise ValueError(f"clause: version is {name!r}, expected an era or three numbers")
    return V(*(int(part) for part in name.split(".")))


@cache
def pages() -> tuple[Page, ...]:
    """Every page, in the order of reading."""
    folder = resources.files(__package__)
    return tuple(
        parse_page(name, (folder / f"{name}.toml").read_text(encoding="utf-8")) for name in PAGES
    )


@cache
def clauses() -> Mapping[str, Clause]:
    """Every clause by id, in the order of reading.

    Raises:
        ValueError: an id is there twice, or a file is not as it should be.
    """
    found: dict[str, Clause] = {}
    for page in pages():
        for clause in page.clauses:
            if clause.id in found:
                raise ValueError(f"{page.name}: id is {clause.id} twice, expected each id once")
            found[clause.id] = clause
    return MappingProxyType(found)


def parse_page(name: str, text: str) -> Page:
    """Read one file.

    Raises:
        ValueError: a field is missing, unknown or of a value that it cannot have.
    """
    data = tomllib.loads(text)
    return Page(
        name=name,
        title=data["title"],
        intro=data["intro"].strip(),
        clauses=tuple(_clause(name, fields) for fields in data["clause"]),
    )


def _clause(page: str, fields: dict[str, Any]) -> Clause:
    where = f"{page}: clause {fields.get('id', '?')}"
    if strange := sorted((set(fields) - _FIELDS) | (_REQUIRED - set(fields))):
        raise ValueError(f"{where}: fields are not as expected: {', '.join(strange)}")
    if not re.fullmatch(r"[A-Z]+-[1-9]\d*", fields["id"]):
        raise ValueError(f"{where}: id is {fields['id']!r}, expected letters, a hyphen, a number")
    if fields["level"] not in LEVELS or fields.get("role", "server") not in ROLES:
        raise ValueError(f"{where}: level or role is not one of {LEVELS}, {ROLES}")
    if strange := sorted(set(fields.get("commands", ())) - set(COMMANDS)):
        raise ValueError(f"{where}: commands are {strange}, expected names of commands")
    for bound in ("since", "before"):
        if bound in fields:
            version_of(fields[bound])
    return Clause(
        id=fields["id"],
        level=fields["level"],
        role=fields.get("role", "server"),
        since=fields.get("since"),
        before=fields.get("before"),
        commands=tuple(fields.get("commands", ())),
        text=_one_line(fields["text"]),
        why=_one_line(fields["why"]),
        source=fields["source"],
        untested=fields.get("untested"),
        withdrawn=fields.get("withdrawn"),
        page=page,
    )


def _one_line(text: str) -> str:
    """A paragraph without its line breaks."""
    return " ".join(text.split())
