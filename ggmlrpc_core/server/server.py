"""The server: devices, listeners and connections put together.

with Server([lambda: NullDevice()], endpoint="127.0.0.1:0") as server:
    connect(server.endpoint)
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ggmlrpc_core.device import Device
from ggmlrpc_core.endpoint import DEFAULT_ENDPOINT, Endpoint
from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.server.banner import DeviceSummary
from ggmlrpc_core.server.connection import ServedClient
from ggmlrpc_core.server.counters import Counters
from ggmlrpc_core.server.hash_cache import HashCache
from ggmlrpc_core.server.limits import DEFAULT_LIMITS, Budget, ServerLimits
from ggmlrpc_core.server.listener import Listener
from ggmlrpc_core.server.offer import Offer
from ggmlrpc_core.server.schedule import ServedDevice
from ggmlrpc_core.server.services import Services
from ggmlrpc_core.server.worker import DeviceWorker, LaneEnded
from ggmlrpc_core.wire.dialects import Dialect

log = logging.getLogger("ggmlrpc.server")


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device to serve.

    Attributes:
        name: as in `--device`.
        open: opens it; called on the device's own thread, and again after the device was lost.
        share: in how many places of the list the same device is.
    """

    name: str
    open: Callable[[], Device]
    share: int = 1


class Server:
    """Serves devices on an endpoint until it is closed.

    Args:
        devices: in the order in which clients count them; at least one.
        endpoint: `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`; port 0 takes a free one.
        dialect: what is announced there, or "auto"; None for the newest.
        listen: further endpoints, each with the name of what is announced there.
        limits: bounds on what clients may cost.
        cache: of uploads; closed with the server. None for none.

    Attributes:
        endpoint: where it listens.
        offers: endpoint and what is announced there, for every listener; the first is that of `endpoint`.

    Raises:
        LocalProtocolError: no device, no such dialect, or an endpoint that cannot be read.
        OSError: the endpoint cannot be listened on.
        Exception: what opening a device raised.
    """

    def __init__(
        self,
        devices: Sequence[DeviceSpec | Callable[[], Device]],
        *,
        endpoint: str | Endpoint = DEFAULT_ENDPOINT,
        dialect: str | Dialect | None = None,
        listen: Sequence[tuple[str | Endpoint, str]] = (),
        limits: ServerLimits = DEFAULT_LIMITS,
        cache: HashCache | None = None,
    ) -> None:
        if not devices:
            raise LocalProtocolError("server", "number of devices", 0, "at least 1")
        wanted = [
            (Endpoint.parse(where) if isinstance(where, str) else where, Offer.of(name))
            for where, name in ((endpoint, dialect), *listen)
        ]
        self._cache = cache
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._connections: dict[ServedClient, threading.Thread] = {}
        self._closed = threading.Event()
        with contextlib.ExitStack() as undo:
            if cache is not None:
                undo.callback(cache.close)
            served = []
            for index, device in enumerate(devices):
                worker = self._open(device, index)
                undo.callback(worker.stop)
                share = device.share if isinstance(device, DeviceSpec) else 1
                served.append(ServedDevice(worker, share))
            self._services = Services(served, limits, Budget(limits.memory_total), cache)
            self._listeners = []
            for where, offer in wanted:
                listener = Listener(where)
                undo.callback(listener.close)
                self._listeners.append((listener, offer))
            self._undo = undo.pop_all()
        self.offers = [(listener.endpoint, offer) for listener, offer in self._listeners]
        self.endpoint = self.offers[0][0]
        self._acceptors = [
            threading.Thread(
                target=self._accept_all, args=one, name=f"ggmlrpc {one[0].endpoint}", daemon=True
            )
            for one in self._listeners
        ]

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def dialect(self) -> Dialect:
        """What is announced at `endpoint`; the newest where that is found out by trial."""
        return self.offers[0][1].dialect

    @property
    def devices(self) -> Sequence[ServedDevice]:
        """What is served, in order."""
        return self._services.devices

    @property
    def cache_directory(self) -> Path | None:
        """Where uploads are kept; None when they are not."""
        return self._cache.directory if self._cache else None

    @property
    def counters(self) -> Counters:
        """What is counted."""
        return self._services.counters

    @property
    def limits(self) -> ServerLimits:
        """Bounds on what clients may cost."""
        return self._services.limits

    def connections(self) -> list[ServedClient]:
        """The clients that are connected."""
        with self._lock:
            return list(self._connections)

    def problem(self) -> str:
        """Why clients cannot be served now; "" when they can."""
        if self._closed.is_set():
            return "the server is closing"
        lost = [served.name for served in self.devices if served.worker.gone]
        return f"device {', '.join(lost)} is lost" if lost else ""

    @property
    def n_clients(self) -> int:
        """Connections right now."""
        with self._lock:
            return len(self._connections)

    @property
    def memory_used(self) -> int:
        """Bytes of all buffers of all clients."""
        return self._services.memory.used

    def summaries(self) -> list[DeviceSummary]:
        """The devices for people, with their memory now; 0 where it cannot be told."""
        found = []
        for served in self.devices:
            worker = served.worker
            lane = worker.lane(lambda fault: log.warning("memory: %s", fault))
            try:
                free, total = worker.call(lane, worker.memory)
            except LaneEnded:
                free = total = 0
            worker.close_lane(lane, lambda: None)
            free, total = free // served.share, total // served.share
            free, total = self._services.memory.figures(free, total)
            found.append(DeviceSummary(worker.name, worker.device.description, free, total))
        return found

    def start(self) -> None:
        """Accept clients, on a thread for each listener."""
        for acceptor in self._acceptors:
            acceptor.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server is closed; False when `timeout` seconds went by."""
        return self._closed.wait(timeout)

    def close(self, *, drain: float = 0.0) -> None:
        """Close every connection, free every buffer, close the devices. May be called twice.

        Args:
            drain: seconds that graphs which run or wait may take to their end, and that answers which are due may take
                to be sent; nothing new is read from any client meanwhile.
        """
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            connections = dict(self._connections)
        for listener, _ in self._listeners:
            listener.close()
        until = monotonic() + drain
        if drain > 0:
            for connection in connections:
                connection.drain(until)
            for thread in connections.values():
                thread.join(max(0.0, until - monotonic()))
        for connection in connections:
            connection.shutdown()
        for thread in connections.values():
            thread.join()
        for acceptor in self._acceptors:
            if acceptor.ident is not None:
                acceptor.join()
        self._undo.close()

    @staticmethod
    def _open(device: DeviceSpec | Callable[[], Device], index: int) -> DeviceWorker:
        report = log.warning
        if isinstance(device, DeviceSpec):
            return DeviceWorker(device.name, device.open, report=report)
        return DeviceWorker(f"device {index}", device, report=report)

    def _accept_all(self, listener: Listener, offer: Offer) -> None:
        while not self._closed.is_set():
            try:
                accepted = listener.accept()
            except OSError as exc:
                if self._closed.is_set():
                    return
                # Out of descriptors, or the client is gone again: the next one may do better.
                log.warning("a client could not be accepted: %s", exc)
                self._closed.wait(0.1)
                continue
            if accepted is None:
                return
            sock, address, peer = accepted
            if not self.limits.allows(peer):
                self.counters.refuse()
                self._tell(peer, "[%s] closed: its address is not in --allow", address)
                sock.close()
                continue
            label = f"c{next(self._ids)} {address}"
            try:
                self._begin(sock, label, peer, offer)
            except Exception as exc:  # one client that could not be served is no reason to stop
                self._tell(peer, "[%s] closed: %s", label, exc)
                sock.close()

    def _begin(self, sock: socket.socket, label: str, peer: str, offer: Offer) -> None:
        limits = self._services.limits
        with self._lock:
            if self._closed.is_set():
                sock.close()
                return
            if len(self._connections) >= limits.max_clients:
                self._tell(
                    peer, "[%s] closed: server: number of clients is %d, expected at most %d",
                    label, len(self._connections) + 1, limits.max_clients,
                )  # fmt: skip
                self.counters.refuse()
                sock.close()
                return
            connection = ServedClient(sock, self._services, offer=offer, label=label, peer=peer)
            thread = threading.Thread(
                target=self._serve, args=(connection,), name=f"ggmlrpc {label}", daemon=True
            )
            self._connections[connection] = thread
            try:
                thread.start()
            except RuntimeError:  # no thread left: the client goes, the others stay
                del self._connections[connection]
                connection.abandon()
                raise

    def _tell(self, peer: str, message: str, *args: object) -> None:
        self._services.lines.write(logging.WARNING, peer, message, *args)

    def _serve(self, connection: ServedClient) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._connections[connection]
