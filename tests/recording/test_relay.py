"""What happens on one recorded connection when a side breaks off or breaks the rules."""

import pytest

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.ggml.fnv import fnv1a_64
from ggmlrpc_core.recording.data import Data
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.generate import generated_weight
from ggmlrpc_core.recording.messages import Close, Message, Raw


@pytest.fixture
def events(tmp_path):
    def read():
        with Recording(tmp_path / "x.ggrec") as recording:
            return [event for _, _, event in recording.events() if event is not None]

    return read


@pytest.fixture
def start(serve, record, Client):
    """A recorder and a client of it: `start(**options)`."""

    clients = []

    def begin(**options):
        recorder = record(serve(), **options)
        clients.append(Client(recorder.endpoints[0]))
        return recorder, clients[-1]

    yield begin
    for client in clients:
        client.sock.close()


def test_a_client_that_ends_inside_an_upload(start, events, tensor):
    recorder, client = start()
    handle, base = client.alloc(4000)
    head = client.message("SET_TENSOR", bytes(4000), tensor=tensor(handle, base, 1000), offset=0)
    client.sock.sendall(head[:-3000])
    client.sock.close()
    recorder.close()
    *_, upload, end = events()
    assert end == Close(1, "client")
    assert upload.data == Data(1000, fill=0)
    assert upload.length == len(head) - 9


@pytest.mark.parametrize("sent", [1, 9, 30])
def test_a_client_that_ends_inside_a_head(start, events, tensor, sent):
    recorder, client = start()
    message = client.message("GET_TENSOR", tensor=tensor(0, 0, 4), offset=0, size=4)
    client.sock.sendall(message[:sent])
    client.sock.close()
    recorder.close()
    *_, raw, end = events()
    assert (raw, end) == (Raw(1, Data(sent, raw=message[:sent])), Close(1, "client"))


def test_bytes_that_are_no_message_pass_unread(start, events):
    recorder, client = start()
    client.sock.sendall(b"\xfe" + bytes(20))
    assert client.sock.recv(1) == b""
    recorder.close()
    found = events()
    assert found[-1] == Close(1, "server")
    assert next(e for e in found if isinstance(e, Raw)).data.whole(None)[:1] == b"\xfe"


def test_a_request_that_the_server_closes_at(start, events, tensor):
    recorder, client = start()
    client.sock.sendall(client.message("BUFFER_GET_BASE", remote_ptr=5))
    assert client.sock.recv(1) == b""
    recorder.close()
    *_, asked, end = events()
    assert asked.command == "BUFFER_GET_BASE" and asked.reply is None
    assert end == Close(1, "server")


def test_weights_of_the_seed_leave_no_bytes(start, events, tensor, tmp_path):
    recorder, client = start(weights="3")
    handle, base = client.alloc(1 << 16)
    made = generated_weight("3", "w", ggml_type="F32", ne0=1 << 14)
    data = b"".join(made.pieces(1 << 16))
    weight = tensor(handle, base, 1 << 14, name="w")
    client.tell("SET_TENSOR", data[:40000], tensor=weight, offset=0)
    client.tell("SET_TENSOR", data[40000:], tensor=weight, offset=40000)
    assert client.get(weight, 1 << 16) == data
    client.sock.close()
    recorder.close()
    uploads = [e.data for e in events() if isinstance(e, Message) and e.command == "SET_TENSOR"]
    assert uploads == [Data(40000, gen=made), Data((1 << 16) - 40000, gen=made, skip=40000)]


def test_a_hash_that_hits_names_the_data(liar, record, Client, events, tensor):
    answers = [b"\1", b"\0"]  # the first asks in vain
    recorder = record(
        liar(lambda command, reply: answers.pop() if command == "SET_TENSOR_HASH" else reply)
    )
    with Client(recorder.endpoints[0]) as client:
        handle, base = client.alloc(4000)
        t, data = tensor(handle, base, 1000), bytes(range(200)) * 20
        ask = {"tensor": t, "offset": 0, "hash": fnv1a_64(data)}
        assert client.ask("SET_TENSOR_HASH", **ask) == {"result": 0}
        client.tell("SET_TENSOR", data, tensor=t, offset=0)
        assert client.ask("SET_TENSOR_HASH", **ask) == {"result": 1}
    recorder.close()
    miss, hit = [e for e in events() if isinstance(e, Message) and e.command == "SET_TENSOR_HASH"]
    assert miss.known is None
    assert hit.known.whole(None) == data


def test_nobody_listens_behind(record, Client):
    recorder = record(Endpoint("127.0.0.1", 1))
    with pytest.raises((AssertionError, OSError)):
        Client(recorder.endpoints[0])
