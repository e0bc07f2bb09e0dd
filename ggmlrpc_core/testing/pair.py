"""A client engine and a server engine back to back: what one writes, the other reads. No socket."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.engine import Connection, Event, Reply, Request, Role
from ggmlrpc_core.wire.dialects import Dialect, newest

CONN_CAPS = bytes(24)


class EnginePair:
    """Both ends of one connection.

    Attributes:
        client, server: engines.
        dialect: what both speak.
    """

    def __init__(self, dialect: Dialect | None = None) -> None:
        self.dialect = dialect or newest()
        self.client = Connection(Role.CLIENT, self.dialect)
        self.server = Connection(Role.SERVER, self.dialect)

    def hello(self) -> None:
        """Exchange HELLO."""
        version = self.dialect.version
        self.ask("HELLO", conn_caps=CONN_CAPS)
        self.answer(major=version.major, minor=version.minor, patch=version.patch)

    def ask(self, command: str, body: bytes = b"", **fields: Any) -> Request:
        """Send a request; returns what the server sees. A body stays in the server's engine."""
        options = {"body_size": len(body)} if body else {}
        self.server.receive_data(self.client.request(command, **options, **fields))
        if body:
            self.server.receive_data(body)
            self.client.body_sent()
        event = self.server.next_event()
        assert isinstance(event, Request), event
        return event

    def take_body(self, size: int) -> bytes:
        """Receive the body of the last request at the server."""
        body = bytearray(size)
        taken = self.server.take_body(memoryview(body))
        return bytes(body[:taken])

    def answer(self, **fields: Any) -> Reply:
        """Answer the pending request; returns what the client sees."""
        return self._reply(self.server.reply(**fields))

    def answer_data(self, data: bytes) -> bytes:
        """Answer GET_TENSOR with bytes; returns those that the client received."""
        reply = self._reply(self.server.reply_head(len(data)))
        got = bytearray(reply.body_size)
        if data:  # nothing received would mean that the peer closed
            self.client.receive_data(data)
        taken = self.client.take_body(memoryview(got))
        return bytes(got[:taken])

    def _reply(self, data: bytes) -> Reply:
        self.client.receive_data(data)
        event: Event = self.client.next_event()
        assert isinstance(event, Reply), event
        return event
