"""Remote devices and buffers through a real server on the reference device."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ggmlrpc_core.client import RemoteServer, get_tensor, rpc_init, set_tensor
from ggmlrpc_core.errors import (
    BufferNotFound,
    ConnectionLost,
    DeviceError,
    LocalProtocolError,
    OutOfBounds,
    OutOfDeviceMemory,
)
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.server import HashCache, Server
from ggmlrpc_core.testing import ChaosDevice, NullDevice, ReferenceDevice, run_remote_case
from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names

TIMEOUT = 20


@pytest.fixture(scope="module")
def endpoint():
    devices = [lambda: ReferenceDevice(), lambda: NullDevice(total=1 << 20)]
    with Server(devices, endpoint="127.0.0.1:0") as server:
        yield str(server.endpoint)


@pytest.fixture
def device(endpoint):
    with rpc_init(endpoint, timeout=TIMEOUT) as device:
        yield device


def mul_mat(device, ggml_type="F32", seed=0):
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    w, x = b.new_tensor(ggml_type, 64, 32, name="w"), b.new_tensor("F32", 64, 3, name="x")
    y = b.mul_mat(w, x)
    allocate([y], device)
    set_tensor(w, rng.standard_normal((32, 64)))
    set_tensor(x, rng.standard_normal((3, 64)))
    return b.graph(y), w, x, y


def last_of_each_label():
    """Every dialect; those that are not the last of their label only in slow runs."""
    names = [*dialect_names(), *fork_names(), "3.6.1/name128"]
    last = {dialect(name).label: name for name in names}
    return [
        pytest.param(name, marks=[] if name in last.values() else pytest.mark.slow)
        for name in names
    ]


@pytest.mark.parametrize("name", last_of_each_label())
def test_every_dialect_computes(name):
    with (
        Server([lambda: ReferenceDevice()], endpoint="127.0.0.1:0", dialect=name) as server,
        rpc_init(str(server.endpoint), timeout=TIMEOUT, dialect=name) as device,
    ):
        assert device.connection.dialect.name == name
        graph, w, x, y = mul_mat(device, "Q8_0")
        device.compute(graph)
        want = get_tensor(x)[0, 0] @ get_tensor(w)[0, 0].T
        np.testing.assert_allclose(get_tensor(y)[0, 0], want, rtol=1e-5, atol=1e-5)
        device.compute(graph)
        y.buffer.clear(1)
        y.buffer.free()
        assert device.memory()[0] == device.memory()[1]


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("7.0.0", ["GRAPH_COMPUTE", "GRAPH_RECOMPUTE"]),
        ("ik-3.5.2/16src", ["GRAPH_COMPUTE", "GRAPH_RECOMPUTE"]),
        ("ik-3.5.1", ["GRAPH_COMPUTE", "GRAPH_COMPUTE"]),
        ("3.0.0", ["GRAPH_COMPUTE", "GRAPH_COMPUTE"]),
    ],
)
def test_the_same_graph_again(stock, name, commands):
    """ik-3.5.1 has the command, and no handler for it."""
    server = stock(name)
    with rpc_init(str(server.endpoint), timeout=TIMEOUT, dialect=name) as device:
        graph, _, _, y = mul_mat(device)
        device.compute(graph)
        first = get_tensor(y)
        device.compute(graph)
        assert get_tensor(y).tolist() == first.tolist()
    assert [c for c in server.commands if c.startswith("GRAPH")] == commands


def test_what_a_device_says(endpoint):
    with RemoteServer.connect(endpoint, TIMEOUT) as server:
        first, second = server.devices
        assert (first.memory(), second.memory()) == ((1 << 30, 1 << 30), (1 << 20, 1 << 20))
        assert (first.alignment, second.max_size) == (32, 1 << 20)
        assert second.name == f"RPC1[{endpoint}]"
        with pytest.raises(DeviceError, match="index is 2, expected below 2"):
            server.device(2)
        with pytest.raises(OutOfDeviceMemory, match=r"size is 2097152 bytes.*RPC1"):
            second.alloc(1 << 21)
        second.alloc(1 << 10)
        assert second.memory() == ((1 << 20) - (1 << 10), 1 << 20)


def test_bytes(device):
    with device.alloc(1000) as a, device.alloc(100) as b:
        assert a.get() == bytes(a.size)
        a.clear(7)
        a.set(b"hello", 13)
        a.memset(1, 990, 10)
        assert a.get(7, 12) == b"\7hello\7" and a.get(12, 988) == b"\7\7" + b"\1" * 10
        assert b.copy_from(a, 13, 1, 5) and b.get(7) == b"\0hello\0"
        assert a.copy_from(a, 13, 15, 5) and a.get(8, 13) == b"hehello\7"
        assert a.get(0, 1000) == b""
        a.set(b"", 1000)
        for wrong in (
            lambda: a.get(2, a.size - 1),
            lambda: a.set(b"x", -1),
            lambda: a.memset(1, 0, 1 << 20),
        ):
            with pytest.raises(OutOfBounds):
                wrong()
    with pytest.raises(BufferNotFound):
        a.get(1)
    a.free()


def test_five_mebibytes_come_back(device):
    data = np.random.default_rng(0).integers(0, 256, 5 << 20, np.uint8)
    with device.alloc(data.size) as buffer:
        buffer.set(data)
        assert buffer.get(data.size) == data.tobytes()


def test_a_known_graph_is_not_sent_again(device):
    graph, _, x, y = mul_mat(device)
    device.compute(graph)
    first = get_tensor(y)
    set_tensor(x, 2 * get_tensor(x))
    sent = []
    call = device.connection.call
    device.connection.call = lambda command, **f: sent.append(command) or call(command, **f)
    device.compute(graph)
    assert sent == ["GRAPH_RECOMPUTE"]
    np.testing.assert_array_equal(get_tensor(y), 2 * first)
    device.alloc(8).free()
    with pytest.raises(LocalProtocolError, match="GRAPH_RECOMPUTE"):
        device.recompute()
    sent.clear()
    device.compute(graph)
    assert sent == ["GRAPH_COMPUTE"]
    device.recompute()
    np.testing.assert_array_equal(get_tensor(y), 2 * first)


@pytest.mark.parametrize(
    "name",
    ["GRAPH/feed forward", "GRAPH/cache written and read", "MUL_MAT_ID/Q4_K used=2 rows=2 tok=7"],
)
def test_cases_give_the_bits_of_the_local_device(device, name):
    assert run_remote_case(all_cases()[name], device) == 0.0


def test_a_refused_graph_closes_and_the_command_is_named(endpoint):
    with rpc_init(endpoint, timeout=TIMEOUT) as device:
        graph, *_, y = mul_mat(device)
        y.nb = (4, 8, 16, 16)
        device.compute(graph)
        with pytest.raises(ConnectionLost, match=r"not answered: .*GRAPH_COMPUTE"):
            device.synchronize()
    with rpc_init(endpoint, timeout=TIMEOUT) as device:
        # What the lost connection had is given back by its own thread, soon after.
        assert any(device.memory()[0] == 1 << 30 for _ in range(10_000))


def test_hash_uploads(tmp_path):
    data = np.arange(1000, dtype=np.float32)
    cache = HashCache(tmp_path)
    with Server([lambda: ReferenceDevice()], endpoint="127.0.0.1:0", cache=cache) as server:
        for hit in (False, True):
            with rpc_init(str(server.endpoint), timeout=TIMEOUT) as device:
                w = GraphBuilder().new_tensor("F32", 1000)
                buffer = allocate([w], device)
                assert buffer.set_tensor(w, data, cache=True, threshold=100) is hit
                np.testing.assert_array_equal(get_tensor(w)[0, 0, 0], data)
            cache.flush()


def test_tensors_of_elsewhere_are_refused(device):
    b = GraphBuilder()
    loose, bound = b.new_tensor("F32", 4), b.new_tensor("F32", 4)
    buffer = allocate([bound], device)
    with pytest.raises(LocalProtocolError, match="remote buffer"):
        get_tensor(loose)
    with pytest.raises(LocalProtocolError, match="buffer"):
        buffer.set_tensor(loose, np.zeros(4, np.float32))
    assert not buffer.copy_tensor(loose, bound)


def test_copy_tensor(device):
    b = GraphBuilder()
    one, two = b.new_tensor("F32", 4), b.new_tensor("F32", 4)
    buffer = allocate([one, two], device)
    set_tensor(one, np.arange(4, dtype=np.float32))
    assert buffer.copy_tensor(one, two)
    assert get_tensor(two)[0, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_server_that_declines_copies():
    def declining():
        chaos = ChaosDevice(ReferenceDevice(), piece=5, host_memory=False)
        chaos.decline_copies = True
        return chaos

    with (
        Server([declining], endpoint="127.0.0.1:0") as server,
        rpc_init(str(server.endpoint), timeout=TIMEOUT) as device,
        device.alloc(64) as buffer,
    ):
        buffer.set(b"abcdefghijkl")
        answered = buffer.copy_from(buffer, 0, 20, 12)
        assert buffer.get(12, 20) == (b"abcdefghijkl" if answered else bytes(12))


def test_threads_share_a_connection(device):
    buffers = [device.alloc(4096) for _ in range(4)]
    wrong = []

    def work(i: int) -> None:
        for n in range(20):
            data = bytes([i * 20 + n]) * 4096
            buffers[i].set(data)
            if buffers[i].get(4096) != data:
                wrong.append((i, n))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_unix_socket(tmp_path):
    with (
        Server([lambda: NullDevice()], endpoint=f"unix:{tmp_path}/s") as server,
        rpc_init(f"unix:{tmp_path}/s", timeout=TIMEOUT) as device,
    ):
        assert device.memory()[1] == 1 << 30
        assert str(server.endpoint) == f"unix:{tmp_path}/s"


def test_sizes_are_asked_once_and_only_where_they_may_differ(device):
    sent = []
    call = device.connection.call
    device.connection.call = lambda command, **f: sent.append(command) or call(command, **f)
    b = GraphBuilder()
    plain, odd = b.new_tensor("F32", 33), b.new_tensor("Q8_0", 544, 2)
    assert (device.alloc_size(plain), device.alloc_size(odd)) == (132, odd.nbytes)
    product = b.mul_mat(odd, b.new_tensor("F32", 544))
    assert [device.alloc_size(product, list(product.src)) for _ in range(3)] == [8, 8, 8]
    assert sent == ["GET_ALLOC_SIZE"] * 2


def test_quantized_rows_that_may_be_padded_are_announced(device):
    sent = []
    call = device.connection.call
    b = GraphBuilder()
    odd, even = b.new_tensor("Q8_0", 544), b.new_tensor("Q8_0", 512)
    allocate([odd, even], device)
    device.connection.call = lambda command, **f: sent.append(command) or call(command, **f)
    set_tensor(odd, np.ones(544))
    set_tensor(even, np.ones(512))
    assert sent == ["INIT_TENSOR", "SET_TENSOR", "SET_TENSOR"]
    assert (get_tensor(odd) == get_tensor(odd)[0, 0, 0, 0]).all()


def test_two_threads_with_two_graphs_on_one_device(device):
    made = [mul_mat(device, seed=seed) for seed in range(2)]
    want = []
    for graph, _, _, y in made:
        device.compute(graph)
        want.append(get_tensor(y))
    wrong = []

    def work(i: int) -> None:
        graph, _, _, y = made[i]
        for _ in range(20):
            y.buffer.memset(0, y.offset, y.nbytes)
            device.compute(graph)
            if not np.array_equal(get_tensor(y), want[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
