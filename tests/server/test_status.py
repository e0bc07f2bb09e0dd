"""A look inside a server: what clients did is in it, and nothing waits for a device."""

from ggmlrpc_core.server.status import status_of
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.null import NullDevice


def test_what_a_client_did(start, peer, add_graph):
    server = start()
    one = peer(server)
    graph = add_graph(*one.alloc(256))
    one.tell("GRAPH_COMPUTE", device=0, **graph)
    one.get(graph["tensors"][2], 0, 64)
    status = status_of(server)
    (client,) = status.clients
    assert client.commands == {
        "HELLO": 1, "ALLOC_BUFFER": 1, "BUFFER_GET_BASE": 1, "GRAPH_COMPUTE": 1, "GET_TENSOR": 1,
    }  # fmt: skip
    assert (client.memory, client.graphs, client.dialect) == (256, 1, "7.0.0")
    assert client.received == status.received > 3 * 296
    assert client.sent == status.sent > 64
    (device,) = status.devices
    assert (device.name, sum(device.graphs), device.queue) == ("device 0", 1, 0)
    assert device.busy_seconds >= device.graph_seconds > 0
    assert (status.memory, status.memory_limit, status.connections) == (256, None, 1)
    assert status.endpoints == {str(server.endpoint): "7.0.0"}


def test_a_client_that_breaks_a_rule_is_counted(start, peer):
    server = start()
    one = peer(server)
    one.send(b"\xff" * 16)
    assert one.is_closed()
    server.close()
    assert (server.counters.faults, server.counters.connections) == (1, 1)


def test_a_device_that_computes_delays_nothing(start, peer, add_graph):
    device = ChaosDevice(NullDevice("NULL0"))
    server = start(device)
    one = peer(server)
    device.go.clear()
    one.tell("GRAPH_COMPUTE", device=0, **add_graph(*one.alloc(256)))
    assert device.running.wait(20)
    one.tell("GRAPH_RECOMPUTE", device=0)
    assert status_of(server).devices[0].graph_seconds == 0
    assert server.problem() == ""
    device.go.set()


def test_a_closed_server_says_so(start):
    server = start()
    server.close()
    assert server.problem() == "the server is closing"
