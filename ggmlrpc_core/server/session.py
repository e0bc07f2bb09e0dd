"""What every command means: one client's buffers, graphs and data on the devices of a server.

A method per command, named after it. It gets the fields of the request and returns those of the
answer. Anything that a client must not do is raised as an error, and the connection is closed by
whoever called; the stock server's own rules are followed, except that we close where it aborts.

Framing and order are the engine's business (engine/), bytes on the socket those of the link.

Source: docs/reference/protocol, server semantics; ggml-rpc.cpp rpc_server @ 7.0.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any, Protocol

from ggmlrpc_core.device import Device
from ggmlrpc_core.engine.events import Request
from ggmlrpc_core.errors import OutOfBounds, RemoteProtocolError, UnknownCommand, clip
from ggmlrpc_core.graph.bind import bind_tensor
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.server.access import Access
from ggmlrpc_core.server.buffers import OwnedBuffer
from ggmlrpc_core.server.counters import ClientCounters
from ggmlrpc_core.server.dialogue import Dialogue
from ggmlrpc_core.server.graphs import GraphStore, Plan
from ggmlrpc_core.server.memory import SessionMemory
from ggmlrpc_core.server.schedule import Schedule
from ggmlrpc_core.server.services import Services
from ggmlrpc_core.wire.tensors import TensorRecord

Answer = Mapping[str, Any] | None
"""Fields of the reply; None for no field, or when the answer has been sent already."""

GGML_STATUS_SUCCESS = 0


class Link(Protocol):
    """What a session needs of its connection."""

    @property
    def answer_due(self) -> bool:
        """Whether the dialect answers the request at hand."""
        ...

    def receive(self, into: memoryview) -> None:
        """Fill a piece of memory with the next bytes of the request's body."""
        ...

    def send_data(self, size: int, pieces: Iterator[memoryview]) -> None:
        """Answer with `size` bytes of tensor data."""
        ...

    def peer_left(self) -> bool:
        """Whether the peer has closed, seen without reading."""
        ...

    def peer_speaks(self, seconds: float) -> bool:
        """Whether a next request begins within a time."""
        ...


