"""What goes wrong between peers of two dialects, in sentences: for refusals, logs and lists of dialects.

Found by comparing the two dialects' tables, so a new version needs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from ggmlrpc_core.wire.commands import HELLO
from ggmlrpc_core.wire.dialects import Dialect, WireCommand
from ggmlrpc_core.wire.layout import Layout

_ENUMS = (("ops", "op"), ("unary", "unary function"), ("glu", "glu function"), ("types", "type"))
_SIZE = {"B": 1, "I": 4, "i": 4, "Q": 8, "s": 1}


class Kind(Enum):
    """What sort of difference, and what a peer does about it."""

    GREETING = "the server closes at the first message"
    TENSOR = "tensors are refused or misread"
    ANSWER = "what comes after it is misread"
    LENGTH = "the server closes"
    NUMBER = "another one is run, and nobody notices"
    ADDED = "a peer without it closes or ends"
    GONE = "whoever uses it still is refused"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that one dialect has otherwise than another."""

    kind: Kind
    text: str


def differences(old: Dialect, new: Dialect) -> list[Difference]:
    """How `new` differs from `old`, framing first, then numbers; meanings of op_params are in meanings.py.

    Returns:
        Nothing when the two cannot tell each other apart.
    """
    return [*_framing(old, new), *_numbers(old, new)]


def harmful(client: Dialect, server: Dialect) -> list[Difference]:
    """Differences that break a client of one dialect on a server of the other; what it has less of breaks nothing."""
    return [d for d in differences(server, client) if d.kind is not Kind.GONE]


def consequence(client: Dialect, server: Dialect) -> str:
    """What would go wrong between a client that speaks one dialect and a server that speaks the other: the worst."""
    found = harmful(client, server)
    if not found:
        return "nothing that is known goes wrong between them"
    worst = min(found, key=lambda d: list(Kind).index(d.kind))
    return f"{worst.text}: {worst.kind.value}"


def _framing(old: Dialect, new: Dialect) -> Iterator[Difference]:
    was, now = _hello_size(old), _hello_size(new)
    if was != now:
        yield Difference(Kind.GREETING, f"{_greeting(now)} instead of {_greeting(was)}")
    if old.tensor.size != new.tensor.size:
        text = f"a tensor has {new.tensor.size} bytes instead of {old.tensor.size}"
        yield Difference(Kind.TENSOR, text)
    elif _names(old.tensor) != _names(new.tensor):
        yield Difference(Kind.TENSOR, "a tensor of the same size has its fields at other places")
    for name, command in old.by_name.items():
        if name not in new.by_name:
            if name != HELLO:
                yield Difference(Kind.GONE, f"{name} does not exist")
        elif name != HELLO:
            yield from _command(command, new.by_name[name])
    for name, command in new.by_name.items():
        if name not in old.by_name and name != HELLO:
            yield Difference(Kind.ADDED, f"{name} is new, command {command.number}")


def _command(old: WireCommand, new: WireCommand) -> Iterator[Difference]:
    if old.number != new.number:
        text = f"{old.name} is command {new.number} instead of {old.number}"
        yield Difference(Kind.LENGTH, text)
    if _own_size(old.request) != _own_size(new.request):
        part = "has" if old.request.complete else "has a fixed part of"
        text = f"{old.name} {part} {new.request.size} bytes instead of {old.request.size}"
        yield Difference(Kind.LENGTH, text)
    if (old.reply is None) != (new.reply is None):
        verb = "not answered any more" if new.reply is None else "answered"
        yield Difference(Kind.ANSWER, f"{old.name} is {verb}")


def _numbers(old: Dialect, new: Dialect) -> Iterator[Difference]:
    for enum, noun in _ENUMS:
        was: Mapping[str, int] = getattr(old.numbering, enum)
        now: Mapping[str, int] = getattr(new.numbering, enum)
        moved = sorted((was[n], n) for n in was if n in now and was[n] != now[n])
        if moved:
            first, name = moved[0]
            text = (
                f"{_count(len(moved), noun)} renumbered, first {name}, "
                f"{now[name]} instead of {first}"
            )
            yield Difference(Kind.NUMBER, text)
        for kind, verb, some, table in (
            (Kind.ADDED, "new", now.keys() - was.keys(), now),
            (Kind.GONE, "gone", was.keys() - now.keys(), was),
        ):
            if some:
                listed = ", ".join(sorted(some, key=table.__getitem__))
                yield Difference(kind, f"{_count(len(some), noun)} {verb}: {listed}")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("s" if n > 1 else "")


def _greeting(size: int | None) -> str:
    return "no HELLO" if size is None else f"a HELLO of {size} bytes"


def _hello_size(dialect: Dialect) -> int | None:
    hello = dialect.by_name.get(HELLO)
    return None if hello is None else hello.request.size


def _names(layout: Layout) -> list[tuple[str, int]]:
    """Fields and their lengths; what became use_count was padding before, and zero."""
    return [(f.name, f.count) for f in layout.fields if f.name not in ("padding", "use_count")]


def _own_size(layout: Layout) -> tuple[int, int]:
    """Bytes apart from tensors, and how many tensors: their size is told once."""
    plain = sum(f.count * _SIZE[f.code] for f in layout.fields if not f.inner)
    return plain, sum(f.count for f in layout.fields if f.inner)
