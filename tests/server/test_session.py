"""What every command does, over a real connection. What must be refused is in test_hostile.py."""

import struct
import threading
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from ggmlrpc_core.errors import OutOfBounds, UnsupportedOp
from ggmlrpc_core.server.limits import ServerLimits
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.wire import dialects


@pytest.fixture(params=["host memory", "memory behind a worker, short pieces"])
def make(request):
    """Makes devices of both kinds; the second checks the thread of every call."""
    made = []

    def device(name="R0"):
        inner = ReferenceDevice(name)
        if request.param == "host memory":
            return inner
        made.append(ChaosDevice(inner, piece=37, host_memory=False))
        return made[-1]

    yield device
    for one in made:
        assert one.violations == []


def pattern(size, seed=1):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8).tobytes()


def test_hello_announces_the_version_and_no_transport(start, peer):
    one = peer(start(), hello=False)
    answer = one.ask("HELLO", conn_caps=b"\1" * 24)
    assert answer == {"major": 7, "minor": 0, "patch": 0, "pad": 0, "conn_caps": bytes(24)}


def test_device_facts(start, peer):
    one = peer(start(NullDevice("A", total=1000, alignment=64), NullDevice("B", total=4096)))
    assert one.ask("DEVICE_COUNT") == {"device_count": 2}
    assert one.ask("GET_ALIGNMENT", device=0) == {"alignment": 64}
    assert one.ask("GET_MAX_SIZE", device=1) == {"max_size": 4096}
    assert one.ask("GET_DEVICE_MEMORY", device=1) == {"free_mem": 4096, "total_mem": 4096}
    one.alloc(96, device=1)
    assert one.ask("GET_DEVICE_MEMORY", device=1) == {"free_mem": 4000, "total_mem": 4096}


def test_buffers_get_random_handles_and_addresses_apart(start, peer):
    one = peer(start())
    made = [one.alloc(100) for _ in range(8)]
    assert len({handle for handle, _ in made}) == 8
    assert max(handle for handle, _ in made) > 1 << 48
    bases = sorted(base for _, base in made)
    assert all(later - earlier > 100 for earlier, later in pairwise(bases))
    assert all(base % 4096 == 0 and base < 1 << 47 for base in bases)


def test_a_buffer_of_size_0_is_real_and_has_base_0(start, peer):
    one = peer(start())
    answer = one.ask("ALLOC_BUFFER", device=0, size=0)
    assert answer["remote_ptr"] and answer["remote_size"] == 0
    assert one.ask("BUFFER_GET_BASE", remote_ptr=answer["remote_ptr"]) == {"base_ptr": 0}
    one.tell("BUFFER_CLEAR", remote_ptr=answer["remote_ptr"], value=1)
    one.tell("FREE_BUFFER", remote_ptr=answer["remote_ptr"])
    assert one.ask("DEVICE_COUNT") == {"device_count": 1}


@pytest.mark.parametrize("size", [(1 << 20) + 1, 1 << 60, (1 << 64) - 1])
def test_what_does_not_fit_is_answered_with_zeros(start, peer, size):
    one = peer(start())
    answer = one.ask("ALLOC_BUFFER", device=0, size=size)
    assert answer == {"remote_ptr": 0, "remote_size": 0}
    one.alloc(1 << 20)


def test_limits_are_kept_and_told(start, peer):
    limits = ServerLimits(memory_total=1000, memory_per_client=600, buffers_per_client=3)
    server = start(limits=limits)
    one, two = peer(server), peer(server)
    zeros = {"remote_ptr": 0, "remote_size": 0}
    assert one.ask("GET_DEVICE_MEMORY", device=0) == {"free_mem": 600, "total_mem": 600}
    handle, _ = one.alloc(500)
    assert one.ask("ALLOC_BUFFER", device=0, size=101) == zeros
    assert one.ask("GET_DEVICE_MEMORY", device=0) == {"free_mem": 100, "total_mem": 600}
    assert two.ask("GET_DEVICE_MEMORY", device=0) == {"free_mem": 500, "total_mem": 600}
    assert two.ask("ALLOC_BUFFER", device=0, size=501) == zeros
    one.tell("FREE_BUFFER", remote_ptr=handle)
    assert one.ask("GET_DEVICE_MEMORY", device=0) == {"free_mem": 600, "total_mem": 600}
    two.alloc(501)
    for _ in range(3):
        one.alloc(1)
    assert one.ask("ALLOC_BUFFER", device=0, size=1) == zeros


