"""The op table as plain data: what the reference page and `ggmlrpc devices` show of each op.

Nothing here decides anything; the declarations do.
"""

from __future__ import annotations

from dataclasses import dataclass

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import VIEW_OPS
from ggmlrpc_core.ops.declare import ANY, ENCODABLE, FLOATS, OPS, QUANTS, Op

COMPUTED, VIEW, REFUSED = "computed", "view", "refused"

_GROUPS = (
    ("any", ANY),
    ("floats", FLOATS),
    ("quantized", QUANTS),
    ("convertible quantized", ENCODABLE),
)


@dataclass(frozen=True, slots=True)
class SourceSupport:
    """One source: its name, the types it takes in words, and whether it may be left out."""

    name: str
    types: str
    optional: bool


@dataclass(frozen=True, slots=True)
class OpSupport:
    """One op.

    Attributes:
        name: canonical name.
        kind: "computed", "view" (names bytes, nothing to do) or "refused" (carries a function pointer).
        sources: in the order of their slots.
        result: types of the node in words.
        params: "slot: name" of each named parameter, floats marked with their kind.
        precision: what is computed in which type.
        since: first date in the protocol.
        upstream: the function that the op obeys.
    """

    name: str
    kind: str
    sources: tuple[SourceSupport, ...]
    result: str
    params: tuple[str, ...]
    precision: str
    since: str
    upstream: str


def type_words(types: frozenset[str]) -> str:
    """A set of types in few words: named groups first, then single types; "none" when empty."""
    left = set(types)
    words = []
    for word, group in _GROUPS:
        if left.issuperset(group):
            words.append(word)
            left.difference_update(group)
    words += [name for name in TYPES if name in left]
    return ", ".join(words) or "none"


def _kind(op: Op) -> str:
    if op.name in VIEW_OPS:
        return VIEW
    return REFUSED if op.compute is None else COMPUTED


def op_support() -> list[OpSupport]:
    """Every declared op, in the order of the newest numbering."""
    return [
        OpSupport(
            name=op.name,
            kind=_kind(op),
            sources=tuple(
                SourceSupport(s.name, type_words(s.types), s.optional) for s in op.sources
            ),
            result="the type of source 0" if op.result is None else type_words(op.result),
            params=tuple(f"{p.slot}: {p.name} ({p.kind})" for p in op.params),
            precision=op.precision,
            since=op.since,
            upstream=op.upstream,
        )
        for op in sorted(OPS.values(), key=lambda op: NEWEST.ops[op.name])
    ]


def undeclared() -> list[str]:
    """Ops of the newest numbering that have no declaration; empty in a complete package."""
    return [name for name in NEWEST.ops if name not in OPS]
