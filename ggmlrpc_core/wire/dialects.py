"""Dialects: full wire states, as data.

A dialect is a version's framing and commands plus the numbering of ops, functions and types, plus the meaning of
op_params. Its name is LABEL[/ATTRIBUTE...][@DATE]:

    7.0.0                       a version
    2.0.0@2025-08-05            one of the numberings that a version hides; without a date, its last one
    none-C                      an era before HELLO
    ik-3.5.2/16src              the fork ik_llama.cpp, where one version hides several tensor sizes
    3.6.1/name128               of a build with names of 128 bytes, which announces the same version

Which there are is in spans.py, from the tables in ggml/data. How to add one: docs/howto/add-a-version.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from types import MappingProxyType

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.numbering import Numbering, numbering
from ggmlrpc_core.wire import schema
from ggmlrpc_core.wire.commands import COMMANDS, HELLO, Command
from ggmlrpc_core.wire.layout import Layout, Params
from ggmlrpc_core.wire.spans import COMPUTE_FLAG, Span, spans
from ggmlrpc_core.wire.version import ProtocolVersion, V

LONG_NAME = 128
"""Bytes of a name in builds that change GGML_MAX_NAME (stable-diffusion.cpp)."""
_LONG_NAME = f"name{LONG_NAME}"

_GRAPHS_GROW = "2024-09-09"
"""Since this day a server takes graphs that are larger than the first one that it ever got."""

_LENGTHS_CHECKED = "2024-10-18"
"""Since this day servers insist on the length of every request; before, GET_ALIGNMENT took any."""

_UNPROVEN = frozenset({"6.0.0"})
"""Versions whose source was not seen; the fork is unproven as a whole."""


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
        fork: "ik" for ik_llama.cpp, "" for upstream.
        last: first date of the state that came after, "" for the newest.
    """

    name: str
    version: ProtocolVersion
    shipped: str
    numbering: Numbering
    max_src: int = 10
    max_name: int = 64
    fork: str = ""
    last: str = ""
    _commands: tuple[Command, ...] = field(default=tuple(COMMANDS.values()), repr=False)

    @property
    def label(self) -> str:
        """The name without the date: what states that differ only in numbers share."""
        return self.name.partition("@")[0]

    @property
    def proven(self) -> bool:
        """Whether a real peer of this state could be tried; not so for the fork, and where no source was seen."""
        return not self.fork and str(self.version) not in _UNPROVEN

    @property
    def params(self) -> Params:
        """Parameters for construct and layouts."""
        return Params(version=self.version, max_src=self.max_src, max_name=self.max_name)

    @property
    def foreign_data_is_zero(self) -> bool:
        """Clients send address 0 for tensors of other servers; before 4.0 they send whatever they have."""
        return self.version >= V(4, 0)

    @property
    def compute_flag(self) -> bool:
        """Nodes that are to be computed have a flag; where no node has it, all are."""
        return not self.fork and self.shipped >= COMPUTE_FLAG

    @property
    def graphs_may_grow(self) -> bool:
        """Whether every server takes graphs larger than the first one that it ever got; older ones end there."""
        return self.shipped >= _GRAPHS_GROW

    @property
    def lengths_checked(self) -> bool | None:
        """Whether servers mind the length of requests that have nothing to say; None when some do."""
        if self.shipped >= _LENGTHS_CHECKED:
            return True
        return None if not self.last or self.last > _LENGTHS_CHECKED else False

    @property
    def server_recomputes(self) -> bool:
        """Whether servers run a stored graph again; those of the fork's 3.5.1 have no handler for it and close."""
        return "GRAPH_RECOMPUTE" in self.by_name and self.label != "ik-3.5.1"

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
    def form(self) -> tuple[object, ...]:
        """What lengths and addresses in messages can tell: states of equal form differ only in numbers and meanings."""
        offset, place = 0, {}
        for one in self.tensor.fields:
            place[one.name] = offset
            offset += one.count * {"B": 1, "I": 4, "i": 4, "Q": 8, "s": 1}[one.code]
        messages = tuple(
            (c.name, c.number, c.request.size, c.reply and c.reply.size)
            for c in self.by_name.values()
        )
        return offset, place["buffer"], place["data"], messages

    @property
    def hello_size(self) -> int | None:
        """Bytes of the HELLO request, by which a server tells groups of versions apart; None before HELLO existed."""
        hello = self.by_name.get(HELLO)
        return None if hello is None else hello.request.size

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
    """Every dialect without long names: upstream from old to new, then the fork."""
    every = spans()
    several = {s.label for s in every if sum(o.label == s.label for o in every) > 1}
    return {d.name: d for d in (_made(span, dated=span.label in several) for span in every)}


def _made(span: Span, *, dated: bool) -> Dialect:
    return Dialect(
        name=f"{span.label}@{span.first}" if dated else span.label,
        version=span.version,
        shipped=span.first,
        numbering=numbering(span.numbered_as, span.first, until=span.end),
        max_src=span.max_src,
        fork=span.fork,
        last=span.end,
    )


@cache
def with_long_names(dialect: Dialect) -> Dialect:
    """The same state of a build with names of 128 bytes."""
    if dialect.max_name == LONG_NAME:
        return dialect
    label, at, date = dialect.name.partition("@")
    return replace(dialect, name=f"{label}/{_LONG_NAME}{at}{date}", max_name=LONG_NAME)


def with_usual_names(dialect: Dialect) -> Dialect:
    """The same state of a build with names of 64 bytes."""
    return _dialects()[dialect.name.replace(f"/{_LONG_NAME}", "")]


def dialect_names() -> list[str]:
    """All names of upstream, oldest first."""
    return [name for name, d in _dialects().items() if not d.fork]


def fork_names() -> list[str]:
    """All names of the fork, oldest first."""
    return [name for name, d in _dialects().items() if d.fork]


def wire_states() -> list[Dialect]:
    """One dialect, that with the last numbering, for each state of framing and layouts."""
    return list({(d.version, d.max_src): d for d in _dialects().values()}.values())


def dialect(name: str) -> Dialect:
    """Look a dialect up by name; a bare version means its last numbering.

    Raises:
        LocalProtocolError: no such dialect.
    """
    dialects = _dialects()
    plain = re.sub(rf"/{_LONG_NAME}(?=@|$)", "", name)
    found = dialects.get(plain) or next(
        (d for d in reversed(dialects.values()) if plain in (d.label, d.label.partition("/")[0])),
        None,
    )
    if found is None:
        labels = dict.fromkeys(d.label for d in dialects.values())
        raise LocalProtocolError("dialect", "name", repr(name), "one of " + ", ".join(labels))
    return found if plain == name else with_long_names(found)


def newest() -> Dialect:
    """The dialect of the newest version."""
    return _dialects()[dialect_names()[-1]]


def by_version(version: ProtocolVersion) -> Dialect | None:
    """The dialect that a version means: its last numbering; None when it is unknown."""
    matches = [d for d in _dialects().values() if d.version == version]
    return matches[-1] if matches else None


def states_of(label: str) -> list[Dialect]:
    """Every numbering that hides behind a label, oldest first."""
    return [d for d in _dialects().values() if d.label == label]
