import json

from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.show import Filter, shown


def show(path, **options):
    with Recording(path) as recording:
        return list(shown(recording, Filter(**options)))


def test_every_message_is_one_line(recorded):
    found = show(recorded())
    words = [" ".join(one.text.split()) for one in found]
    assert words[:4] == [
        "2 c1 open to server 1",
        "3 c1 HELLO -> 7.0.0",
        "4 c1 ALLOC_BUFFER device 0, size 1024, -> remote_ptr 1, remote_size 1024",
        "5 c1 BUFFER_GET_BASE remote_ptr 1, -> base_ptr 68719476736",
    ]
    assert words[5].startswith(
        "7 c1 SET_TENSOR RPC0[$1]#x#0 F32 [64] at 1+256, cache_flag 0, offset 0, data 256 bytes"
    )
    assert "1 nodes, 3 tensors, device 0" in words[6]
    assert words[-1].endswith("close by the client")


def test_filters(recorded):
    path = recorded()
    assert {one.fields["command"] for one in show(path, commands=frozenset({"GET_TENSOR"}))} == {
        "GET_TENSOR"
    }
    assert show(path, connections=frozenset({2})) == []
    assert len(show(path, tensor="w.weight")) == 4  # an upload, two graphs, a read
    assert len(show(path, tensor="sum", graphs=True)) == 4  # two graphs and two reads


def test_graphs_and_values(recorded):
    path = recorded()
    (graph, _) = show(path, commands=frozenset({"GRAPH_COMPUTE"}), graphs=True)
    assert graph.text.splitlines()[1].strip() == "ADD sum [64] of w.weight, RPC0[$1]#x#0"
    upload = show(path, commands=frozenset({"SET_TENSOR"}), n_values=3)[1]
    assert upload.fields["data"]["values"] == [0.0, 1.0, 2.0]
    assert upload.text.endswith("[0.0, 1.0, 2.0]")


def test_fields_are_plain(recorded):
    for one in show(recorded(), graphs=True, n_values=2):
        assert json.loads(json.dumps(one.fields))["line"] == one.line


def test_what_a_client_broke_off_is_shown(serve, record, Client, tensor, tmp_path):
    recorder = record(serve())
    with Client(recorder.endpoints[0]) as client:
        message = client.message("SET_TENSOR", bytes(4000), tensor=tensor(0, 0, 1000), offset=0)
        client.sock.sendall(message[:-100])
    recorder.close()
    assert "cut: 4305 bytes were announced" in show(tmp_path / "x.ggrec")[-2].text