class Session:
    """One client.

    Args:
        services: of the server.
        link: the connection, for data.
        dialogue: what the client speaks.
        peer: address of the client without port, for the cache.
        counters: of this client.
        on_fault: is called on a device's thread when work of this session failed there.
    """

    def __init__(
        self,
        services: Services,
        link: Link,
        *,
        dialogue: Dialogue,
        peer: str,
        counters: ClientCounters,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self._devices = services.devices
        self._cache = services.cache
        self._link = link
        self._dialogue = dialogue
        self._peer = peer
        self._counters = counters
        self._times = [services.counters.graph_times(served.name) for served in services.devices]
        self._schedule = Schedule(services.devices, on_fault, peer_left=link.peer_left)
        self._access = Access(services.devices, self._schedule)
        self._memory = SessionMemory(services, self._schedule)
        self._buffers = self._memory.table
        self._graphs = GraphStore(
            services.devices,
            self._buffers,
            dialect_of=dialogue.dialect_of,
            most_work=services.limits.graph_work,
        )

    def handle(self, request: Request) -> Answer:
        """Do what a request asks for.

        Raises:
            RemoteProtocolError: the client asked for something that it must not; close.
            DeviceError: the same, for handles and ranges.
            LaneEnded: earlier work of this session has failed, which has been told to on_fault.
            ConnectionLost: the peer is gone.
        """
        method = _COMMANDS.get(request.command)
        if method is None:
            raise UnknownCommand(
                "request", "command", request.command, "one that this server knows what to do with"
            )
        return method(self, request)

    def owns(self, handle: int) -> bool:
        """Whether a handle is a buffer of this client."""
        return self._buffers.get(handle) is not None

    @property
    def memory_used(self) -> int:
        """Bytes of this client's buffers."""
        return self._memory.used

    def finish(self, until: float) -> None:
        """Let the work that was asked for run to its end, until a moment of `time.monotonic`."""
        self._schedule.finish(until)

    def close(self) -> None:
        """Stop the work of this session and free what it owns."""
        self._memory.close()

    # --- the server and its devices

    def hello(self, request: Request) -> Answer:
        """Announce the version; no transport but this one is offered."""
        major, minor, patch = self._dialogue.announced.version
        return {"major": major, "minor": minor, "patch": patch, "pad": 0, "conn_caps": b""}

    def device_count(self, request: Request) -> Answer:
        """How many devices there are."""
        return {"device_count": len(self._devices)}

    def get_alignment(self, request: Request) -> Answer:
        """Alignment of tensors in buffers of a device."""
        return {"alignment": self._device(request).alignment}

    def get_max_size(self, request: Request) -> Answer:
        """Largest buffer of a device."""
        return {"max_size": self._device(request).max_size}

    def get_device_memory(self, request: Request) -> Answer:
        """Free and total memory, as they are for this client."""
        device = self._device_index(request)
        worker, share = self._devices[device].worker, self._devices[device].share
        free, total = self._schedule.call(device, worker.memory)
        free, total = self._memory.figures(free // share, total // share)
        return {"free_mem": free, "total_mem": total}

    def get_alloc_size(self, request: Request) -> Answer:
        """Bytes that a tensor needs in a buffer of its device, or of the one it is in."""
        device = self._device_index(request)
        record = request.fields["tensor"]
        tensor = bind_tensor(request.command, record, self._buffers.resolve)
        if (owned := self._buffers.get(record.buffer)) is not None:
            device = owned.device
        srcs = [self._bind_or_none(src) for src in request.fields.get("srcs", ())]
        worker = self._devices[device].worker
        size = self._schedule.call(device, lambda: worker.device.alloc_size(tensor, srcs))
        return {"alloc_size": max(size, tensor.nbytes)}

    # --- buffers

    def alloc_buffer(self, request: Request) -> Answer:
        """A new buffer; (0, 0) when it does not fit."""
        device = self._device_index(request)
        owned = self._memory.allocate(device, request.fields["size"])
        if owned is None:
            return {"remote_ptr": 0, "remote_size": 0}
        return {"remote_ptr": owned.handle, "remote_size": owned.bound.size}

    def buffer_get_base(self, request: Request) -> Answer:
        """Address of the first byte; 0 for a buffer of size 0."""
        return {"base_ptr": self._named(request).bound.base}

    def free_buffer(self, request: Request) -> Answer:
        """Give a buffer back, and forget the graphs that name it."""
        owned = self._named(request)
        self._graphs.forget(owned.handle)
        self._memory.free(owned)
        return None

    def buffer_clear(self, request: Request) -> Answer:
        """Fill a whole buffer with one byte."""
        owned = self._named(request)
        self._schedule.settle(owned.device)
        self._access.fill(owned, 0, owned.bound.size, value=request.fields["value"])
        return None

    # --- data of tensors

    def init_tensor(self, request: Request) -> Answer:
        """Nothing is kept per tensor; a bad one is refused."""
        bind_tensor(request.command, request.fields["tensor"], self._buffers.resolve)
        return None

    def set_tensor(self, request: Request) -> Answer:
        """Receive data straight into the buffer, and offer a copy to the cache."""
        size = request.body_size
        owned, start = self._region(request, size)
        self._schedule.settle(owned.device)
        cache = self._cache
        # Dialects without the flag leave the choice to the server.
        if cache is None or size == 0 or not request.fields.get("cache_flag", cache.wants(size)):
            self._access.receive(owned, start, size, fill=self._link.receive)
            return None
        with cache.writer(size, self._peer) as copy:

            def fill(piece: memoryview) -> None:
                self._link.receive(piece)
                copy.write(piece)

            self._access.receive(owned, start, size, fill=fill)
        return None

    def set_tensor_hash(self, request: Request) -> Answer:
        """Take data from the cache; 0 when it has none that fits, and then the client sends it."""
        fields = request.fields
        entry = self._cache.find(fields["hash"], self._peer) if self._cache else None
        if entry is None:  # nothing else of the request is looked at
            return {"result": 0}
        with entry:
            owned, start = self._region(request, 0)
            tensor, _ = self._placed(request.command, fields["tensor"])
            if fields["offset"] + entry.size > tensor.nbytes:
                return {"result": 0}
            self._schedule.settle(owned.device)
            self._access.receive(owned, start, entry.size, fill=entry.fill)
            return {"result": int(entry.intact())}

    def get_tensor(self, request: Request) -> Answer:
        """Send data straight from the buffer."""
        size = request.fields["size"]
        owned, start = self._region(request, size)
        self._schedule.settle(owned.device)
        self._counters.sent += size  # before: who has the answer finds it counted
        self._link.send_data(size, self._access.read(owned, start, size))
        return None

    def memset_tensor(self, request: Request) -> Answer:
        """Fill a part of a tensor with one byte."""
        fields = request.fields
        owned, start = self._region(request, fields["size"], at_end=True)
        self._schedule.settle(owned.device)
        self._access.fill(owned, start, fields["size"], value=fields["value"])
        return None

    def copy_tensor(self, request: Request) -> Answer:
        """Copy the bytes of one tensor to where another one starts."""
        src, src_owned = self._placed(request.command, request.fields["src"])
        dst, dst_owned = self._placed(request.command, request.fields["dst"])
        size, room = src.nbytes, dst_owned.bound.size - dst.offset
        if size > room:
            raise OutOfBounds(
                request.command,
                "size of the source",
                size,
                f"at most {room}, the room in the destination's buffer",
                context=f"tensor {clip(repr(dst.name))}",
            )
        self._schedule.settle(src_owned.device, dst_owned.device)
        self._access.copy(src_owned, src.offset, dst_owned, dst.offset, size)
        return {"result": 1}

    # --- graphs

    def graph_compute(self, request: Request) -> Answer:
        """Check a graph and queue it."""
        device = self._device_index(request)
        plan = self._graphs.compute(device, request.fields["nodes"], request.fields["tensors"])
        return self._run(plan)

    def graph_recompute(self, request: Request) -> Answer:
        """Queue the last graph of a device again."""
        return self._run(self._graphs.recompute(self._device_index(request)))

    def _run(self, plan: Plan) -> Answer:
        worker, should_stop = self._devices[plan.device].worker, self._schedule.should_stop
        times = self._times[plan.device]
        self._counters.graphs += 1

        def run() -> None:
            started = perf_counter()
            plan.run(worker.device, should_stop)
            times.add(perf_counter() - started)

        self._schedule.submit(
            plan.device,
            run,
            touches=plan.touches,
            weight=plan.weight,
        )
        if not self._link.answer_due:
            return None
        self._schedule.settle(plan.device)
        if not self._dialogue.answer_wanted(self._link.peer_speaks):
            return None
        return {"result": GGML_STATUS_SUCCESS}

    # --- inside

    def _device_index(self, request: Request) -> int:
        device = request.fields.get("device", 0)
        if device >= len(self._devices):
            raise RemoteProtocolError(
                request.command, "device", device, f"below {len(self._devices)}, the device count"
            )
        return device

    def _device(self, request: Request) -> Device:
        return self._devices[self._device_index(request)].worker.device

    def _named(self, request: Request) -> OwnedBuffer:
        return self._buffers.find(request.command, request.fields["remote_ptr"])

    def _placed(self, command: str, record: TensorRecord) -> tuple[Tensor, OwnedBuffer]:
        """A tensor that must be in a buffer of this session, and the buffer."""
        tensor = bind_tensor(command, record, self._buffers.resolve)
        owned = self._buffers.get(record.buffer)
        if owned is None:
            raise RemoteProtocolError(
                command,
                "tensor.buffer",
                f"{record.buffer:#x}",
                "a buffer of this connection",
                context=f"tensor {clip(repr(tensor.name))}",
            )
        return tensor, owned

    def _region(
        self, request: Request, size: int, *, at_end: bool = False
    ) -> tuple[OwnedBuffer, int]:
        """The buffer and the offset in it of bytes [offset, offset + size) of a request's tensor.

        They must be inside the tensor, which is inside the buffer. As in the stock server the
        first byte must be inside the buffer even when size is 0, unless `at_end`.
        """
        tensor, owned = self._placed(request.command, request.fields["tensor"])
        offset = request.fields["offset"]
        start, end = tensor.offset + offset, owned.bound.size
        if offset + size > tensor.nbytes or (start >= end and not at_end):
            base = owned.bound.base
            raise OutOfBounds(
                request.command,
                "region",
                f"[{offset}, {offset + size})",
                f"inside [0, {tensor.nbytes}) of the tensor and below {end - tensor.offset}, "
                "the end of its buffer",
                context=f"tensor {clip(repr(tensor.name))}, buffer [{base:#x}, {base + end:#x})",
            )
        return owned, start

    def _bind_or_none(self, record: TensorRecord | None) -> Tensor | None:
        """A source of GET_ALLOC_SIZE; one that makes no sense counts as absent."""
        if record is None:
            return None
        try:
            return bind_tensor("GET_ALLOC_SIZE", record, self._buffers.resolve)
        except RemoteProtocolError:
            return None


_COMMANDS: Mapping[str, Callable[[Session, Request], Answer]] = {
    "ALLOC_BUFFER": Session.alloc_buffer,
    "GET_ALIGNMENT": Session.get_alignment,
    "GET_MAX_SIZE": Session.get_max_size,
    "BUFFER_GET_BASE": Session.buffer_get_base,
    "FREE_BUFFER": Session.free_buffer,
    "BUFFER_CLEAR": Session.buffer_clear,
    "SET_TENSOR": Session.set_tensor,
    "SET_TENSOR_HASH": Session.set_tensor_hash,
    "GET_TENSOR": Session.get_tensor,
    "COPY_TENSOR": Session.copy_tensor,
    "GRAPH_COMPUTE": Session.graph_compute,
    "GET_DEVICE_MEMORY": Session.get_device_memory,
    "INIT_TENSOR": Session.init_tensor,
    "GET_ALLOC_SIZE": Session.get_alloc_size,
    "HELLO": Session.hello,
    "DEVICE_COUNT": Session.device_count,
    "GRAPH_RECOMPUTE": Session.graph_recompute,
    "MEMSET_TENSOR": Session.memset_tensor,
}
