"""Graphs as lines: one per tensor, and only what changed for a graph that is like an earlier one.

    {"graph":1,"tensors":2}                     then two lines, nodes marked
    {"id":4,"type":"F32","ne":[16],"buf":1,"at":0}
    {"id":5,"type":"F32","ne":[16],"buf":1,"at":64,"op":"SQR","src":[4],"node":1}
    {"graph":2,"like":1,"changed":1}            then one line
    {"i":1,"set":{"op":"SQRT"}}

A graph may be named by later lines while it is one of the last WINDOW defined and these have no more than MAX_KEPT
tensors together, so that nobody has to keep more.
Source of the format: docs/reference/ggrec.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.lines import Fields, Line
from ggmlrpc_core.recording.space import MAX_NUMBER

WINDOW = 16
MAX_TENSORS = 1 << 16
"""Tensors of a graph that is written in lines; a larger one is kept as one piece of data."""

MAX_KEPT = 1 << 17
"""Tensors of all graphs of the window together."""

MAX_TENSOR_LINE = 2048
"""Bytes of a line inside a graph: what a reader keeps in memory is bounded."""

MAX_LISTED = 1 << 16
"""Nodes that are listed in the head of a graph, where marks cannot say their order."""


class Graph:
    """One graph as lines.

    Attributes:
        tensors: a line each, with "node": 1 where marks say the nodes.
        nodes: ids in compute order where marks do not; None where they do.
    """

    __slots__ = ("nodes", "tensors")

    def __init__(self, tensors: list[Line], nodes: list[int] | None) -> None:
        self.tensors, self.nodes = tensors, nodes

    def node_ids(self) -> list[int]:
        """Numbers of the nodes in compute order."""
        if self.nodes is not None:
            return self.nodes
        return [t["id"] for t in self.tensors if "node" in t]


def marked(tensors: list[Line], nodes: Sequence[int]) -> Graph:
    """A graph of tensor lines and node numbers; marks the nodes where that says their order."""
    at = 0
    places = []
    for i, t in enumerate(tensors):
        if at < len(nodes) and t["id"] == nodes[at]:
            places.append(i)
            at += 1
    if at < len(nodes):
        return Graph(tensors, list(nodes))
    for i in places:
        tensors[i]["node"] = 1
    return Graph(tensors, None)


class _Window:
    """The last graphs by number."""

    def __init__(self) -> None:
        self.graphs: OrderedDict[int, Graph] = OrderedDict()
        self.count = 0
        self._kept = 0

    def add(self, graph: Graph) -> int:
        """Keep one more; returns its number."""
        self.count += 1
        self.graphs[self.count] = graph
        self._kept += len(graph.tensors)
        while len(self.graphs) > WINDOW or self._kept > MAX_KEPT:
            _, gone = self.graphs.popitem(last=False)
            self._kept -= len(gone.tensors)
        return self.count


class GraphWriter:
    """Gives graphs numbers."""

    def __init__(self) -> None:
        self._window = _Window()

    def write(self, graph: Graph) -> tuple[list[Line], int]:
        """The lines that define a graph, none when it is known, and its number."""
        best: tuple[int, dict[int, Line]] | None = None
        for number, known in reversed(self._window.graphs.items()):
            if len(known.tensors) != len(graph.tensors) or known.nodes != graph.nodes:
                continue
            changes = _changes(known.tensors, graph.tensors)
            if not changes:
                return [], number
            if best is None or len(changes) < len(best[1]):
                best = number, changes
        number = self._window.add(graph)
        if best is not None and 2 * len(best[1]) <= len(graph.tensors):
            head: Line = {"graph": number, "like": best[0], "changed": len(best[1])}
            return [head, *({"i": i, "set": change} for i, change in best[1].items())], number
        head = {"graph": number, "tensors": len(graph.tensors)}
        if graph.nodes is not None:
            head["nodes"] = graph.nodes
        return [head, *graph.tensors], number


class GraphReader:
    """Reads what GraphWriter wrote, line by line."""

    def __init__(self) -> None:
        self._window = _Window()
        self._open: Graph | None = None
        self._left = 0
        self._patch = False

    @property
    def inside(self) -> bool:
        """Whether lines of a graph are still to come."""
        return self._left > 0

    def begin(self, line: Mapping[str, Any], *, where: str) -> None:
        """Take the head of a graph; raises RecordingError where it is not of the format."""
        fields = Fields(line, where=where)
        expected = self._window.count + 1
        fields.number("graph", least=expected, most=expected)
        if "like" in fields:
            known = self.graph(fields.number("like"), where=where)
            self._left = fields.number("changed", least=1, most=len(known.tensors))
            self._open = Graph(list(known.tensors), known.nodes)
            self._patch = True
        else:
            self._left = fields.number("tensors", most=MAX_TENSORS)
            listed = "nodes" in fields
            nodes = list(fields.numbers("nodes", least=0, most=MAX_NUMBER, at_most=MAX_LISTED))
            self._open = Graph([], nodes if listed else None)
            self._patch = False
        fields.end()
        self._finish()

    def add(self, line: Mapping[str, Any], *, where: str) -> None:
        """Take one line inside a graph."""
        assert self._open is not None
        if self._patch:
            fields = Fields(line, where=where)
            i = fields.number("i", most=len(self._open.tensors) - 1)
            change = fields.take("set")
            fields.end()
            if not isinstance(change, Mapping):
                fields.fail("set", change, "an object")
            self._open.tensors[i] = _changed(self._open.tensors[i], change)
        else:
            self._open.tensors.append(dict(line))
        self._left -= 1
        self._finish()

    def graph(self, number: int, *, where: str) -> Graph:
        """A graph by number; raises RecordingError when it is none of the last."""
        found = self._window.graphs.get(number)
        if found is None:
            rule = f"one of the last {WINDOW} defined"
            raise RecordingError(where, "graph", number, rule)
        return found

    def _finish(self) -> None:
        if self._left == 0 and self._open is not None:
            self._window.add(self._open)
            self._open = None


def _changes(old: list[Line], new: list[Line]) -> dict[int, Line]:
    """What to change by index; null removes a field."""
    found: dict[int, Line] = {}
    for i, (a, b) in enumerate(zip(old, new)):
        if a != b:
            change = {key: value for key, value in b.items() if a.get(key) != value}
            change |= {key: None for key in a if key not in b}
            found[i] = change
    return found


def _changed(line: Line, change: Mapping[str, Any]) -> Line:
    merged = {**line, **change}
    return {key: value for key, value in merged.items() if value is not None}
