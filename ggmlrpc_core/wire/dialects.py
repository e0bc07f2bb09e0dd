"""Dialects: full wire states, as data.

A dialect is a version's framing and commands plus the numbering of ops, functions and types, plus the meaning of
op_params. Its name is the version, or `version@date` where one version hides several numberings; a bare version means
its last one. The dialects are every span between two dates at which a version or one of its numberings changed
(ggml/data/versions.csv and the heads of the numbering tables).

To add a version: rows and columns in ggml/data, `since` / `until` where layouts differ (schema.py),
and rows in meanings.py where op_params changed meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.numbering import Numbering, numbering, numbering_dates
from ggmlrpc_core.ggml.types import read_table
from ggmlrpc_core.wire import schema
from ggmlrpc_core.wire.commands import COMMANDS, Command
from ggmlrpc_core.wire.layout import Layout, Params
from ggmlrpc_core.wire.version import ERA_A, ERA_B, ERA_C, ERA_D, ERA_E, ProtocolVersion, V

ERAS = {"none-A": ERA_A, "none-B": ERA_B, "none-C": ERA_C, "none-D": ERA_D, "none-E": ERA_E}

FIRST_SPOKEN = V(5, 1)

_UNSURE_DATES = {"6.0.0": "2026-08-26", "7.0.0": "2026-09-11"}
"""First dates that are known as "on or after"."""


@dataclass(frozen=True, slots=True)
class Span:
    """From one change of a version or of its numbers to the next.

    Attributes:
        label: name of the version in the tables, "none-C" or "2.0.0".
        first: date, YYYY-MM-DD.
    """

    label: str
    first: str

    @property
    def version(self) -> ProtocolVersion:
        """As a triple; eras before HELLO are 0.1 to 0.5."""
        return ERAS.get(self.label) or V(*(int(part) for part in self.label.split(".")))


def _spans() -> list[Span]:
    """Every span of the upstream versions, oldest first."""
    rows = [
        r for r in read_table("versions") if re.fullmatch(r"none-[A-E]|\d+\.\d+\.\d+", r["version"])
    ]
    starts = [(r["version"], _UNSURE_DATES.get(r["version"], r["first_date"])) for r in rows]
    spans = []
    for (label, first), (_, end) in zip(starts, [*starts[1:], ("", "9999")]):
        version = label.partition("-")[0]
        inside = {date for v, date in numbering_dates() if v == version and first < date < end}
        spans += [Span(label, date) for date in sorted({first} | inside)]
    return spans


@dataclass(frozen=True, slots=True)
class WireCommand:
    """A command as one dialect has it.

    Attributes:
        number: the command byte.
        request, reply: layouts of the fixed part; reply is None when nothing is sent.
        body: the request ends in bytes that are received apart from the head (SET_TENSOR).
        reply_body: the reply is nothing but such bytes (GET_TENSOR).
        counted: the request has lists counted by its own fields (GRAPH_COMPUTE).
    """

    name: str
    number: int
    request: Layout
    reply: Layout | None
    body: bool
    reply_body: bool
    counted: bool


@dataclass(frozen=True, eq=False)
class Dialect:
    """A full wire state.

    Attributes:
        name: "7.0.0", or "2.0.0@2025-08-05".
        version: what HELLO announces.
        shipped: first date of this state, YYYY-MM-DD.
        numbering: numbers of ops, functions and types.
        max_src, max_name: compile-time constants of the peer's build.
    """

    name: str
    version: ProtocolVersion
    shipped: str
    numbering: Numbering
    max_src: int = 10
    max_name: int = 64
    _commands: tuple[Command, ...] = field(default=tuple(COMMANDS.values()), repr=False)

    @property
    def params(self) -> Params:
        """Parameters for construct and layouts."""
        return Params(version=self.version, max_src=self.max_src, max_name=self.max_name)

    @property
    def foreign_data_is_zero(self) -> bool:
        """Clients send address 0 for tensors of other servers; before 4.0 they send whatever they have."""
        return self.version >= V(4, 0)

    @cached_property
    def by_name(self) -> MappingProxyType[str, WireCommand]:
        """The commands that exist in this dialect."""
        found = {}
        for command in self._commands:
            number = command.number.at(self.version)
            if number is None:
                continue
            request = Layout(command.request, self.params)
            reply_schema = command.reply.at(self.version)
            reply = None if reply_schema is None else Layout(reply_schema, self.params)
            found[command.name] = WireCommand(
                name=command.name,
                number=number,
                request=request,
                reply=reply,
                body=not request.complete and command.request is schema.set_tensor_req,
                reply_body=reply is not None and not reply.complete,
                counted=command.request is schema.graph_compute_req,
            )
        return MappingProxyType(found)

    @cached_property
    def by_number(self) -> MappingProxyType[int, WireCommand]:
        """The same by command byte."""
        return MappingProxyType({c.number: c for c in self.by_name.values()})

    @cached_property
    def tensor(self) -> Layout:
        """Layout of one rpc_tensor."""
        return Layout(schema.rpc_tensor, self.params)

    def __repr__(self) -> str:
        return f"Dialect({self.name})"


@cache
def _dialects() -> dict[str, Dialect]:
    spans = _spans()
    several = {s.label for s in spans if sum(o.label == s.label for o in spans) > 1}
    found = {}
    for span in spans:
        name = f"{span.label}@{span.first}" if span.label in several else span.label
        found[name] = Dialect(
            name=name,
            version=span.version,
            shipped=span.first,
            numbering=numbering(span.label.partition("-")[0], span.first),
        )
    return found


def dialect_names() -> list[str]:
    """All names, oldest first."""
    return list(_dialects())


def spoken_names() -> list[str]:
    """Names of the dialects that server and client speak; of older ones only layouts and numbers are known here."""
    return [name for name, d in _dialects().items() if d.version >= FIRST_SPOKEN]


def wire_states() -> list[Dialect]:
    """One dialect, that with the last numbering, for each state of framing and layouts."""
    return list({d.version: d for d in _dialects().values()}.values())


def dialect(name: str) -> Dialect:
    """Look a dialect up by name; a bare version means its last numbering.

    Raises:
        LocalProtocolError: no such dialect.
    """
    dialects = _dialects()
    found = dialects.get(name) or next(
        (d for known, d in reversed(dialects.items()) if known.partition("@")[0] == name), None
    )
    if found is None:
        labels = dict.fromkeys(known.partition("@")[0] for known in dialects)
        raise LocalProtocolError("dialect", "name", repr(name), "one of " + ", ".join(labels))
    return found


def newest() -> Dialect:
    """The dialect of the newest version."""
    return _dialects()[dialect_names()[-1]]


def by_version(version: ProtocolVersion) -> Dialect | None:
    """The dialect that a version means: its last numbering; None when it is unknown."""
    matches = [d for d in _dialects().values() if d.version == version]
    return matches[-1] if matches else None
