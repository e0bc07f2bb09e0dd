"""A server as a whole: several clients, devices that do not open, an orderly end."""

import re
import socket
import threading
from ipaddress import ip_network

import pytest

from ggmlrpc_core.errors import LocalProtocolError, OutOfDeviceMemory
from ggmlrpc_core.server.limits import ServerLimits
from ggmlrpc_core.server.server import DeviceSpec, Server
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.null import NullDevice


def test_lines_of_a_connection(start, peer, log):
    server = start()
    one = peer(server)
    address = f"127.0.0.1:{one.sock.getsockname()[1]}"
    one.ask("DEVICE_COUNT")
    one.close()
    server.close()
    assert log.all == [
        f"Accepted client connection [c1 {address}]",
        f"Client connection closed [c1 {address}]",
    ]


def test_clients_do_not_wait_for_each_other(start, peer, add_graph):
    device = ChaosDevice(NullDevice("NULL0"))
    server = start(device)
    busy, idle = peer(server), peer(server)
    device.go.clear()
    busy.tell("GRAPH_COMPUTE", device=0, **add_graph(*busy.alloc(256)))
    assert device.running.wait(20)
    assert idle.ask("DEVICE_COUNT") == {"device_count": 1}
    assert peer(server).ask("GET_ALIGNMENT", device=0) == {"alignment": 32}
    device.go.set()


def test_many_clients_at_once(start, peer, tensor):
    server = start(NullDevice("NULL0"))
    faults = []

    def work(seed):
        try:
            one = peer(server)
            for round_ in range(5):
                handle, base = one.alloc(1000 + seed)
                data = bytes([seed, round_]) * 500
                one.tell("SET_TENSOR", data, tensor=tensor(handle, base, 250), offset=0)
                assert one.get(tensor(handle, base, 250), 0, 1000) == data
                one.tell("FREE_BUFFER", remote_ptr=handle)
        except BaseException as exc:
            faults.append(exc)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert faults == []


def test_a_device_that_does_not_open_leaves_nothing_behind():
    first = NullDevice("A")

    def broken():
        raise OutOfDeviceMemory("open", "memory", 0, "some")

    with pytest.raises(OutOfDeviceMemory):
        Server([lambda: first, broken], endpoint="127.0.0.1:0")
    assert first.closed


def test_an_endpoint_that_is_taken_closes_the_devices(start):
    taken, device = start().endpoint, NullDevice("A")
    with pytest.raises(OSError):
        Server([lambda: device], endpoint=taken)
    assert device.closed


def test_no_device_is_refused():
    with pytest.raises(LocalProtocolError) as info:
        Server([])
    assert str(info.value) == "server: number of devices is 0, expected at least 1"


def test_close_frees_and_closes_and_may_come_twice(peer, log):
    device = NullDevice("NULL0", total=1000)
    with Server([lambda: device], endpoint="127.0.0.1:0") as server:
        one = peer(server)
        one.alloc(400)
    assert one.is_closed()
    assert device.closed and device.memory() == (1000, 1000)
    assert server.wait(0)
    server.close()
    assert log == []


def test_a_server_that_was_never_started_closes():
    Server([lambda: NullDevice("NULL0")], endpoint="127.0.0.1:0").close()


def test_summaries_share_and_bound_the_memory(start):
    specs = [DeviceSpec("N", lambda: NullDevice("N", total=1000), 2) for _ in range(2)]
    with Server(specs, endpoint="127.0.0.1:0", limits=ServerLimits(memory_total=450)) as server:
        assert [str(s) for s in server.summaries()] == [
            "N: computes nothing (0 MiB, 0 MiB free)"
        ] * 2
        assert [(s.free, s.total) for s in server.summaries()] == [(450, 450)] * 2
    with Server(specs, endpoint="127.0.0.1:0") as server:
        assert [(s.free, s.total) for s in server.summaries()] == [(500, 500)] * 2


def test_a_device_whose_memory_cannot_be_told(start, log):
    device = ChaosDevice(NullDevice("N"))
    device.fail_memory = RuntimeError("driver says no")
    (summary,) = start(device).summaries()
    assert (summary.free, summary.total) == (0, 0)
    assert log == ["memory: driver says no"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_over_a_unix_socket(start, client, tmp_path):
    server = start(endpoint=f"unix:{tmp_path / 's'}")
    assert client(server).call("DEVICE_COUNT") == {"device_count": 1}
    server.close()
    assert not (tmp_path / "s").exists()


def test_a_client_for_whom_there_is_no_thread_costs_nothing(start, peer, log, monkeypatch):
    server = start()
    begin = threading.Thread.start

    def refuse(thread):
        if "ggmlrpc c" in thread.name:
            raise RuntimeError("can't start new thread")
        begin(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with socket.create_connection((server.endpoint.host, server.endpoint.port)) as sock:
            sock.settimeout(20)
            assert sock.recv(1) == b""
    assert server.n_clients == 0
    server.close()  # after this the acceptor has said its line
    assert len([line for line in log if line.endswith("closed: can't start new thread")]) == 1


def test_an_address_that_is_not_allowed_is_closed_before_hello(start, log):
    server = start(limits=ServerLimits(allow=(ip_network("10.0.0.0/8"),)))
    with socket.create_connection((server.endpoint.host, server.endpoint.port), timeout=20) as sock:
        assert sock.recv(1) == b""
    (line,) = log
    assert re.fullmatch(r"\[127\.0\.0\.1:\d+\] closed: its address is not in --allow", line)
    assert server.counters.refused == 1


def test_a_drain_lets_graphs_end_and_answers_go(start, peer, add_graph):
    device = ChaosDevice(NullDevice("NULL0"))
    server = start(device)
    one, idle = peer(server), peer(server)
    graph = add_graph(*one.alloc(256))
    device.go.clear()
    get = one.message("GET_TENSOR", tensor=graph["tensors"][2], offset=0, size=64)
    one.send(one.message("GRAPH_COMPUTE", device=0, **graph) + get)
    assert device.running.wait(20)
    closer = threading.Thread(target=server.close, kwargs={"drain": 20.0})
    closer.start()
    assert idle.is_closed()
    device.go.set()
    assert len(one.reply(64)) == 64
    assert one.is_closed()
    closer.join(20)
    assert not closer.is_alive()


def test_a_drain_ends_when_its_time_is_up(start, peer, add_graph, log):
    device = ChaosDevice(NullDevice("NULL0"))
    server = start(device)
    one = peer(server)
    device.go.clear()
    one.tell("GRAPH_COMPUTE", device=0, **add_graph(*one.alloc(256)))
    assert device.running.wait(20)
    server.close(drain=0.05)
    assert one.is_closed()
    assert log == []


def test_a_drain_that_is_over_ends_a_client_that_waits_for_its_graph(start, peer, add_graph, log):
    device = ChaosDevice(NullDevice("NULL0"))
    server = start(device)
    one = peer(server)
    graph = add_graph(*one.alloc(256))
    device.go.clear()
    get = one.message("GET_TENSOR", tensor=graph["tensors"][2], offset=0, size=64)
    one.send(one.message("GRAPH_COMPUTE", device=0, **graph) + get)
    assert device.running.wait(20)
    closer = threading.Thread(target=server.close, kwargs={"drain": 0.05}, daemon=True)
    closer.start()
    closer.join(10)
    ended = not closer.is_alive()
    device.go.set()
    closer.join(20)
    assert ended
    assert log == []
