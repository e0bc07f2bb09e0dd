"""Dialects: full wire states, as data.

A dialect is a version's framing and commands plus the numbering of ops, functions and types, plus the meaning of
op_params. Its name is the version, or `version@date` where one version hides several numberings.

To add a version: a row in _TABLE, `since` / `until` where layouts differ (schema.py), numbers in ggml/data, and
rows in translate.py where op_params changed meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.numbering import Numbering, numbering
from ggmlrpc_core.wire import schema
from ggmlrpc_core.wire.commands import COMMANDS, Command
from ggmlrpc_core.wire.layout import Layout, Params
from ggmlrpc_core.wire.version import ProtocolVersion, V


@dataclass(frozen=True, slots=True)
class Row:
    """One dialect in the table: version, date of the numbering where it matters, and since when it shipped."""

    version: ProtocolVersion
    shipped: str
    date: str = ""


_TABLE = (
    Row(V(5, 1, 0), "2026-08-18"),
    Row(V(6, 0, 0), "2026-08-26"),
    Row(V(7, 0, 0), "2026-09-11"),
)


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
        shipped: first date.
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
    found = {}
    for row in _TABLE:
        name = f"{row.version}@{row.date}" if row.date else str(row.version)
        found[name] = Dialect(
            name=name,
            version=row.version,
            shipped=row.shipped,
            numbering=numbering(str(row.version), row.date),
        )
    return found


def dialect_names() -> list[str]:
    """All names, oldest first."""
    return list(_dialects())


def dialect(name: str) -> Dialect:
    """Look a dialect up by name.

    Raises:
        LocalProtocolError: no such dialect.
    """
    try:
        return _dialects()[name]
    except KeyError:
        raise LocalProtocolError(
            "dialect", "name", repr(name), "one of " + ", ".join(dialect_names())
        ) from None


def newest() -> Dialect:
    """The dialect of the newest version."""
    return _dialects()[dialect_names()[-1]]


def by_version(version: ProtocolVersion) -> Dialect | None:
    """The dialect that a version means: its last numbering; None when it is unknown."""
    matches = [d for d in _dialects().values() if d.version == version]
    return matches[-1] if matches else None