def test_what_a_client_leaves_behind_is_freed(start, peer):
    device = NullDevice("NULL0", total=1000)
    server = start(device)
    one = peer(server)
    for size in (100, 0, 300):
        one.ask("ALLOC_BUFFER", device=0, size=size)
    assert server.memory_used == 400
    one.close()
    two = peer(server)
    while server.n_clients > 1:
        two.ask("DEVICE_COUNT")
    assert two.ask("GET_DEVICE_MEMORY", device=0) == {"free_mem": 1000, "total_mem": 1000}


def test_set_and_get_at_odd_offsets(start, peer, tensor, make):
    one = peer(start(make))
    handle, base = one.alloc(1000)
    record = tensor(handle, base + 100, 200)  # 800 bytes
    data = pattern(333)
    one.tell("SET_TENSOR", data, tensor=record, offset=17)
    assert one.get(record, 17, 333) == data
    assert one.get(record, 0, 800) == bytes(17) + data + bytes(450)
    assert one.get(record, 100, 0) == b""
    one.tell("SET_TENSOR", b"", tensor=record, offset=100)
    assert one.get(tensor(handle, base, 250), 0, 1000) == bytes(117) + data + bytes(550)


def test_a_large_upload_arrives_whole(start, peer, tensor):
    one = peer(start(NullDevice("NULL0", total=1 << 24)))
    handle, base = one.alloc(3_000_000)
    record = tensor(handle, base, 750_000)
    data = pattern(3_000_000)
    one.tell("SET_TENSOR", data, tensor=record, offset=0)
    assert one.get(record, 0, 3_000_000) == data


def test_clear_and_memset(start, peer, tensor, make):
    one = peer(start(make))
    handle, base = one.alloc(100)
    record = tensor(handle, base, 25)
    one.tell("BUFFER_CLEAR", remote_ptr=handle, value=7)
    one.tell("MEMSET_TENSOR", tensor=record, offset=10, size=5, value=9)
    one.tell("MEMSET_TENSOR", tensor=record, offset=100, size=0, value=1)
    assert one.get(record, 0, 100) == b"\7" * 10 + b"\11" * 5 + b"\7" * 85


def test_copy_inside_a_buffer_with_overlap(start, peer, tensor, make):
    one = peer(start(make))
    handle, base = one.alloc(400)
    data = pattern(400)
    one.tell("SET_TENSOR", data, tensor=tensor(handle, base, 100), offset=0)
    src, dst = tensor(handle, base, 50), tensor(handle, base + 100, 1)
    assert one.ask("COPY_TENSOR", src=src, dst=dst) == {"result": 1}
    expected = data[:100] + data[:200] + data[300:]
    assert one.get(tensor(handle, base, 100), 0, 400) == expected


def test_copy_when_the_device_declines(start, peer, tensor):
    device = ChaosDevice(NullDevice("NULL0"), piece=16)
    device.decline_copies = True
    one = peer(start(device))
    handle, base = one.alloc(200)
    data = pattern(200)
    one.tell("SET_TENSOR", data, tensor=tensor(handle, base, 50), offset=0)
    src, dst = tensor(handle, base, 25), tensor(handle, base + 48, 25)
    assert one.ask("COPY_TENSOR", src=src, dst=dst) == {"result": 1}
    assert one.get(tensor(handle, base, 50), 0, 200) == data[:48] + data[:100] + data[148:]


def test_copy_between_devices(start, peer, tensor, make):
    one = peer(start(make, lambda: NullDevice("NULL1")))
    first, second = one.alloc(100, device=0), one.alloc(100, device=1)
    data = pattern(100)
    one.tell("SET_TENSOR", data, tensor=tensor(*first, 25), offset=0)
    there, back = tensor(*second, 25), tensor(*first, 25)
    assert one.ask("COPY_TENSOR", src=tensor(*first, 25), dst=there) == {"result": 1}
    assert one.get(there, 0, 100) == data
    one.tell("BUFFER_CLEAR", remote_ptr=first[0], value=0)
    assert one.ask("COPY_TENSOR", src=there, dst=back) == {"result": 1}
    assert one.get(back, 0, 100) == data


