"""Remote devices and buffers: the commands of the protocol as methods, over one connection per server.

A RemoteDevice allocates like a local device, so `graph.build.allocate` and graphs work the same for both.
"""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np

from ggmlrpc_core.client.connection import DEFAULT_TIMEOUT, ClientConnection
from ggmlrpc_core.client.greeting import connect
from ggmlrpc_core.client.serialise import agreed_message, ambiguous, numbered_alike, record_of
from ggmlrpc_core.client.values import from_bytes, to_bytes
from ggmlrpc_core.errors import (
    BufferNotFound,
    DeviceError,
    LocalProtocolError,
    OutOfBounds,
    OutOfDeviceMemory,
)
from ggmlrpc_core.ggml.fnv import fnv1a_64
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import Graph, Tensor, contiguous_nb

HASH_THRESHOLD = 10 * 1024 * 1024
"""Uploads of more bytes are worth asking for by hash."""

PIECE = 1 << 30
"""Bytes of one SET, GET, COPY or MEMSET of raw bytes: extents have 32 bits on the wire."""

ROW_PADDING = 512
"""Quantized rows that are no multiple of it may need more memory, and INIT_TENSOR."""

SIZE_DEPENDS_ON_OP = frozenset(
    {"FLASH_ATTN_EXT", "MUL_MAT", "MUL_MAT_ID", "CUMSUM", "ARGSORT", "TOP_K"}
)
"""Ops whose result may need more bytes on a device than it has; the server is asked."""


