"""One request, read under each of the dialects that the peer may speak.

While more than one is possible, the engine reads a request under all of them and drops those under which it cannot be
one: a command byte or a length that they do not have. What only meaning can tell is the owner's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ggmlrpc_core.errors import RemoteProtocolError
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.commands import HELLO
from ggmlrpc_core.wire.dialects import Dialect, WireCommand


@dataclass(frozen=True, slots=True)
class Reading:
    """What a request is under some dialects that read it alike.

    Attributes:
        dialects: at least one.
        wire: the command.
        fields: as wire.codec gives them.
        body_size: bytes of tensor data behind the head.
        trailing: bytes that no list of the request accounts for; a real client sends none.
    """

    dialects: tuple[Dialect, ...]
    wire: WireCommand
    fields: Mapping[str, Any]
    body_size: int = 0
    trailing: int = 0


Choose = Callable[[Sequence[Reading]], Sequence[Reading]]
"""Drops readings that make no sense to the owner; at least one stays, and the first is used."""


def possible(
    dialects: Sequence[Dialect], number: int, *, greeting: bool
) -> list[tuple[Dialect, WireCommand]]:
    """Dialects in which a command byte may come now; `greeting` when nothing has come before."""
    found = []
    for one in dialects:
        wire = one.by_number.get(number)
        if wire is not None and (wire.name == HELLO) == (greeting and HELLO in one.by_name):
            found.append((one, wire))
    return found


def fitting(
    options: Sequence[tuple[Dialect, WireCommand]], size: int
) -> list[tuple[Dialect, WireCommand]]:
    """Those of the options in which the command may have a payload of this size."""
    return [
        (one, wire)
        for one, wire in options
        if size == wire.request.size or (size > wire.request.size and not wire.request.complete)
    ]


def head_size(wire: WireCommand, size: int) -> int:
    """Bytes of a request that are held in memory: all but a body."""
    return wire.request.size if wire.body else size


def readings(
    options: Sequence[tuple[Dialect, WireCommand]], size: int, payload: bytes
) -> list[Reading]:
    """Read a payload under each option, once for those that read it alike.

    Raises:
        RemoteProtocolError: of the first option, when the lists of a graph fit under none.
    """
    alike: dict[object, list[tuple[Dialect, WireCommand]]] = {}
    for one, wire in options:
        key = (wire.name, wire.request.size, one.form[:3], wire.reply and wire.reply.size)
        alike.setdefault(key, []).append((one, wire))
    found, faults = [], []
    for group in alike.values():
        try:
            found.append(_read(group, size, payload))
        except RemoteProtocolError as exc:
            faults.append(exc)
    if not found:
        raise faults[0]
    return found


def _read(group: Sequence[tuple[Dialect, WireCommand]], size: int, payload: bytes) -> Reading:
    one, wire = group[0]
    dialects = tuple(d for d, _ in group)
    held = memoryview(payload)[: head_size(wire, size)]
    if not wire.counted:
        return Reading(dialects, wire, codec.decode_head(one, wire, held), size - len(held))
    fields = codec.decode_graph(one, wire, payload)
    used = wire.request.size + 4 + fields["nodes"].nbytes + fields["tensors"].nbytes
    return Reading(dialects, wire, fields, trailing=size - used)


def narrowed(before: Sequence[Dialect], chosen: Sequence[Reading]) -> tuple[Dialect, ...]:
    """The dialects of readings: in the order that they had before, or as they are when there are new ones."""
    kept = dict.fromkeys(d for one in chosen for d in one.dialects)
    ordered = tuple(d for d in before if d in kept)
    return ordered if len(ordered) == len(kept) else tuple(kept)