def test_alloc_size_and_init(start, peer, tensor):
    one = peer(start())
    handle, base = one.alloc(1000)
    free = tensor(0, 0, 256, 3, type="Q4_0")
    srcs = [tensor(0, 0, 10, id=5), tensor(0, 0, 10, id=6)]
    dead_type = {4 + 2 * 296 + 8: b"\4"}  # of the second source, which then counts as absent
    answer = one.ask("GET_ALLOC_SIZE", patch=dead_type, device=0, tensor=free, srcs=srcs)
    assert answer == {"alloc_size": 432}
    one.tell("INIT_TENSOR", tensor=free)
    one.tell("INIT_TENSOR", tensor=tensor(handle, base, 10))
    assert one.ask("DEVICE_COUNT") == {"device_count": 1}


def test_a_graph_runs_and_runs_again(start, peer, tensor, add_graph, make):
    one = peer(start(make))
    handle, base = one.alloc(256)
    graph = add_graph(handle, base)
    a, b, c = graph["tensors"]
    x, y = (np.arange(16, dtype=np.float32) * k for k in (1, 10))
    one.tell("SET_TENSOR", x.tobytes(), tensor=a, offset=0)
    one.tell("SET_TENSOR", y.tobytes(), tensor=b, offset=0)
    one.tell("GRAPH_COMPUTE", device=0, **graph)
    assert np.array_equal(np.frombuffer(one.get(c, 0, 64), np.float32), x + y)
    one.tell("SET_TENSOR", y.tobytes(), tensor=a, offset=0)
    one.tell("GRAPH_RECOMPUTE", device=0)
    assert np.array_equal(np.frombuffer(one.get(c, 0, 64), np.float32), y + y)


def test_an_empty_graph_is_stored(start, peer):
    one = peer(start())
    one.tell("GRAPH_COMPUTE", device=0, nodes=[], tensors=[])
    one.tell("GRAPH_RECOMPUTE", device=0)
    assert one.ask("DEVICE_COUNT") == {"device_count": 1}


def test_trailing_bytes_of_a_graph_are_ignored(start, peer, add_graph):
    one = peer(start())
    one.tell("GRAPH_COMPUTE", b"more", device=0, **add_graph(*one.alloc(256)))
    assert one.ask("DEVICE_COUNT") == {"device_count": 1}


def test_an_equal_graph_is_prepared_once(start, peer, add_graph):
    prepared = []

    class Counts(NullDevice):
        def prepare(self, graph):
            prepared.append(graph.key)
            return super().prepare(graph)

    device = Counts("NULL0")
    one = peer(start(device))
    first, second = add_graph(*one.alloc(256)), add_graph(*one.alloc(256))
    for graph in (first, second, first, second):
        one.tell("GRAPH_COMPUTE", device=0, **graph)
    renamed = [t._replace(name=b"x", id=t.id + 100) for t in first["tensors"]]
    renamed[2] = renamed[2]._replace(src=(111, 112, *[0] * 8))
    one.tell("GRAPH_COMPUTE", device=0, nodes=[113], tensors=renamed)
    one.ask("DEVICE_COUNT")
    one.ask("GET_DEVICE_MEMORY", device=0)  # behind the graphs
    assert len(prepared) == 2
    assert len(device.ran) == 5


def test_freeing_another_buffer_keeps_the_stored_graph(start, peer, tensor, add_graph):
    device = NullDevice("NULL0")
    one = peer(start(device))
    graph, (other, _) = add_graph(*one.alloc(256)), one.alloc(10)
    one.tell("GRAPH_COMPUTE", device=0, **graph)
    one.tell("FREE_BUFFER", remote_ptr=other)
    one.tell("GRAPH_RECOMPUTE", device=0)
    one.get(graph["tensors"][0], 0, 4)
    assert len(device.ran) == 2


def test_an_upload_waits_for_the_graph_before_it(start, peer, add_graph):
    device = ChaosDevice(ReferenceDevice("R0"))
    one = peer(start(device))
    graph = add_graph(*one.alloc(256))
    a, _, c = graph["tensors"]
    one.tell("SET_TENSOR", np.full(16, 1, np.float32).tobytes(), tensor=a, offset=0)
    device.go.clear()
    one.tell("GRAPH_COMPUTE", device=0, **graph)
    one.tell("SET_TENSOR", np.full(16, 5, np.float32).tobytes(), tensor=a, offset=0)
    one.tell("GET_TENSOR", tensor=c, offset=0, size=64)
    assert device.running.wait(20)
    device.go.set()
    assert np.array_equal(np.frombuffer(one.reply(64), np.float32), np.full(16, 1, np.float32))