class RemoteServer:
    """A server and its devices.

    Attributes:
        connection: shared by all of them.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._stored: dict[int, Graph] = {}  # graph that the server keeps, by device
        self._devices: dict[int, RemoteDevice] = {}

    @classmethod
    def connect(
        cls,
        endpoint: str,
        timeout: float | None = DEFAULT_TIMEOUT,
        *,
        dialect: str | None = None,
    ) -> RemoteServer:
        """Connect; see greeting.connect."""
        return cls(connect(endpoint, timeout, dialect=dialect))

    @cached_property
    def device_count(self) -> int:
        """How many devices it offers; 1 where the protocol has no such question."""
        if "DEVICE_COUNT" not in self.connection.dialect.by_name:
            return 1
        return self.connection.call("DEVICE_COUNT")["device_count"]

    def device(self, index: int = 0) -> RemoteDevice:
        """One of its devices.

        Raises:
            DeviceError: there is no such device.
        """
        if not 0 <= index < self.device_count:
            raise DeviceError(
                "device",
                "index",
                index,
                f"below {self.device_count}",
                context=str(self.connection.endpoint),
            )
        return self._devices.setdefault(index, RemoteDevice(self, index))

    @property
    def devices(self) -> list[RemoteDevice]:
        """All of them, in the server's order."""
        return [self.device(i) for i in range(self.device_count)]

    def close(self) -> None:
        """Disconnect; every buffer of this client is gone then."""
        self.connection.close()

    def __enter__(self) -> RemoteServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class RemoteDevice:
    """One device of a server.

    Attributes:
        server: whose device it is.
        index: its number there.
        name: "RPC0[host:port]", as the stock client calls it.
        accelerator: True, as the stock client has it.
    """

    accelerator = True
    host_memory = False

    def __init__(self, server: RemoteServer, index: int) -> None:
        self.server = server
        self.index = index
        self.description = str(server.connection.endpoint)
        self.name = f"RPC{index}[{self.description}]"
        self._alloc_sizes: dict[tuple[Any, ...], int] = {}

    @property
    def connection(self) -> ClientConnection:
        """The server's connection."""
        return self.server.connection

    @cached_property
    def alignment(self) -> int:
        """Of tensors in buffers, bytes."""
        return self._ask("GET_ALIGNMENT")["alignment"]

    @cached_property
    def max_size(self) -> int:
        """Largest buffer, bytes."""
        return self._ask("GET_MAX_SIZE")["max_size"]

    def memory(self) -> tuple[int, int]:
        """(free, total) bytes, asked each time."""
        answer = self._ask("GET_DEVICE_MEMORY")
        return answer["free_mem"], answer["total_mem"]

    def alloc(self, size: int) -> RemoteBuffer:
        """A buffer of at least `size` bytes, at least 1.

        Raises:
            OutOfDeviceMemory: the server refused.
            LocalProtocolError: `size` is 0; the protocol has no such buffer.
        """
        if size < 1:
            raise LocalProtocolError("ALLOC_BUFFER", "size", size, "at least 1")
        answer = self._ask("ALLOC_BUFFER", size=size)
        if answer["remote_ptr"] == 0:
            raise OutOfDeviceMemory(
                "ALLOC_BUFFER", "size", f"{size} bytes", "less", context=self.name
            )
        base = self.connection.call("BUFFER_GET_BASE", remote_ptr=answer["remote_ptr"])["base_ptr"]
        return RemoteBuffer(self, answer["remote_ptr"], base=base, size=answer["remote_size"])

    def alloc_size(self, tensor: Tensor, srcs: list[Tensor | None] | None = None) -> int:
        """Bytes that a tensor needs in a buffer, never below tensor.nbytes; asked once for each shape."""
        padded_rows = tensor.type.quantized and tensor.ne[0] % ROW_PADDING and not tensor.view_src
        asked = padded_rows or tensor.op in SIZE_DEPENDS_ON_OP
        if not asked or "GET_ALLOC_SIZE" not in self.connection.dialect.by_name:
            return tensor.nbytes
        srcs = list(tensor.src) if srcs is None else srcs
        shapes = (None if s is None else (s.type, s.ne, s.nb) for s in srcs)
        key = (tensor.type, tensor.op, tensor.op_params, tensor.ne, tensor.nb, *shapes)
        if key not in self._alloc_sizes:
            if not numbered_alike(tensor.op, self.connection.candidates):
                raise ambiguous("GET_ALLOC_SIZE", tensor.op, self.connection.candidates)
            answer = self._ask(
                "GET_ALLOC_SIZE",
                tensor=record_of(tensor, self._place),
                srcs=[None if s is None else record_of(s, self._place) for s in srcs],
            )
            self._alloc_sizes[key] = answer["alloc_size"]
        return max(tensor.nbytes, self._alloc_sizes[key])

    def compute(self, graph: Graph) -> None:
        """Run a graph; results are in its buffers when the next command that is answered returns.

        The graph that the server ran last on this device is not sent again: a graph must not be changed after it was
        made.

        Raises:
            UnsupportedOp: the server's protocol has no such op, or cannot say what it is to do. Nothing was sent.
            AmbiguousDialect: the server's version hides several numberings, and they differ in an op of the graph; name
                the right one by `dialect=`. Nothing was sent.
            DeviceError: the server answered that it failed (protocols before 3.5).
            ConnectionLost: as ClientConnection.call; a refused graph shows as a closed connection, here or at the next
                command.
        """
        with self.connection.lock:  # no other graph may come between the look and the command
            if self.server._stored.get(self.index) is graph and self._can_recompute:
                self._ask("GRAPH_RECOMPUTE")
                return
            nodes, tensors = agreed_message(graph, self.connection.candidates, self._place)
            self.server._stored.pop(self.index, None)
            answer = self._ask("GRAPH_COMPUTE", nodes=nodes, tensors=tensors)
            if answer.get("result", 0) != 0:
                raise DeviceError(
                    "GRAPH_COMPUTE", "result", answer["result"], "0", context=self.name
                )
            self.server._stored[self.index] = graph

    def recompute(self) -> None:
        """Run the graph again that this device ran last.

        Raises:
            LocalProtocolError: there is none; freeing a buffer drops it.
        """
        with self.connection.lock:
            if self.index not in self.server._stored or not self._can_recompute:
                raise LocalProtocolError(
                    "GRAPH_RECOMPUTE",
                    "stored graph",
                    None,
                    "one that was computed",
                    context=self.name,
                )
            self._ask("GRAPH_RECOMPUTE")

    def synchronize(self) -> None:
        """Wait for everything sent so far; the server works in order, so any answer will do."""
        self._ask("GET_ALIGNMENT")

    def close(self) -> None:
        """Disconnect the whole server; its other devices are gone too."""
        self.server.close()

    def __enter__(self) -> RemoteDevice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _can_recompute(self) -> bool:
        return self.connection.dialect.server_recomputes

    def _ask(self, command: str, **fields: Any) -> dict[str, Any]:
        return self.connection.call(command, device=self.index, **fields)

    def _place(self, tensor: Tensor) -> tuple[int, int]:
        """Handle and address; (0, 0) for a tensor that this server does not hold."""
        buffer = tensor.buffer
        if not isinstance(buffer, RemoteBuffer) or buffer.device.server is not self.server:
            return 0, 0
        buffer.require_live()
        return buffer.remote_ptr, buffer.base + tensor.offset


