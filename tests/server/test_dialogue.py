"""Clients of every age at one listener: what they are told, what is made of what they send, what the log says."""

import struct
import threading

import numpy as np
import pytest
from model_graphs import llama

from ggmlrpc_core.client.serialise import graph_message
from ggmlrpc_core.server import dialogue, numbering, peer_log
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names, with_long_names

ANNOUNCED = (
    "7.0.0",
    "6.0.0",
    "5.1.0",
    "5.0.0",
    "4.0.3",
    "3.6.1",
    "3.5.0",
    "3.0.0",
    "2.0.0",
    "1.0.0",
    "none-C",
)


def said(log, what):
    """Sentences of the log about a client that hold a text, without its number and address."""
    return [line.partition("] ")[2] for line in log.all if what in line]


def add(one, add_graph, *, flagged=True):
    """Upload two vectors, add them on the server, read the sum."""
    handle, base = one.alloc(192)
    graph = add_graph(handle, base)
    a, b, c = graph["tensors"]
    if not flagged:
        graph["tensors"][2] = c = c._replace(flags=0)
    for t in (a, b):
        upload(one, t, np.arange(16, dtype=np.float32).tobytes())
    compute(one, **graph)
    return np.frombuffer(one.get(c, 0, 64), np.float32).tolist()


def upload(one, record, data, offset=0):
    one.tell("SET_TENSOR", data, tensor=record, offset=offset)
    if one.dialect.by_name["SET_TENSOR"].reply is not None:
        one.reply(0)


def compute(one, **graph):
    one.tell("GRAPH_COMPUTE", **graph)
    if one.dialect.by_name["GRAPH_COMPUTE"].reply is not None:
        assert one.reply(1) == b"\0"


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    """A client that waits for an answer shall not wait long for it."""
    monkeypatch.setattr(dialogue, "GRACE", 0.02)


SUM = [2.0 * i for i in range(16)]
EVERY = [*dialect_names(), *fork_names()]


# --- one announced dialect


@pytest.mark.parametrize("name", EVERY)
def test_a_client_of_each_dialect_at_its_own_listener(start, peer, log, add_graph, name):
    one = peer(
        start(ReferenceDevice("R0"), dialect=name), name, hello="HELLO" in dialect(name).by_name
    )
    assert add(one, add_graph, flagged=False) == SUM
    assert log == []
    assert said(log, "--dialect") == []


@pytest.mark.parametrize("name", ANNOUNCED)
def test_long_names_are_known_by_their_lengths(start, peer, log, add_graph, name):
    long = with_long_names(dialect(name))
    one = peer(start(ReferenceDevice("R0"), dialect=name), long, hello="HELLO" in long.by_name)
    assert add(one, add_graph) == SUM
    assert log == []


@pytest.mark.parametrize("layout", ["none-A", "none-B", "none-C", "none-D", "none-E"])
@pytest.mark.parametrize("announced", ["none-A", "none-C", "none-E"])
def test_layouts_without_hello_are_known_by_their_handles(
    start, peer, log, add_graph, layout, announced
):
    one = peer(start(ReferenceDevice("R0"), dialect=announced), layout, hello=False)
    assert add(one, add_graph) == SUM
    assert log == []


@pytest.mark.parametrize(
    ("client", "announced"),
    [
        ("3.6.1", "3.5.0"),
        ("3.6.0", "3.5.0"),
        ("3.5.0", "3.5.0"),
        ("3.6.0", "3.6.1"),
        ("5.1.0", "5.0.0"),
        ("4.0.2", "4.0.0"),
        ("4.0.0", "4.0.3"),
        ("ik-3.5.2/12src", "3.5.0"),
        ("3.5.0", "ik-3.5.2"),
    ],
)
def test_minor_versions_behind_one_listener(start, peer, log, tensor, add_graph, client, announced):
    one = peer(start(ReferenceDevice("R0"), dialect=announced), dialect(client))
    record = tensor(0, 0, 16)
    size = one.ask("GET_ALLOC_SIZE", device=0, tensor=record, srcs=[record])
    assert size == {"alloc_size": 64}
    assert add(one, add_graph, flagged=False) == SUM
    assert log == []