class Held(ReferenceDevice):
    """Runs nothing before `go`; its buffers are plain host memory."""

    def __init__(self, name):
        super().__init__(name)
        self.running, self.go = threading.Event(), threading.Event()

    def prepare(self, graph):
        inner = super().prepare(graph)

        def run(should_stop):
            self.running.set()
            assert self.go.wait(20)
            inner.run(should_stop)

        return SimpleNamespace(run=run)


def test_a_graph_over_two_devices_waits_for_the_other_one(start, peer, tensor):
    held = Held("R0")
    one = peer(start(held, ReferenceDevice("R1")))
    first, second = one.alloc(256, device=0), one.alloc(256, device=1)
    two = struct.unpack("<i", struct.pack("<f", 2.0))[0]
    a = tensor(*first, 16, id=1)
    b = tensor(first[0], first[1] + 64, 16, id=2, op="SCALE", src=(1,), op_params=(two, *[0] * 15))
    seen = tensor(first[0], first[1] + 64, 16, id=2)
    c = tensor(*second, 16, id=3, op="ADD", src=(2, 2))
    one.tell("SET_TENSOR", np.ones(16, np.float32).tobytes(), tensor=a, offset=0)
    one.tell("GRAPH_COMPUTE", device=0, nodes=[2], tensors=[a, b])
    one.tell("GRAPH_COMPUTE", device=1, nodes=[3], tensors=[seen, c])
    one.tell("FREE_BUFFER", remote_ptr=first[0])
    one.tell("GET_TENSOR", tensor=c, offset=0, size=64)
    assert held.running.wait(20)
    held.go.set()
    assert np.array_equal(np.frombuffer(one.reply(64), np.float32), np.full(16, 4, "f4"))


def test_a_device_out_of_reach_is_not_read(start, peer, tensor, log):
    far = ChaosDevice(ReferenceDevice("R0"), host_memory=False)
    one = peer(start(lambda: far, ReferenceDevice("R1")))
    there, here = one.alloc(64, device=0), one.alloc(64, device=1)
    a = tensor(*there, 16, id=1, name="far")
    c = tensor(*here, 16, id=3, op="ADD", src=(1, 1))
    one.tell("GRAPH_COMPUTE", device=1, nodes=[], tensors=[a, c])  # only listed
    assert one.ask("DEVICE_COUNT") == {"device_count": 2}
    one.tell("GRAPH_COMPUTE", device=1, nodes=[3], tensors=[a, c])
    assert one.is_closed()
    (line,) = log
    assert line.endswith(
        "GRAPH_COMPUTE: device of 'far' is device 0, expected device 1, which computes or reads it"
    )


@pytest.mark.parametrize("state", dialects.wire_states(), ids=lambda state: state.name)
def test_every_dialect_gets_the_answers_it_waits_for(start, peer, tensor, add_graph, state):
    one = peer(
        start(ReferenceDevice("R0"), dialect=state.name), state, hello="HELLO" in state.by_name
    )

    def do(command, body=b"", **fields):
        if command not in state.by_name:
            return None
        one.tell(command, body, **fields)
        reply = state.by_name[command].reply
        return None if reply is None else one.reply(reply.size)

    handle, base = one.alloc(256)
    graph = add_graph(handle, base)
    a, b, c = graph["tensors"]
    do("BUFFER_CLEAR", remote_ptr=handle, value=1)
    do("INIT_TENSOR", tensor=a)
    do("MEMSET_TENSOR", tensor=c, offset=0, size=4, value=4)
    do("SET_TENSOR", np.full(16, 2, "<f4").tobytes(), tensor=a, offset=0)
    do("SET_TENSOR", np.full(16, 3, "<f4").tobytes(), tensor=b, offset=0)
    assert do("GRAPH_COMPUTE", device=0, **graph) in (None, b"\0")
    assert one.get(c, 0, 64) == np.full(16, 5, "<f4").tobytes()
    do("SET_TENSOR", np.full(16, 4, "<f4").tobytes(), tensor=b, offset=0)
    do("GRAPH_RECOMPUTE", device=0)
    expected = 6 if "GRAPH_RECOMPUTE" in state.by_name else 5
    assert one.get(c, 0, 64) == np.full(16, expected, "<f4").tobytes()
    do("FREE_BUFFER", remote_ptr=handle)
    assert one.alloc(100)