class RemoteBuffer:
    """Memory on a remote device, freed at the end of a `with` block.

    Attributes:
        device: where it is.
        remote_ptr: handle.
        base: the server's address of its first byte.
        size: bytes; may be more than was asked for.
    """

    def __init__(self, device: RemoteDevice, remote_ptr: int, *, base: int, size: int) -> None:
        self.device = device
        self.remote_ptr = remote_ptr
        self.base = base
        self.size = size
        self.freed = False

    # --- bytes

    def set(self, data: Any, offset: int = 0) -> None:
        """Write bytes. Returns when they are sent; no answer is waited for."""
        view = memoryview(data).cast("B")
        for at in self._pieces("SET_TENSOR", offset, len(view)):
            piece = view[at : at + PIECE]
            record = record_of(self._bytes_at(offset + at, len(piece)), self.device._place)
            self._call("SET_TENSOR", body=piece, tensor=record, offset=0)

    def get(self, size: int | None = None, offset: int = 0) -> bytearray:
        """Read bytes; `size` None for all from `offset` on."""
        length = self.size - offset if size is None else size
        data = bytearray(length)
        self.get_into(memoryview(data), offset)
        return data

    def get_into(self, into: memoryview, offset: int = 0) -> None:
        """Read bytes into memory, received straight into it."""
        for at in self._pieces("GET_TENSOR", offset, len(into)):
            piece = into[at : at + PIECE]
            record = record_of(self._bytes_at(offset + at, len(piece)), self.device._place)
            self.device.connection.fetch("GET_TENSOR", piece, tensor=record, offset=0)

    def memset(self, value: int, offset: int = 0, size: int | None = None) -> None:
        """Set every byte of a range; `size` None for all from `offset` on. Needs protocol 5.0."""
        length = self.size - offset if size is None else size
        for at in self._pieces("MEMSET_TENSOR", offset, length):
            n = min(PIECE, length - at)
            record = record_of(self._bytes_at(offset + at, n), self.device._place)
            self._call("MEMSET_TENSOR", tensor=record, offset=0, size=n, value=value)

    def clear(self, value: int = 0) -> None:
        """Set every byte of the buffer."""
        self.require_live()
        self._call("BUFFER_CLEAR", remote_ptr=self.remote_ptr, value=value)

    def copy_from(self, src: RemoteBuffer, src_offset: int, dst_offset: int, size: int) -> bool:
        """Copy inside the server, up to 1 GiB; False when it declines or the other buffer is elsewhere."""
        if src.device.server is not self.device.server or size > PIECE:
            return False
        self._check_range("COPY_TENSOR", dst_offset, size)
        src._check_range("COPY_TENSOR", src_offset, size)
        place = self.device._place
        answer = self._call(
            "COPY_TENSOR",
            src=record_of(src._bytes_at(src_offset, size), place),
            dst=record_of(self._bytes_at(dst_offset, size), place),
        )
        return answer["result"] == 1

    # --- tensors

    def set_tensor(
        self, tensor: Tensor, values: Any, *, cache: bool = False, threshold: int = HASH_THRESHOLD
    ) -> bool:
        """Write a whole contiguous tensor of this buffer.

        Args:
            tensor: bound to this buffer.
            values: see values.to_bytes.
            cache: the data is a weight: above `threshold` bytes ask by hash first, and let the server keep it.
            threshold: bytes.

        Returns:
            Whether the server had the data in its cache.
        """
        self._require_own(tensor)
        data = to_bytes(tensor, values)
        if not len(data):
            return False
        self.init_tensor(tensor)
        record = record_of(tensor, self.device._place)
        hashed = cache and len(data) > threshold
        if hashed and "SET_TENSOR_HASH" in self.device.connection.dialect.by_name:
            answer = self._call("SET_TENSOR_HASH", tensor=record, offset=0, hash=fnv1a_64(data))
            if answer["result"] == 1:
                return True
        self._call("SET_TENSOR", body=data, tensor=record, offset=0, cache_flag=int(hashed))
        return False

    def get_tensor(self, tensor: Tensor) -> np.ndarray:
        """Read a whole tensor: see values.from_bytes. A new array, in NumPy order."""
        self._require_own(tensor)
        data = np.empty(tensor.nbytes, np.uint8)
        if data.size:
            record = record_of(tensor, self.device._place)
            self.device.connection.fetch("GET_TENSOR", data.data, tensor=record, offset=0)
        return from_bytes(tensor, data)

    def copy_tensor(self, src: Tensor, dst: Tensor) -> bool:
        """COPY_TENSOR into a tensor of this buffer; False when the server declines or lacks `src`."""
        self._require_own(dst)
        place = self.device._place
        source = record_of(src, place)
        if source.buffer == 0:
            return False
        return self._call("COPY_TENSOR", src=source, dst=record_of(dst, place))["result"] == 1

    def init_tensor(self, tensor: Tensor) -> None:
        """INIT_TENSOR where the stock client sends it: quantized rows that a device may pad."""
        odd = tensor.type.quantized and tensor.ne[0] % ROW_PADDING and not tensor.view_src
        if odd and "INIT_TENSOR" in self.device.connection.dialect.by_name:
            self._call("INIT_TENSOR", tensor=record_of(tensor, self.device._place))

    def free(self) -> None:
        """Give the memory back; the server forgets its stored graphs. Calling it twice is fine."""
        with self.device.connection.lock:
            if self.freed:
                return
            self.freed = True
            self.device.server._stored.clear()
            if not self.device.connection.closed:
                self._call("FREE_BUFFER", remote_ptr=self.remote_ptr)

    def __enter__(self) -> RemoteBuffer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.free()

    def __repr__(self) -> str:
        return f"<RemoteBuffer {self.remote_ptr:#x} {self.size} bytes on {self.device.name}>"

    def require_live(self) -> None:
        """Raise BufferNotFound when it was freed."""
        if self.freed:
            raise BufferNotFound(
                "buffer", "handle", f"{self.remote_ptr:#x}", "a buffer that is not freed"
            )

    # --- inside

    def _call(self, command: str, **fields: Any) -> dict[str, Any]:
        return self.device.connection.call(command, **fields)

    def _require_own(self, tensor: Tensor) -> None:
        if tensor.buffer is not self:
            raise LocalProtocolError(
                "tensor", "buffer", tensor.buffer, repr(self), context=f"tensor {tensor.name!r}"
            )

    def _check_range(self, command: str, offset: int, size: int) -> None:
        self.require_live()
        if offset < 0 or size < 0 or offset + size > self.size:
            raise OutOfBounds(
                command, "region", f"[{offset}, {offset + size})", f"inside [0, {self.size})"
            )

    def _pieces(self, command: str, offset: int, size: int) -> range:
        self._check_range(command, offset, size)
        return range(0, size, PIECE)

    def _bytes_at(self, offset: int, size: int) -> Tensor:
        """A tensor of plain bytes."""
        ne = (size, 1, 1, 1)
        i8 = TYPES["I8"]
        nb = contiguous_nb(i8, ne)
        return Tensor(id=1, type=i8, ne=ne, nb=nb, buffer=self, offset=offset, name="bytes")


