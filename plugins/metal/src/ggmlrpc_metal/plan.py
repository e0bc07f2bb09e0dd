"""From a graph to stages: traced ones and host stages, cut so that each takes at most a slice. No MLX here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ggmlrpc_core.graph.tensor import FLAG_OUTPUT, Graph, Tensor
from ggmlrpc_metal.layout import StageBuilder, StageSpec
from ggmlrpc_metal.override import Override, find_override
from ggmlrpc_metal.place import host_reason, seconds

SLICE_SECONDS = 0.04
"""Work of one stage, by estimate and then as measured; a run asks between stages whether to stop."""


@dataclass(frozen=True, slots=True)
class HostStage:
    """One node that the reference op computes, and why."""

    node: Tensor
    reason: str


@dataclass(frozen=True, slots=True)
class TracedStage:
    """Nodes [first, last) of the graph's work, and what they read and write."""

    first: int
    last: int
    spec: StageSpec


class Planner:
    """Makes the stages of one graph, and again when one of them turned out to be too long.

    Args:
        graph: checked by the session.
        overrides: faster forms of ops.
        gpu: whether stages run on a GPU.
    """

    def __init__(self, graph: Graph, overrides: Iterable[Override], *, gpu: bool) -> None:
        self._work = graph.work
        self._gpu = gpu
        self._last_reader = _last_readers(graph)
        self._forms = [find_override(overrides, node, gpu=gpu) for node in self._work]
        self._reasons = [
            host_reason(node, form, gpu=gpu) for node, form in zip(self._work, self._forms)
        ]

    def stages(self) -> list[HostStage | TracedStage]:
        """All stages in order."""
        return self._cut(0, len(self._work), SLICE_SECONDS)

    def halves(self, stage: TracedStage) -> list[HostStage | TracedStage]:
        """The same nodes in at least two stages; the stage alone when it is one node."""
        if stage.last - stage.first < 2:
            return [stage]
        total = sum(self._seconds(i) for i in range(stage.first, stage.last))
        made = self._cut(stage.first, stage.last, total / 2)
        if len(made) == 1:  # the last node is most of it
            made = self._cut(stage.first, stage.last - 1, total)
            made += self._cut(stage.last - 1, stage.last, total)
        return made

    def _seconds(self, i: int) -> float:
        return seconds(self._work[i], gpu=self._gpu)

    def _cut(self, first: int, last: int, most: float) -> list[HostStage | TracedStage]:
        made: list[HostStage | TracedStage] = []
        builder, start, spent = StageBuilder(), first, 0.0

        def end(at: int) -> None:
            nonlocal builder, start, spent
            if len(builder):
                made.append(TracedStage(start, at, builder.finish(self._keeper(at))))
            builder, start, spent = StageBuilder(), at, 0.0

        for i in range(first, last):
            node = self._work[i]
            if self._reasons[i]:
                end(i)
                made.append(HostStage(node, self._reasons[i]))
                start = i + 1
                continue
            cost = self._seconds(i)
            if spent + cost > most:
                end(i)
            if not builder.add(node, self._forms[i]):
                end(i)
                taken = builder.add(node, self._forms[i])
                assert taken, "a stage without values takes every node that can be traced"
            spent += cost
        end(last)
        return made

    def _keeper(self, end: int) -> Callable[[Tensor], bool]:
        def keeps(node: Tensor) -> bool:
            return self._last_reader.get(id(node), end) >= end

        return keeps


def _last_readers(graph: Graph) -> dict[int, int]:
    """For each result that only computed nodes of the graph read: the place in `work` of the last of them.

    The client must say so: `use_count` tells of readers elsewhere too, and it is compared with what the graph shows. A
    result that a view names is kept: clients look at such views.
    """
    place = {id(node): i for i, node in enumerate(graph.work)}
    readers: dict[int, list[Tensor]] = {}
    for node in graph.nodes:
        for source in node.src:
            if source is not None:
                readers.setdefault(id(source), []).append(node)
    last: dict[int, int] = {}
    for node in graph.work:
        found = readers.get(id(node), [])
        if node.flags & FLAG_OUTPUT or not 0 < node.use_count == len(found):
            continue
        # A cast names itself as its destination.
        if all(r is not node and id(r) in place for r in found):
            last[id(node)] = max(place[id(r)] for r in found)
    return last


def host_nodes(stages: Sequence[HostStage]) -> dict[tuple[str, str], int]:
    """How many nodes of each (op, reason) there are."""
    return dict(Counter((stage.node.op, stage.reason) for stage in stages))