@pytest.mark.parametrize(("client", "waits"), [("3.0.0", True), ("3.5.0", False), ("3.6.1", False)])
def test_who_waits_for_the_answer_of_a_graph(
    start, peer, log, add_graph, monkeypatch, client, waits
):
    monkeypatch.setattr(dialogue, "GRACE", 0.02 if waits else 20.0)
    one = peer(start(ReferenceDevice("R0"), dialect="3.0.0"), dialect(client))
    assert add(one, add_graph) == SUM
    assert add(one, add_graph) == SUM
    told = said(log, "waits for no answer")
    assert told == ([] if waits else [
        f"waits for no answer to GRAPH_COMPUTE, as 3.0.0 does; serve it with --dialect {dialect('3.6.1').label}"
    ])  # fmt: skip


# --- numberings


def send_model(one, **style):
    """A model's graph with its tensors in one buffer; the server's device computes nothing."""
    handle, base = one.alloc(1 << 20)
    graph = llama(NullDevice("N"), **style)
    place = lambda tensor: (handle, base + tensor.offset)  # noqa: E731
    nodes, tensors = graph_message(graph, one.dialect, place)
    compute(one, nodes=nodes, tensors=tensors)
    one.ask("GET_ALIGNMENT", device=0)


@pytest.mark.parametrize(
    ("client", "announced", "harm"),
    [
        ("2.0.0@2025-07-03", "2.0.0", " ops renumbered, first ADD1"),
        ("2.0.0@2025-08-05", "2.0.0@2025-04-25", " ops renumbered, first "),
        ("3.0.0@2025-10-04", "3.0.0", " ops renumbered, first "),
        ("4.0.0", "4.0.3", " ops renumbered, first "),
        ("4.0.3", "4.0.0", " ops renumbered, first "),
        ("none-C@2024-06-15", "none-E", "GET_TENSOR is command 7 instead of 8: the server closes"),
    ],
)
def test_another_numbering_is_found_and_named(start, peer, log, client, announced, harm):
    d = dialect(client)
    one = peer(
        start(NullDevice("N", total=1 << 22), dialect=announced), d, hello="HELLO" in d.by_name
    )
    send_model(one, glu="GLU" in d.numbering.ops)
    (line,) = said(log, "make sense as")
    pinned = line.rpartition("--dialect ")[2].partition(",")[0]
    assert dialect(pinned).numbering.ops == d.numbering.ops
    assert line.startswith(f"its graphs make sense as {pinned}, not as {dialect(announced).name} (")
    assert harm in line
    assert d.name in line  # itself, or among those that read the graph alike
    send_model(one, glu="GLU" in d.numbering.ops)
    assert len(said(log, "make sense as")) == 1
    assert log == []


def test_a_graph_that_means_two_things_is_refused_and_the_names_are_listed(
    start, peer, log, tensor
):
    """SQR of a client of one numbering is SQRT of another: both can run."""
    d = dialect("2.0.0@2025-08-05")
    one = peer(start(ReferenceDevice("R0"), dialect="2.0.0"), d)
    handle, base = one.alloc(192)
    a = tensor(handle, base, 16, id=11)
    c = tensor(handle, base + 64, 16, id=12, op="SQR", src=(11,))
    one.tell("GRAPH_COMPUTE", nodes=[12], tensors=[a, c])
    assert one.is_closed()
    (line,) = log
    assert (
        "closed: GRAPH_COMPUTE: the meaning of its ops is another under each of 2 numberings"
        in line
    )
    assert (
        "expected one of them pinned: --dialect NAME, where NAME is one of 2.0.0@2025-10-02, 2.0.0@"
        in line
    )


