import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording import graphs as module
from ggmlrpc_core.recording.graphs import WINDOW, Graph, GraphReader, GraphWriter, marked


def tensors(n, change=0):
    return [{"id": i + 1, "x": change if i == 0 else 0} for i in range(n)]


def read(reader, lines):
    for line in lines:
        if reader.inside:
            reader.add(line, where="x")
        else:
            reader.begin(line, where="x")


def test_nodes_are_marked_where_marks_say_their_order():
    graph = marked(tensors(3), [1, 3])
    assert graph.nodes is None and graph.node_ids() == [1, 3]
    assert marked(tensors(3), [3, 1]).node_ids() == [3, 1]
    assert marked(tensors(3), [1, 1]).nodes == [1, 1]


def test_a_graph_is_forgotten_after_a_window():
    writer, reader = GraphWriter(), GraphReader()
    first = marked(tensors(4), [2])
    lines, number = writer.write(first)
    read(reader, lines)
    assert number == 1 and writer.write(marked(tensors(4), [2])) == ([], 1)
    for i in range(WINDOW):
        lines, number = writer.write(marked(tensors(i + 5), [1]))
        read(reader, lines)
    assert number == WINDOW + 1
    assert reader.graph(2, where="x").node_ids() == [1]
    with pytest.raises(RecordingError, match="expected one of the last 16 defined"):
        reader.graph(1, where="x")
    assert len(writer.write(first)[0]) == 5  # defined again


def test_much_is_forgotten_earlier(monkeypatch):
    monkeypatch.setattr(module, "MAX_KEPT", 10)
    writer, reader = GraphWriter(), GraphReader()
    for n in (6, 7):
        read(reader, writer.write(Graph(tensors(n), []))[0])
    with pytest.raises(RecordingError):
        reader.graph(1, where="x")
    assert len(reader.graph(2, where="x").tensors) == 7


def test_changes_can_add_and_remove_fields():
    writer, reader = GraphWriter(), GraphReader()
    one, two = tensors(8), tensors(8)
    two[3] = {"id": 4, "y": 1}
    for lines in (one, two):
        read(reader, writer.write(Graph(lines, []))[0])
    assert reader.graph(2, where="x").tensors == two
    assert reader.graph(1, where="x").tensors == tensors(8)


def test_an_empty_graph_is_one():
    writer, reader = GraphWriter(), GraphReader()
    lines, number = writer.write(Graph([], None))
    read(reader, lines)
    assert not reader.inside and reader.graph(number, where="x").tensors == []


@pytest.mark.parametrize(
    "line",
    [
        {"graph": 0, "tensors": 1},
        {"graph": 1, "tensors": 1 << 40},
        {"graph": 1, "like": 1, "changed": 1},
        {"graph": 1, "tensors": 1, "nodes": ["a"]},
        {"graph": 1},
    ],
)
def test_a_bad_head_is_refused(line):
    with pytest.raises(RecordingError, match=r"^x: "):
        GraphReader().begin(line, where="x")
