"""What a server counts of its clients and devices."""

from ggmlrpc_core.server.counters import GRAPH_SECONDS, ClientCounters, Counters, GraphTimes


def test_times_fall_into_classes_by_their_upper_bound():
    times = GraphTimes()
    for seconds in (0.0005, 0.001, 0.002, 99.0):
        times.add(seconds)
    assert times.counts == [2, 1, *[0] * (len(GRAPH_SECONDS) - 2), 1]
    assert times.seconds == 99.0035


def test_clients_that_are_gone_stay_in_the_sum():
    counters = Counters()
    one, two = ClientCounters("c1"), ClientCounters("c2")
    for client in (one, two):
        counters.enter(client)
        client.request("SET_TENSOR", 400, 100)
    one.sent, one.graphs = 7, 2
    counters.leave(one, fault=True)
    counters.leave(two, fault=False)
    counters.refuse()
    total = counters.total()
    assert dict(total.commands) == {"SET_TENSOR": 2}
    assert (total.received, total.uploaded, total.sent, total.graphs) == (800, 200, 7, 2)
    assert (counters.connections, counters.faults, counters.refused) == (2, 1, 1)


def test_a_device_has_one_account():
    counters = Counters()
    counters.graph_times("CPU").add(1.0)
    assert sum(counters.graph_times("CPU").counts) == 1
    assert sum(counters.graph_times("GPU").counts) == 0