@pytest.mark.parametrize("name", ["2.0.0@2025-08-05", "2.0.0@2025-07-03"])
def test_a_pinned_numbering_decides(start, peer, log, tensor, name):
    one = peer(start(ReferenceDevice("R0"), dialect=name), name)
    handle, base = one.alloc(192)
    a = tensor(handle, base, 16, id=11)
    c = tensor(handle, base + 64, 16, id=12, op="SQR", src=(11,))
    upload(one, a, np.full(16, 3.0, np.float32).tobytes())
    compute(one, nodes=[12], tensors=[a, c])
    assert np.frombuffer(one.get(c, 0, 64), np.float32).tolist() == [9.0] * 16
    assert log == []


def test_what_is_known_of_a_client_holds_for_its_later_graphs(start, peer, log, tensor):
    """After a model's graph the same SQR is no riddle any more."""
    d = dialect("2.0.0@2025-07-03")
    one = peer(start(NullDevice("N", total=1 << 22), dialect="2.0.0"), d)
    send_model(one, glu=True)
    handle, base = one.alloc(192)
    a = tensor(handle, base, 16, id=11)
    c = tensor(handle, base + 64, 16, id=12, op="SQR", src=(11,))
    compute(one, nodes=[12], tensors=[a, c])
    one.ask("GET_ALIGNMENT", device=0)
    assert log == []


def test_a_graph_that_reads_alike_is_not_judged_again(start, peer, log, monkeypatch):
    device = NullDevice("NULL0", total=1 << 22)
    one = peer(start(device, dialect="2.0.0"), "2.0.0@2025-08-05")
    send_model(one)
    judged = []
    real = numbering._judge
    monkeypatch.setattr(numbering, "_judge", lambda *more: judged.append(1) or real(*more))
    send_model(one, flash=True)
    assert judged == []
    assert log == []


def test_a_graph_that_makes_no_sense_anywhere(start, peer, log, tensor):
    one = peer(start(ReferenceDevice("R0"), dialect="3.6.1"), "3.6.1")
    handle, base = one.alloc(192)
    a = tensor(handle, base, 16, id=11)
    c = tensor(handle, base + 64, 8, id=12, op="ADD", src=(11, 11), name="c")
    one.tell("GRAPH_COMPUTE", nodes=[12], tensors=[a, c])
    assert one.is_closed()
    (line,) = log
    assert "closed: GRAPH_COMPUTE: " in line
    assert "ADD 'c', read as 3.6.1; none of 4 numberings fits (3.6.1, 3.6.0)]" in line


def test_nodes_of_the_fork_at_a_listener_of_upstream(start, peer, log):
    """Its own ops are told by name where only the fork has such lengths."""
    d = dialect("ik-3.5.2/16src")
    one = peer(start(ReferenceDevice("R0"), dialect="3.5.0"), d)
    tensors = np.zeros(1, "V344").view(codec.tensor_dtype(d))
    tensors["id"], tensors["ne"], tensors["op"] = 1, 1, d.numbering.ops["FUSED_RMS_NORM"]
    compute(one, nodes=[1], tensors=tensors)
    assert one.is_closed()
    (line,) = log
    assert "op is FUSED_RMS_NORM, expected an op that can be computed" in line
    assert "(ik-3.5.2/16src)]" in line


def test_a_large_graph_is_not_read_many_times(start, peer, log, add_graph, monkeypatch):
    monkeypatch.setattr(dialogue, "MOST_JUDGED", 2)
    pinned = peer(start(ReferenceDevice("R0"), dialect="2.0.0@2025-10-02"), "2.0.0")
    assert add(pinned, add_graph) == SUM
    one = peer(start(ReferenceDevice("R0"), dialect="2.0.0"), "2.0.0")
    handle, base = one.alloc(192)
    one.tell("GRAPH_COMPUTE", **add_graph(handle, base))
    assert one.is_closed()
    (line,) = log
    assert line.endswith(
        "number of tensors is 3, expected at most 2 while 21 numberings are possible; pin one: --dialect NAME"
    )


