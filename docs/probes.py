"""The page of what the client can tell of numberings, made by walking the search of client/probes.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markup import NOTE, table

from ggmlrpc_core.client.probes import ANYWHERE, ON_CPU, OPERANDS, Split, best_split
from ggmlrpc_core.wire import dialects
from ggmlrpc_core.wire.dialects import Dialect

INTRO = """\
# What the client can tell of numberings

Made by the search in `ggmlrpc_core/client/probes.py`; how it is used is in
[guessing](../explanation/guessing.md). A row is one node that is sent. Its op number is read by every
numbering that is still possible as one of the ops named, on operands that each of them takes. States
that give equal results stay together; where the list of states left has more than one, ops in which
they differ are refused. States before 2024-09-09 get no node.

"""

OPERANDS_INTRO = """
## Operands

All F32. Every op of a list has been run on its operands on stock servers of eight ages.

"""


def probes_page() -> str:
    """Probes by label and backend, and what is left."""
    out = [NOTE, INTRO]
    names = [dialects.dialect(n) for n in (*dialects.dialect_names(), *dialects.fork_names())]
    labels = dict.fromkeys(d.label for d in names if len(dialects.states_of(d.label)) > 1)
    for label in labels:
        states = tuple(dialects.states_of(label))
        if label == "none-C":
            states = tuple(d for d in states if d.lengths_checked is not False)
        if not all(d.graphs_may_grow for d in states):
            continue
        out.append(f"## {label}\n\n")
        for title, safe in (("stock CPU server", ON_CPU), ("any other", ANYWHERE)):
            rows = list(_rows(states, safe))
            left = "; ".join(_dates(group) for group in _left(states, safe))
            out.append(
                f"{title}: {'nothing can be told' if not rows else 'told apart'}: {left}\n\n"
            )
            if rows:
                out += [table(["number", "operands", "what it is to whom"], rows), "\n"]
    out.append(OPERANDS_INTRO)
    rows = [
        [o.name, " ".join(map(_extents, o.sources)), _extents(o.result), ", ".join(sorted(o.ops))]
        for o in OPERANDS
    ]
    out.append(table(["name", "sources", "result", "ops"], rows))
    return "".join(out).rstrip() + "\n"


def _rows(states: tuple[Dialect, ...], safe: frozenset[str]) -> Iterator[list[object]]:
    split = best_split(states, safe)
    if split is None:
        return
    yield [split.probe.number, split.probe.operands.name, _meanings(split)]
    for group, _, _ in split.groups:
        yield from _rows(group, safe)


def _left(states: tuple[Dialect, ...], safe: frozenset[str]) -> Iterator[tuple[Dialect, ...]]:
    split = best_split(states, safe)
    if split is None:
        yield states
        return
    for group, _, _ in split.groups:
        yield from _left(group, safe)


def _meanings(split: Split) -> str:
    return "; ".join(f"{name} to {_dates(group)}" for group, name, _ in split.groups)


def _dates(states: Sequence[Dialect]) -> str:
    return ", ".join(d.name.partition("@")[2] for d in states)


def _extents(ne: Sequence[int]) -> str:
    return f"[{', '.join(map(str, ne))}]"
