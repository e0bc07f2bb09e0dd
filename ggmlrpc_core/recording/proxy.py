"""The recording proxy: between a client and its server, unnoticed by both.

A client sees virtual handles and addresses (space.py) and an alignment that fits every server, so that what it lays out
can be replayed anywhere; everything else passes as it is. One thread per connection, see relay.py.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.recording.capture import Capture, Options
from ggmlrpc_core.recording.relay import Relay
from ggmlrpc_core.recording.sockets import Stream, listen

SETTLE_SECONDS = 0.25
"""How long a new connection waits for the end of an earlier one to be noticed, so that the order in the file is the
client's: a client that closes one and opens the next does not want both at once."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where clients connect, and the server behind."""

    listen: Endpoint
    target: Endpoint


class Recorder:
    """A recording proxy that runs on threads of its own; a context manager.

    Args:
        path: folder of the recording.
        routes: at least one.
        options: how to record.

    Attributes:
        endpoints: where it listens, free ports filled in.

    Raises:
        OSError: an address is taken, or the folder cannot be made.
    """

    def __init__(
        self, path: Path, routes: Sequence[Route], *, options: Options | None = None
    ) -> None:
        self._targets = [route.target for route in routes]
        self._sockets: list[socket.socket] = []
        try:
            for route in routes:
                self._sockets.append(listen(route.listen))
        except OSError:
            self._close_sockets()
            raise
        self.endpoints = [
            Endpoint(route.listen.host, sock.getsockname()[1])
            for route, sock in zip(routes, self._sockets)
        ]
        self.capture = Capture(
            path,
            options or Options(),
            endpoints=_Listening(self.endpoints),
            servers=len(routes),
        )
        self._live: set[Relay] = set()
        self._result: tuple[int, int] | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._accept, args=(i,), name=f"ggrec-accept-{i}", daemon=True)
            for i in range(len(routes))
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def failure(self) -> Exception | None:
        """What ended the recording, None while it goes on."""
        return self.capture.failure

    def close(self) -> tuple[int, int]:
        """End all connections and the recording; (events, connections). Twice is fine.

        Raises:
            RecordingError: it could not be written.
        """
        if self._result is not None:
            return self._result
        self._settle()
        self._stopping.set()
        self._close_sockets()
        for connection in list(self._live):
            connection.stop()
        for thread in self._threads:
            thread.join()
        while self._live:
            time.sleep(0.005)
        self._result = self.capture.close()
        return self._result

    # --- inside

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes accept()
            sock.close()

    def _accept(self, index: int) -> None:
        while True:
            try:
                sock, _ = self._sockets[index].accept()
            except OSError:
                if self._stopping.is_set() or self._sockets[index].fileno() < 0:
                    return
                continue
            self._settle()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Relay(self.capture, Stream(sock), self._targets[index], index + 1)
            self._live.add(connection)
            threading.Thread(
                target=self._serve, args=(connection,), name="ggrec-connection", daemon=True
            ).start()

    def _serve(self, connection: Relay) -> None:
        try:
            connection.run()
        finally:
            self._live.discard(connection)

    def _settle(self) -> None:
        until = time.monotonic() + SETTLE_SECONDS
        while any(c.unsettled() for c in list(self._live)) and time.monotonic() < until:
            time.sleep(0.001)


class _Listening:
    """Endpoints by port, in the one spelling that the client used first."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = list(endpoints)
        self._seen: dict[int, str] = {}

    def number(self, text: str) -> int:
        """Which of ours it is; 0 for another, or another spelling."""
        for number, endpoint in enumerate(self._endpoints, 1):
            if text.endswith(f":{endpoint.port}"):
                return number if self._seen.setdefault(number, text) == text else 0
        return 0

    def text(self, number: int) -> str:
        """As the client wrote it."""
        return self._seen.get(number, f"${number}")