# --- buffers and addresses of old clients


@pytest.mark.parametrize("name", ["none-C", "2.0.0", "3.5.0", "3.6.1"])
def test_old_clients_list_tensors_of_other_devices(start, peer, log, tensor, add_graph, name):
    one = peer(start(ReferenceDevice("R0"), dialect=name), name, hello=name != "none-C")
    handle, base = one.alloc(192)
    graph = add_graph(handle, base)
    far = tensor(0x1234, 0xDEADBEEF, 999, id=77, name="far")
    view = tensor(0, 0xABCDEF, 16, id=78, name="unread", op="VIEW", src=(77,), view_src=77)
    graph["tensors"] += [far, view]
    graph["nodes"].append(78)
    compute(one, **graph)
    one.ask("GET_ALIGNMENT", device=0)
    assert log == []
    graph["tensors"][2] = graph["tensors"][2]._replace(src=(11, 77, *[0] * 8))
    graph["tensors"][3] = far._replace(ne=(16, 1, 1, 1), nb=(4, 64, 64, 64))
    one.tell("GRAPH_COMPUTE", **graph)
    assert one.is_closed()
    (line,) = log
    assert (
        "buffer is 0x1234, expected a buffer of this connection for a tensor that is computed or read"
        in line
    )


@pytest.mark.parametrize("name", ["4.0.0", "7.0.0"])
def test_newer_clients_send_no_address_of_others(start, peer, log, tensor, add_graph, name):
    one = peer(start(ReferenceDevice("R0"), dialect=name), name)
    handle, base = one.alloc(192)
    graph = add_graph(handle, base)
    graph["tensors"].append(tensor(0, 0, 999, id=77, name="far"))
    compute(one, **graph)
    one.ask("GET_ALIGNMENT", device=0)
    graph["tensors"][3] = tensor(0, 0xDEAD, 999, id=77, name="far")
    one.tell("GRAPH_COMPUTE", **graph)
    assert one.is_closed()
    (line,) = log
    assert "data of a tensor without buffer is 0xdead, expected 0 [tensor 'far'" in line


# --- the compute flag


@pytest.mark.parametrize(("flagged", "ran"), [((0, 0), 2), ((16, 16), 2), ((16, 0), 1)])
def test_the_compute_flag_counts_where_any_node_has_it(start, peer, tensor, flagged, ran):
    device = NullDevice("N")
    one = peer(start(device, dialect="3.6.0"), "3.6.0@2026-03-07")
    handle, base = one.alloc(256)
    a = tensor(handle, base, 16, id=11)
    nodes = [
        tensor(handle, base + 64 * i, 16, id=11 + i, op="ADD", src=(11, 11), flags=flag)
        for i, flag in enumerate(flagged, start=1)
    ]
    compute(one, nodes=[12, 13], tensors=[a, *nodes])
    one.ask("GET_ALIGNMENT", device=0)
    assert [len(graph.work) for graph in device.ran] == [ran]


# --- clients that do not belong here


@pytest.mark.parametrize(
    ("announced", "client", "sentence"),
    [
        (
            "7.0.0",
            "3.6.1",
            "HELLO: the client is of 1.0.0 to 3.6.1, which sends a HELLO of 0 bytes, expected a HELLO of 24 bytes, as "
            "with 7.0.0, which is announced here [no answer would be understood; serve it with --dialect auto, or "
            "--listen PORT=NAME, where NAME is one of 3.6.1, 3.5.0, 3.0.0, 2.0.0, 1.0.0]",
        ),
        (
            "3.6.1",
            "7.0.0",
            "HELLO: the client is of 4.0.0 to 7.0.0, which sends a HELLO of 24 bytes, expected a HELLO of 0 bytes, as "
            "with 3.6.1, which is announced here [no answer would be understood; serve it with --dialect auto, or "
            "--listen PORT=NAME, where NAME is one of 7.0.0, 6.0.0, 5.1.0, 5.0.0, 4.0.3]",
        ),
        (
            "none-E",
            "1.0.0",
            "HELLO: the client is of 1.0.0 to 3.6.1, which sends a HELLO of 0 bytes, expected no HELLO, as with "
            "none-E@2025-04-17, which is announced here [no answer would be understood; serve it with --dialect auto, "
            "or --listen PORT=NAME, where NAME is one of 3.6.1, 3.5.0, 3.0.0, 2.0.0, 1.0.0]",
        ),
    ],
)
def test_a_hello_of_another_length(start, peer, log, announced, client, sentence):
    one = peer(start(dialect=announced), client, hello=False)
    one.tell("HELLO", conn_caps=b"")
    assert one.is_closed()
    (line,) = log
    assert line.partition("] closed: ")[2] == sentence


