"""One client: its socket, engine and session, from the first byte to the last line of the log.

Whatever goes wrong ends here: one line that says what was found and what was expected, and a closed
socket. Nothing reaches other clients or the process.
"""

from __future__ import annotations

import logging
import socket
import threading

from ggmlrpc_core.engine.events import PEER_CLOSED, Request
from ggmlrpc_core.engine.limits import Limits
from ggmlrpc_core.errors import DeviceError, GgmlRpcError, GraphStopped
from ggmlrpc_core.server import trace
from ggmlrpc_core.server.counters import ClientCounters
from ggmlrpc_core.server.dialogue import Dialogue
from ggmlrpc_core.server.link import SocketLink
from ggmlrpc_core.server.offer import Offer
from ggmlrpc_core.server.services import Services
from ggmlrpc_core.server.session import Session
from ggmlrpc_core.server.worker import LaneEnded

log = logging.getLogger("ggmlrpc.server")

PROGRESS_BYTES = 1 << 30
"""Uploaded bytes after which a line of the log says how far a client has come."""


class ServedClient:
    """A connected client.

    Args:
        sock: connected; closed at the end of `serve`.
        services: of the server.
        offer: what the listener announces.
        label: short id and address, for the log.
        peer: address without port, for the cache.
    """

    def __init__(
        self, sock: socket.socket, services: Services, *, offer: Offer, label: str, peer: str
    ) -> None:
        self._sock = sock
        self._label = label
        self._peer = peer
        self._drain_until: float | None = None
        self._services = services
        self.counters = ClientCounters(label)
        self._lock = threading.Lock()
        self._closing = False
        self._told = False
        limits = services.limits
        engine_limits = Limits(max_message=limits.max_message)
        self._dialogue = Dialogue(
            offer,
            peer=peer,
            owns=self._owns,
            report=lambda sentence: self._write(logging.INFO, "[%s] %s", label, sentence),
            limits=engine_limits,
        )
        self._conn = self._dialogue.conn
        self._link = SocketLink(sock, self._conn, limits=limits)
        self._session = Session(
            services,
            self._link,
            dialogue=self._dialogue,
            peer=peer,
            counters=self.counters,
            on_fault=self._fail,
        )
        # Looked up once: a level that changes later does not cost every message a call.
        self._trace = log.isEnabledFor(logging.DEBUG)
        services.counters.enter(self.counters)

    @property
    def memory_used(self) -> int:
        """Bytes of the client's buffers."""
        return self._session.memory_used

    @property
    def speaks(self) -> str:
        """Name of the dialect that it was told, or is taken for."""
        return self._dialogue.announced.name

    def serve(self) -> None:
        """Answer requests until the client leaves, breaks a rule or `shutdown` is called."""
        self._write(logging.INFO, "Accepted client connection [%s]", self._label)
        try:
            self._answer_all()
        except LaneEnded:
            pass  # told to _fail by the device's thread, or the server is closing
        except Exception as exc:  # a bug in the server must not cost the other clients anything
            self._fail(exc)
        finally:
            if self._drain_until is not None:
                self._session.finish(self._drain_until)
            self.abandon()
            self._write(logging.INFO, "Client connection closed [%s]", self._label)

    def abandon(self) -> None:
        """Free what the client owns and close its socket; by the thread that serves it, once."""
        self.shutdown()
        self._conn.close()
        try:
            self._session.close()
        except Exception as exc:  # a device that cannot free is no reason to keep the client
            log.error("[%s] not closed cleanly: %s: %s", self._label, type(exc).__name__, exc)
        self._sock.close()
        self._services.counters.leave(self.counters, fault=self._told)

    def drain(self, until: float) -> None:
        """Take no more requests, and end when the work is done, at a moment of `time.monotonic` at the latest."""
        self._drain_until = until
        with self._lock:
            self._closing = True
        self._link.end_reading()

    def shutdown(self) -> None:
        """End the connection, from any thread."""
        with self._lock:
            self._closing = True
        self._link.shutdown()

    def _answer_all(self) -> None:
        told = 0
        conn, link, session, counters = self._conn, self._link, self._session, self.counters
        while True:
            event = link.next_event()
            if event is PEER_CLOSED:
                if self._drain_until is None:
                    self._dialogue.left()
                return
            assert isinstance(event, Request)
            self._dialogue.heard(event.command)
            if self._trace:
                log.debug("[%s] %s", self._label, trace.request_line(event))
            counters.request(event.command, event.size, event.body_size)
            if counters.uploaded - told >= PROGRESS_BYTES:
                told = counters.uploaded
                self._write(
                    logging.INFO, "[%s] has uploaded %.0f GiB", self._label, told / (1 << 30)
                )
            answer = session.handle(event)
            if link.answer_due:
                reply = conn.reply(**(answer or {}))
                if self._trace:
                    log.debug(
                        "[%s] %s", self._label, trace.reply_line(event.command, len(reply) - 8)
                    )
                counters.sent += len(reply)  # before: who has the answer finds it counted
                link.send(reply)
            elif (
                self._trace and (size := event.fields.get("size")) and event.command == "GET_TENSOR"
            ):
                log.debug("[%s] %s", self._label, trace.reply_line(event.command, size))

    def _write(self, level: int, message: str, *args: object) -> None:
        self._services.lines.write(level, self._peer, message, *args)

    def _owns(self, handle: int) -> bool:
        return self._session.owns(handle)

    def _fail(self, exc: BaseException) -> None:
        """Close because of a fault; the first one is told. From any thread."""
        exc = self._dialogue.explained(exc)
        with self._lock:
            # Once the end has begun, a cut message or a stopped graph is no news; a real fault is.
            expected = isinstance(exc, GraphStopped) or not isinstance(exc, DeviceError)
            told = self._told or (self._closing and expected)
            self._told = self._told or not told
        if not told:
            if isinstance(exc, GgmlRpcError):
                self._write(logging.WARNING, "[%s] closed: %s", self._label, exc)
            else:
                kind = type(exc).__name__
                self._write(logging.ERROR, "[%s] closed: %s: %s", self._label, kind, exc)
            log.debug("[%s] traceback", self._label, exc_info=exc)
        self._link.shutdown()
