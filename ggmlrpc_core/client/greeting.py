"""How a connection begins: HELLO in the form that the server takes, or none, and what its answer decides.

A server closes at a form of HELLO that is not its own, so the forms are tried newest first, each on a new connection.
One that is silent is not asked again: it may be busy with another client, and no version is silent at a wrong form.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise

from ggmlrpc_core.client.connection import DEFAULT_TIMEOUT, ClientConnection
from ggmlrpc_core.client.eras import answers, era_of, form_of, is_silent
from ggmlrpc_core.client.guess import guess_numbering
from ggmlrpc_core.client.sockets import open_socket
from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.engine import Connection, Role
from ggmlrpc_core.errors import ConnectionLost, RemoteProtocolError, VersionMismatch
from ggmlrpc_core.wire import dialects
from ggmlrpc_core.wire.commands import HELLO
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.differences import consequence, differences
from ggmlrpc_core.wire.handshake import (
    announced_labels,
    announcing,
    hello_forms,
    may_speak,
    nearest,
)
from ggmlrpc_core.wire.version import ProtocolVersion

log = logging.getLogger("ggmlrpc.client")

BUSY = "a stock server answers one client at a time, and the next when that has left"


def connect(
    endpoint: str | Endpoint,
    timeout: float | None = DEFAULT_TIMEOUT,
    *,
    dialect: str | None = None,
) -> ClientConnection:
    """Connect to a server and agree with it on what is spoken.

    Where the version of the server hides several numberings, small graphs tell them apart as far as that is safe
    (guess.py). What stays open is told in a log line; ops in which the rest differ are refused by name when they are
    to be sent, never guessed.

    Args:
        endpoint: "host:port" and the other forms of ggmlrpc_core/endpoint.py.
        timeout: seconds without progress before the connection is given up; None waits for ever.
        dialect: name of the dialect to speak, for a server whose numbering is known, whose names are longer than usual
            ("7.0.0/name128"), or whose version is unknown and accepted by the stock client of that dialect. None: speak
            what the server announces.

    Raises:
        ConnectionLost: no server, one that is silent, or one that closes at every form of a first message.
        VersionMismatch: it announces a version that is unknown, or another one than `dialect`.
    """
    target = Endpoint.parse(endpoint) if isinstance(endpoint, str) else endpoint
    greeter = _Greeter(target, timeout)
    connection = greeter.learn() if dialect is None else greeter.speak(dialects.dialect(dialect))
    if len(connection.candidates) > 1:
        log.warning(
            "server %s announces %s, its numbering is one of %s: what they differ in is refused (%s); "
            "pass dialect= with the right one",
            target,
            connection.server_version or "no version",
            ", ".join(one.name for one in connection.candidates),
            "; ".join(
                told.text
                for older, newer in pairwise(connection.candidates)
                for told in differences(older, newer)
            ),
        )
    return connection


class _Greeter:
    """First contacts with one server."""

    def __init__(self, target: Endpoint, timeout: float | None) -> None:
        self._target = target
        self._timeout = timeout

    def learn(self) -> ClientConnection:
        """Find out what the server speaks.

        Raises:
            ConnectionLost, VersionMismatch: see connect.
        """
        return self._settle(*self._identify())

    def speak(self, wanted: Dialect) -> ClientConnection:
        """Speak what the caller asked for.

        Raises:
            ConnectionLost, VersionMismatch: see connect.
        """
        connection = self._open(wanted)
        try:
            if self._takes(connection, wanted):
                return connection
        except ConnectionLost as exc:
            if is_silent(exc):
                raise self._silent(exc) from exc
        except BaseException:
            connection.close()
            raise
        raise self._other_form(wanted)

    # --- inside

    def _identify(self) -> tuple[ClientConnection, tuple[Dialect, ...]]:
        """A connection, and every state that the server may be of by what it announces, or does before HELLO."""
        for form in hello_forms():
            connection = self._open(form)
            try:
                return connection, self._announced(self._hello(connection))
            except ConnectionLost as exc:
                if is_silent(exc):
                    raise self._silent(exc) from exc
            except BaseException:
                connection.close()
                raise
        return self._before_hello()

    def _takes(self, connection: ClientConnection, wanted: Dialect) -> bool:
        """Whether the server goes on with a dialect; false when it closes at its first message.

        Raises:
            VersionMismatch: it announces another version, and they do not understand each other.
        """
        if HELLO not in wanted.by_name:
            return answers(connection, "GET_ALIGNMENT")
        announced = self._hello(connection)
        if not may_speak(wanted, announced):
            raise self._mismatch(wanted, announced)
        return True

    def _open(self, spoken: Dialect) -> ClientConnection:
        sock = open_socket(self._target, self._timeout)
        return ClientConnection(sock, self._target, engine=Connection(Role.CLIENT, spoken))

    def _dial(self, spoken: Dialect) -> ClientConnection:
        """A connection that speaks a dialect, HELLO done where it has one and where the server has one."""
        connection = self._open(spoken)
        if HELLO in spoken.by_name:
            self._hello(connection)
        return connection

    def _hello(self, connection: ClientConnection) -> ProtocolVersion:
        try:
            fields = connection.call(HELLO, conn_caps=b"")
        except RemoteProtocolError as exc:
            raise VersionMismatch(
                HELLO,
                exc.what,
                exc.got,
                f"{exc.expected}, as every known version answers",
                context=f"server {self._target}: not a server of this protocol, or of a version to come",
            ) from exc
        connection.server_version = ProtocolVersion(
            fields["major"], fields["minor"], fields["patch"]
        )
        return connection.server_version

    def _announced(self, announced: ProtocolVersion) -> tuple[Dialect, ...]:
        found = announcing(announced)
        if found:
            return found
        near = nearest(announced)
        hint = (
            f"; dialect='{near.label}' speaks that to it, if you know that it understands"
            if near
            else ""
        )
        raise VersionMismatch(
            HELLO,
            "server version",
            announced,
            f"one of {', '.join(announced_labels())}",
            context=(
                f"server {self._target}: numbers of ops and lengths of messages of {announced} are not known, so wrong "
                f"ops would run and nobody would notice{hint}"
            ),
        )

    def _settle(
        self, connection: ClientConnection, candidates: Sequence[Dialect]
    ) -> ClientConnection:
        """Narrow what the server may be of, as far as it can be seen."""
        try:
            if len({one.tensor.size for one in candidates}) > 1:
                connection.close()  # a stock server has time for one
                candidates = form_of(self._dial, candidates)
                connection = self._dial(candidates[-1])
            connection.speak(candidates)
            return guess_numbering(connection, lambda: self._dial(candidates[-1]))
        except BaseException:
            connection.close()
            raise

    def _before_hello(self) -> tuple[ClientConnection, tuple[Dialect, ...]]:
        try:
            candidates = era_of(self._open, lambda: open_socket(self._target, self._timeout))
        except (ConnectionLost, RemoteProtocolError) as exc:
            if isinstance(exc, ConnectionLost) and is_silent(exc):
                raise self._silent(exc) from exc
            sizes = ", ".join(str(form.hello_size) for form in hello_forms())
            raise ConnectionLost(
                "connect",
                "connection",
                "closed by the server at every first message",
                "a ggml RPC server",
                context=f"server {self._target}, tried: HELLO of {sizes} bytes, GET_ALIGNMENT",
            ) from exc
        return self._open(candidates[-1]), tuple(candidates)

    def _silent(self, lost: ConnectionLost) -> ConnectionLost:
        return ConnectionLost(
            lost.where,
            "connection",
            lost.got,
            "an answer",
            context=f"server {self._target}: {BUSY}",
        )

    def _mismatch(self, wanted: Dialect, announced: ProtocolVersion) -> VersionMismatch:
        theirs = announcing(announced)
        if theirs:
            harm = consequence(wanted, theirs[-1])
            fix = f"leave dialect= out, or pass '{theirs[-1].label}'"
        else:
            harm = f"numbers and lengths of {announced} are not known"
            fix = "leave dialect= out to see what is known"
        return VersionMismatch(
            HELLO,
            "server version",
            announced,
            f"{_announcement(wanted)}, for dialect='{wanted.name}'",
            context=f"server {self._target}: {harm}; {fix}",
        )

    def _other_form(self, wanted: Dialect) -> ConnectionLost | VersionMismatch:
        """Why a server closed at the first message of a dialect: ask it in the other forms what it is."""
        try:
            connection, candidates = self._identify()
        except (ConnectionLost, VersionMismatch) as exc:
            return exc
        connection.close()
        if connection.server_version is not None:
            return self._mismatch(wanted, connection.server_version)
        found = candidates[-1]
        return VersionMismatch(
            "connect",
            "server version",
            _announcement(found),
            f"{_announcement(wanted)}, for dialect='{wanted.name}'",
            context=(
                f"server {self._target}: {consequence(wanted, found)}; leave dialect= out, or pass '{found.name}'"
            ),
        )


def _announcement(state: Dialect) -> str:
    """What a server of a state announces."""
    return str(state.version) if HELLO in state.by_name else f"none, as of {state.label}"