def test_a_client_without_hello(start, peer, log):
    one = peer(start(dialect="2.0.0"), "none-C", hello=False)
    one.tell("GET_ALIGNMENT")
    assert one.is_closed()
    (line,) = log
    assert (
        "the client is of before 2025-04-18, which sends no HELLO, expected a HELLO of 0 bytes"
        in line
    )
    assert "one of none-E, none-D, none-C, none-B, none-A]" in line


def test_who_leaves_again_and_again_fills_no_log(start, peer, log, monkeypatch):
    monkeypatch.setattr(peer_log, "BURST", 4)
    monkeypatch.setattr(peer_log, "PER_SECOND", 0.0)
    server = start()
    for _ in range(5):
        peer(server).close()
    server.close()  # waits for the connections
    assert len(log.all) == 4


def test_who_leaves_right_after_hello_is_told_what_it_may_be(start, peer, log):
    server = start(dialect="5.1.0")
    peer(server, "5.1.0").close()
    server.close()
    assert said(log, "left right after") == [
        "left right after HELLO: it was told 5.1.0, and who speaks another version does not stay (between 6.0.0 and "
        "5.1.0: FREE_BUFFER is not answered any more: what comes after it is misread); if so, serve it with "
        "--dialect auto, or with one of 7.0.0, 6.0.0, 5.0.0, 4.0.3"
    ]
    assert log == []


# --- auto


class Stock:
    """The version rule of the stock client: it stays or leaves by what is announced."""

    def __init__(self, peer, server, name):
        self.dialect = dialect(name)
        self.tries = 0
        self._connect = lambda: peer(server, self.dialect, hello=False)

    def until_it_stays(self, log, most=8):
        for _ in range(most):
            self.tries += 1
            one = self._connect()
            one.tell("HELLO", conn_caps=b"")
            answer = one.reply(self.dialect.by_name["HELLO"].reply.size)
            ours = self.dialect.version
            if answer[0] == ours.major and answer[1] <= ours.minor:
                return one, f"{answer[0]}.{answer[1]}"
            one.sock.shutdown(2)
            one.close()
            log.wait_for_close(self.tries)
        raise AssertionError("it never stayed")


@pytest.fixture
def closes(log, monkeypatch):
    """Wait until the server has seen the end of n connections."""
    from ggmlrpc_core.server import connection

    ended = threading.Semaphore(0)
    abandon = connection.ServedClient.abandon

    def counted(self):
        abandon(self)
        ended.release()

    monkeypatch.setattr(connection.ServedClient, "abandon", counted)

    class Closes:
        def wait_for_close(self, number):
            assert ended.acquire(timeout=20)

    return Closes()


