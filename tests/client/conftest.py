"""A server that behaves as a stock one of its age: one client at a time, one dialect, and the process ends at the
first thing that ends a stock one.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import numpy as np
import pytest

from ggmlrpc_core.client.probes import forbidden, op_of
from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.engine import PEER_CLOSED, Connection, Request, Role
from ggmlrpc_core.errors import BadGraph, ProtocolError
from ggmlrpc_core.graph.bind import Bound
from ggmlrpc_core.graph.parse import parse_graph
from ggmlrpc_core.graph.tensor import VIEW_OPS
from ggmlrpc_core.ops.run import run_node
from ggmlrpc_core.ops.validate import check_nodes
from ggmlrpc_core.testing.host import HostBuffer, HostDevice, host_array
from ggmlrpc_core.wire.dialects import dialect

LENGTHS_CHECKED = "2024-10-18"


class Died(Exception):
    """What ends a stock server."""


class StockServer:
    """A stock server of one dialect.

    Args:
        name: of the dialect.
        alignment, max_size: what its backend answers; those of the CPU.
        announce: another version than that of the dialect.

    Attributes:
        death: why the process ended, None while it lives.
        commands: every command that was read, in order.
        first_bytes: the first byte of each connection.
    """

    def __init__(self, name, *, alignment=32, max_size=(1 << 64) - 1, announce=None):
        self.dialect = dialect(name)
        self.backend = {"alignment": alignment, "max_size": max_size}
        self.announce = announce or self.dialect.version
        self.death = None
        self.commands, self.first_bytes = [], []
        self._device = HostDevice("STOCK0", total=1 << 26)
        self._buffers = {}
        self._next = 0x10000
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint("127.0.0.1", self._listener.getsockname()[1])
        self._closing = False
        self._thread = threading.Thread(target=self._accept_all)
        self._thread.start()

    def close(self):
        """End the process, if it still lives."""
        self._closing = True
        with contextlib.suppress(OSError):  # it may have died
            socket.create_connection(("127.0.0.1", self.endpoint.port), 5).close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _accept_all(self):
        with self._listener:
            while not self._closing and self.death is None:
                sock, _ = self._listener.accept()
                with sock:
                    if self._closing:
                        return
                    try:
                        self._serve(sock)
                    except Died as exc:
                        self.death = str(exc)
                    except (ProtocolError, OSError):
                        pass  # it closes, and takes the next client
                    except ValueError as exc:
                        self.death = f"memory that is not there is written: {exc}"
                    if self.dialect.label != "none-A":
                        self._buffers.clear()

    def _serve(self, sock):
        conn = Connection(Role.SERVER, self.dialect)
        first = True
        while True:
            event = conn.next_event()
            if event is PEER_CLOSED:
                return
            if not isinstance(event, Request):
                data = sock.recv(1 << 16)
                if first and data:
                    self.first_bytes.append(data[0])
                    data = self._forgiven(data)
                first = False
                conn.receive_data(data)
                continue
            self.commands.append(event.command)
            body = bytearray(event.body_size)
            at = conn.take_body(memoryview(body))
            while at < len(body):
                n = sock.recv_into(memoryview(body)[at:])
                conn.body_received(n)
                at += n
            answer = getattr(self, "_" + event.command.lower())(event.fields, body)
            wire = self.dialect.by_name[event.command]
            if isinstance(answer, bytes):
                sock.sendall(conn.reply_head(len(answer)) + answer)
            elif wire.reply is not None:
                sock.sendall(conn.reply(**(answer or {})))

    def _forgiven(self, data):
        """Servers of before a date did not mind bytes in a request that has none."""
        old = self.dialect.version < (1, 0) and self.dialect.shipped < LENGTHS_CHECKED
        if old and data[:9] == struct.pack("<BQ", 1, 4):
            return struct.pack("<BQ", 1, 0) + data[13:]
        return data

    # --- commands

    def _hello(self, fields, body):
        version = self.announce
        return {"major": version[0], "minor": version[1], "patch": version[2]}

    def _get_alignment(self, fields, body):
        return {"alignment": self.backend["alignment"]}

    def _get_max_size(self, fields, body):
        return {"max_size": self.backend["max_size"]}

    def _get_device_memory(self, fields, body):
        return {"free_mem": 1, "total_mem": 1}

    def _device_count(self, fields, body):
        return {"device_count": 1}

    def _get_alloc_size(self, fields, body):
        return {"alloc_size": 4}

    def _alloc_buffer(self, fields, body):
        self._next += 0x10000
        self._buffers[self._next] = HostBuffer(self._device, fields["size"])
        return {"remote_ptr": self._next, "remote_size": fields["size"]}

    def _buffer_get_base(self, fields, body):
        self._known(fields["remote_ptr"])
        return {"base_ptr": fields["remote_ptr"] * 256}

    def _free_buffer(self, fields, body):
        self._known(fields["remote_ptr"])
        del self._buffers[fields["remote_ptr"]]

    def _set_tensor(self, fields, body):
        memory = self._memory(fields)
        memory[: len(body)] = np.frombuffer(bytes(body), np.uint8)

    def _get_tensor(self, fields, body):
        return self._memory(fields)[: fields["size"]].tobytes()

    def _graph_compute(self, fields, body):
        tensors = fields["tensors"]
        for tensor_id, number in zip(tensors["id"].tolist(), tensors["op"].tolist()):
            name = op_of(self.dialect, number)
            if forbidden(name):
                raise Died(f"{name} calls the address in its parameters")
            if not name:
                raise Died(f"op {number} of tensor {tensor_id} does not exist")
        try:
            graph = parse_graph(
                fields["nodes"], tensors, dialect=self.dialect, resolve=self._resolve,
                check_nodes=check_nodes,
            )  # fmt: skip
        except BadGraph as exc:
            raise Died(str(exc)) from exc
        self._stored = graph
        return self._run()

    def _graph_recompute(self, fields, body):
        return self._run()

    def _run(self):
        for node in self._stored.nodes:
            if node.op not in VIEW_OPS:
                run_node(np, node, host_array)
        return {"result": 0}

    def _known(self, handle):
        if handle not in self._buffers:
            if self.dialect.label == "none-A":
                raise Died("a handle that was never handed out is followed")
            raise ProtocolError("buffer", "handle", handle, "a known one")
        return self._buffers[handle]

    def _memory(self, fields):
        tensor = fields["tensor"]
        if tensor.buffer not in self._buffers and self.dialect.label == "none-A":
            raise Died("a handle that was never handed out is followed")
        start = tensor.data - tensor.buffer * 256 + fields["offset"]
        return self._known(tensor.buffer).memory[start:]

    def _resolve(self, handle):
        buffer = self._buffers.get(handle)
        return None if buffer is None else Bound(buffer, handle * 256, buffer.size)


@pytest.fixture
def stock():
    """Start stock servers that end with the test: `stock("2.0.0@2025-08-05")`."""
    servers = []

    def begin(name, **options):
        servers.append(StockServer(name, **options))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()