# --- faults of a run


def test_a_fault_of_a_run_closes_its_client_only(start, peer, add_graph, log):
    device = ChaosDevice(NullDevice("NULL0"))
    server = start(device)
    bad, good = peer(server), peer(server)
    device.fail_run = OutOfBounds("GET_ROWS", "row id", 99, "below 4", context="node 'rows'")
    bad.tell("GRAPH_COMPUTE", device=0, **add_graph(*bad.alloc(256)))
    assert bad.is_closed()
    good.tell("GRAPH_COMPUTE", device=0, **add_graph(*good.alloc(256)))
    assert good.ask("DEVICE_COUNT") == {"device_count": 1}
    (line,) = log
    assert line.endswith("closed: GET_ROWS: row id is 99, expected below 4 [node 'rows']")
    assert line.startswith("[c1 127.0.0.1:")


def test_an_op_that_nobody_runs_closes_before_anything_ran(start, peer, add_graph, log):
    class Refuses(NullDevice):
        def prepare(self, graph):
            raise UnsupportedOp("prepare", "op", "ADD", "an op that the device runs")

    one = peer(start(Refuses("NULL0")))
    one.tell("GRAPH_COMPUTE", device=0, **add_graph(*one.alloc(256)))
    assert one.is_closed()
    (line,) = log
    assert line.endswith("closed: prepare: op is ADD, expected an op that the device runs")


def test_a_lost_device_closes_all_its_clients_and_comes_back(start, peer, add_graph, log):
    from ggmlrpc_core.errors import DeviceLost

    devices = [ChaosDevice(NullDevice("NULL0")), ChaosDevice(NullDevice("NULL0"))]
    opened = iter(devices)
    server = start(lambda: next(opened))
    one, two = peer(server), peer(server)
    two.alloc(100)
    devices[0].fail_run = DeviceLost("NULL0", "state", "a sticky error", "alive")
    one.tell("GRAPH_COMPUTE", device=0, **add_graph(*one.alloc(256)))
    assert one.is_closed() and two.is_closed()
    three = peer(server)
    three.tell("GRAPH_COMPUTE", device=0, **add_graph(*three.alloc(256)))
    assert three.ask("GET_DEVICE_MEMORY", device=0)["total_mem"] == 1 << 30
    assert devices[1].n_runs == 1
    assert sum("a sticky error" in line for line in log) == 3  # the device, and each client


def test_a_client_that_leaves_stops_its_graph(start, peer, add_graph, log):
    device = ChaosDevice(NullDevice("NULL0"))
    server = start(device)
    one = peer(server)
    device.go.clear()
    one.tell("GRAPH_COMPUTE", device=0, **add_graph(*one.alloc(256)))
    assert device.running.wait(20)
    one.close()
    device.inner.closed = False
    two = peer(server)
    # answered only when the device is free again: the graph has been stopped, not finished
    assert two.ask("GET_DEVICE_MEMORY", device=0)["total_mem"] == 1 << 30
    assert device.n_runs == 0
    assert log == []


def test_the_server_closes_while_a_graph_runs(start, peer, add_graph, log):
    device = ChaosDevice(NullDevice("NULL0"))
    server = start(device)
    one = peer(server)
    device.go.clear()
    one.tell("GRAPH_COMPUTE", device=0, **add_graph(*one.alloc(256)))
    assert device.running.wait(20)
    closer = threading.Thread(target=server.close)
    closer.start()
    closer.join(20)
    assert not closer.is_alive()
    assert one.is_closed()
    assert device.inner.closed
    assert log == []


def test_a_command_that_only_the_tables_know(start, peer, log, monkeypatch):
    from ggmlrpc_core.server import session

    methods = {k: v for k, v in session._COMMANDS.items() if k != "DEVICE_COUNT"}
    monkeypatch.setattr(session, "_COMMANDS", methods)
    one = peer(start())
    one.tell("DEVICE_COUNT")
    assert one.is_closed()
    (line,) = log
    assert line.endswith(
        "closed: request: command is DEVICE_COUNT, expected one that this server knows what to do with"
    )