@pytest.mark.parametrize(
    ("name", "announced", "tries"),
    [
        ("7.0.0", "7.0", 1),
        ("6.0.0", "6.0", 2),
        ("5.1.0", "5.1", 3),
        ("5.0.0", "5.0", 4),
        ("4.0.1", "4.0", 5),
        ("3.6.0", "3.6", 1),
        ("3.5.0", "3.5", 2),
        ("ik-3.5.1", "3.5", 2),
        ("3.0.0", "3.0", 3),
        ("2.0.0", "2.0", 4),
        ("1.0.0", "1.0", 5),
    ],
)
def test_auto_comes_to_the_version_of_a_client(
    start, peer, log, closes, add_graph, name, announced, tries
):
    server = start(ReferenceDevice("R0"), dialect="auto")
    stock = Stock(peer, server, name)
    one, told = stock.until_it_stays(closes)
    assert (told, stock.tries) == (announced, tries)
    assert add(one, add_graph) == SUM
    assert log == []
    pins = [line for line in said(log, "stays with") if "to pin it: --dialect " in line]
    assert len(pins) == 1
    again, told = stock.until_it_stays(closes)
    assert (told, stock.tries) == (announced, tries + 1)
    assert add(again, add_graph) == SUM
    assert len(said(log, "stays with")) == 1
    assert len(said(log, "left right after HELLO: ")) == tries - 1


@pytest.mark.parametrize("layout", ["none-A", "none-B", "none-C", "none-D", "none-E"])
def test_auto_lets_clients_in_that_say_no_hello(start, peer, log, add_graph, layout):
    server = start(ReferenceDevice("R0"), dialect="auto")
    for _ in range(2):
        one = peer(server, layout, hello=False)
        assert add(one, add_graph) == SUM
    assert log == []
    assert said(log, "says no HELLO") == [
        "is of before 2025-04-18 and says no HELLO; none-E and its like serve all of these: to pin it: --dialect none-E"
    ]
    told = said(log, "its graphs make sense as none-A")
    assert len(told) == (2 if layout == "none-A" else 0)  # the only state with its layout


def test_auto_tells_an_unknown_client_that_nothing_is_left(start, peer, log, closes):
    server = start(dialect="auto")
    for number in range(5):
        one = peer(server, "7.0.0")
        one.sock.shutdown(2)
        closes.wait_for_close(number)
    lines = said(log, "left right after HELLO")
    assert [line.split()[4] for line in lines] == ["7.0.0", "6.0.0", "5.1.0", "5.0.0", "4.0.3"]
    assert lines[-1].endswith(
        "it has left every version that begins with this HELLO, and begins anew"
    )


def test_auto_with_a_numbering_that_must_be_told(start, peer, log, closes):
    server = start(NullDevice("N", total=1 << 22), dialect="auto")
    one, _ = Stock(peer, server, "2.0.0@2025-07-03").until_it_stays(closes)
    send_model(one, glu=True)
    (line,) = said(log, "make sense as")
    assert "to pin it: --dialect 2.0.0@2025-0" in line


# --- several listeners


def test_several_listeners_share_devices_and_limits(start, peer, log, add_graph):
    server = start(
        ReferenceDevice("R0"), listen=[("127.0.0.1:0", "3.6.1"), ("127.0.0.1:0", "none-C")]
    )
    assert [str(offer) for _, offer in server.offers] == ["7.0.0", "3.6.1", "none-C"]
    clients = []
    for (endpoint, _), name in zip(server.offers, ("7.0.0", "3.6.1", "none-C")):

        class There:
            pass

        There.endpoint = endpoint
        clients.append(peer(There, name, hello=name != "none-C"))
    for one in clients:
        assert add(one, add_graph) == SUM
    assert server.memory_used == 3 * 192
    assert log == []


def test_a_listener_that_cannot_be_opened_closes_the_others(start):
    server = start()
    port = server.endpoint.port
    with pytest.raises(OSError, match=str(port)):
        start(listen=[(f"127.0.0.1:{port}", "3.6.1")])


def test_struct_of_hello_is_what_a_stock_client_reads(start, peer):
    one = peer(start(dialect="4.0.1"), "4.0.1", hello=False)
    one.tell("HELLO", conn_caps=b"")
    assert one.reply(28) == struct.pack("<BBBx24s", 4, 0, 1, b"")