def rpc_init(
    endpoint: str,
    device: int = 0,
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
    dialect: str | None = None,
) -> RemoteDevice:
    """Connect to a server and take one of its devices.

    Args:
        endpoint: "host:port", "[::1]:port" or "unix:path".
        device: index.
        timeout: seconds without progress before the connection is given up; None waits for ever.
        dialect: name of the dialect to speak; None for what the server announces, see greeting.connect.

    Raises:
        ConnectionLost, VersionMismatch: see greeting.connect.
        DeviceError: no such device.
    """
    server = RemoteServer.connect(endpoint, timeout, dialect=dialect)
    try:
        return server.device(device)
    except BaseException:
        server.close()
        raise


def set_tensor(tensor: Tensor, values: Any, *, cache: bool = False) -> bool:
    """Write a whole tensor, wherever it lives; see RemoteBuffer.set_tensor."""
    return _home(tensor).set_tensor(tensor, values, cache=cache)


def get_tensor(tensor: Tensor) -> np.ndarray:
    """Read a whole tensor, wherever it lives; see RemoteBuffer.get_tensor."""
    return _home(tensor).get_tensor(tensor)


def _home(tensor: Tensor) -> RemoteBuffer:
    if not isinstance(tensor.buffer, RemoteBuffer):
        raise LocalProtocolError(
            "tensor", "buffer", tensor.buffer, "a remote buffer", context=f"tensor {tensor.name!r}"
        )
    return tensor.buffer
