"""Which state a server is of where it announces nothing: the eras before HELLO, and tensor sizes of the fork.

Asked by requests whose length or existence differs, each wrong one on a connection of its own: a server closes there,
and does nothing else. No request here is read by any state as another one that it would carry out.

Source: docs/explanation/guessing.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from ggmlrpc_core.client.connection import ClientConnection
from ggmlrpc_core.errors import ConnectionLost, RemoteProtocolError
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import contiguous_nb
from ggmlrpc_core.wire.dialects import Dialect, dialect, states_of
from ggmlrpc_core.wire.tensors import TensorRecord

Dial = Callable[[Dialect], ClientConnection]
"""Opens a connection that speaks a dialect, HELLO done where it has one."""

_HEADER = struct.Struct("<BQ")  # command, payload length

PROBE_SIZE = 64
"""Bytes of buffers that are made to look at."""


def era_of(dial: Dial, open_plain: Callable[[], socket.socket]) -> list[Dialect]:
    """The states that a server without HELLO may be of, oldest first.

    Args:
        dial: see Dial.
        open_plain: opens a socket on which nothing has been said.

    Raises:
        ConnectionLost: it is silent, or it closes at every first message: no server of this protocol.
    """
    era_e, era_d, era_c, era_a = (dialect(f"none-{letter}") for letter in "EDCA")
    with dial(era_e) as connection:
        connection.call("GET_ALIGNMENT")
        if answers(connection, "GET_DEVICE_MEMORY"):
            return states_of(era_e.label)
    with dial(era_d) as connection:
        if answers(connection, "GET_ALLOC_SIZE", tensor=record()):
            return states_of(era_d.label)
    handle = _forgotten_buffer(dial, era_c)
    with dial(era_a) as connection:
        if handle and answers(connection, "BUFFER_GET_BASE", remote_ptr=handle):
            connection.call("FREE_BUFFER", remote_ptr=handle)
            return states_of(era_a.label)
    with dial(era_c) as connection:
        if not reads_tensors(connection):
            return states_of("none-B")
    return _checked_or_not(open_plain, states_of(era_c.label))


def form_of(dial: Dial, candidates: Sequence[Dialect]) -> list[Dialect]:
    """Those of several states whose tensor has the size that the server reads.

    Raises:
        ConnectionLost: it is silent, or it reads none of the sizes.
    """
    sizes = dict.fromkeys(one.tensor.size for one in reversed(candidates))
    if len(sizes) == 1:
        return list(candidates)
    for size in sizes:
        alike = [one for one in candidates if one.tensor.size == size]
        with dial(alike[-1]) as connection:
            if reads_tensors(connection):
                return alike
    shown = ", ".join(map(str, sizes))
    raise ConnectionLost(
        "GET_TENSOR", "connection", "closed at tensors of any size", f"one of {shown} bytes"
    )


def answers(connection: ClientConnection, command: str, **fields: Any) -> bool:
    """Whether a server answers a request as a dialect says; false when it closes.

    Raises:
        ConnectionLost: it is silent.
    """
    try:
        connection.call(command, **fields)
    except RemoteProtocolError:
        return False  # an answer of another length: another command
    except ConnectionLost as exc:
        if is_silent(exc):
            raise
        return False
    return True


def is_silent(lost: ConnectionLost) -> bool:
    """Whether a connection was given up because nothing came."""
    return isinstance(lost.__cause__, TimeoutError)


def reads_tensors(connection: ClientConnection) -> bool:
    """Whether a server takes a request that holds a tensor of the connection's dialect."""
    made = connection.call("ALLOC_BUFFER", size=PROBE_SIZE)
    handle = made["remote_ptr"]
    if handle == 0:
        return True  # no memory: nothing can be asked, and the newest is as good as any
    base = connection.call("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]
    tensor = record(handle, base)
    try:
        connection.fetch("GET_TENSOR", memoryview(bytearray(4)), tensor=tensor, offset=0)
    except ConnectionLost as exc:
        if is_silent(exc):
            raise
        return False
    connection.call("FREE_BUFFER", remote_ptr=handle)
    return True


def record(handle: int = 0, data: int = 0) -> TensorRecord:
    """One F32 number."""
    f32, ne = TYPES["F32"], (1, 1, 1, 1)
    return TensorRecord(
        id=1, type=f32.id, ne=ne, nb=contiguous_nb(f32, ne), buffer=handle, data=data, name=b"probe"
    )


def _forgotten_buffer(dial: Dial, spoken: Dialect) -> int:
    """The handle of a buffer whose connection has ended; the first era kept it, every later one freed it."""
    with dial(spoken) as connection:
        return int(connection.call("ALLOC_BUFFER", size=PROBE_SIZE)["remote_ptr"])


def _checked_or_not(
    open_plain: Callable[[], socket.socket], states: Sequence[Dialect]
) -> list[Dialect]:
    """Split states by whether the server minds four bytes in a request that has none."""
    number = states[-1].by_name["GET_ALIGNMENT"].number
    with open_plain() as sock:
        try:
            sock.sendall(_HEADER.pack(number, 4) + bytes(4))
            taken = bool(sock.recv(1))
        except TimeoutError as exc:
            raise ConnectionLost(
                "GET_ALIGNMENT", "connection", "silent", "an answer, or its end"
            ) from exc
        except OSError:
            taken = False
    if taken:
        return [one for one in states if one.lengths_checked is not True]
    return [one for one in states if one.lengths_checked is not False]
