"""A case: what is known of it without running it, and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.results import Ending, Level, Verdict
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.version import ERA_A, ERA_B, ERA_C, ERA_D, ERA_E, ProtocolVersion

ERAS = {"none-A": ERA_A, "none-B": ERA_B, "none-C": ERA_C, "none-D": ERA_D, "none-E": ERA_E}

SECONDS = {"quick": 2.0, "op": 10.0, "long": 60.0}
"""Timeout classes."""


class Tier(StrEnum):
    """How often a case is run: each includes those before it."""

    SMOKE = "smoke"
    DEFAULT = "default"
    FULL = "full"

    def includes(self, other: Tier) -> bool:
        """Whether a run of this tier has cases of another."""
        order = list(Tier)
        return order.index(other) <= order.index(self)


@dataclass(frozen=True, slots=True)
class Said:
    """What a body found, where it is not simply that all went well.

    Attributes:
        reply: of the answers.
        ending: how the connection ended; NONE when the body did not look.
        ending_verdict: of that.
        expected, found: for people.
    """

    reply: Verdict = Verdict.PASS
    ending: Ending = Ending.NONE
    ending_verdict: Verdict = Verdict.PASS
    expected: str = ""
    found: str = ""


Body = Callable[[Context], Said | None]


@dataclass(frozen=True, slots=True)
class Case:
    """One case, in any dialect.

    Attributes:
        id: permanent, lower case, dots between its parts.
        title: what it does, one line.
        clauses: ids; the first decides the level.
        body: runs it. None or a Said for an outcome; a CaseFault for a broken clause.
        tier: smallest that runs it.
        timeout: class, see SECONDS.
        destructive: may end a weak server, or starve others: only on servers of the suite's own, or when asked for.
        since, before: versions, before is exclusive.
        needs: names of commands that the dialect must have.
        ending: "kept": the connection must answer after the body; "any": not looked at.
        hello: the body gets a connection "a" that is greeted; False: it connects by itself.
        n_devices: smallest number of devices.
        each_device: run on every device, else on the first.
        op, types: of the cell for cases of one op.
        dialects: names of the only ones that it is said in; empty for all.
        scored: False for measurements.
        number: permanent short number; set when the lists are read.
        level: of the first clause; set when the lists are read.
    """

    id: str
    title: str
    clauses: tuple[str, ...]
    body: Body = field(repr=False)
    tier: Tier = Tier.DEFAULT
    timeout: str = "quick"
    destructive: bool = False
    since: ProtocolVersion | None = None
    before: ProtocolVersion | None = None
    needs: tuple[str, ...] = ()
    ending: str = "kept"
    hello: bool = True
    n_devices: int = 1
    each_device: bool = False
    op: str = ""
    types: str = ""
    dialects: tuple[str, ...] = ()
    scored: bool = True
    number: str = ""
    level: Level = Level.MUST

    @property
    def area(self) -> str:
        """First part of the id."""
        return self.id.partition(".")[0]

    def applies(self, dialect: Dialect) -> bool:
        """Whether the dialect has what the case is about."""
        return (
            (not self.dialects or dialect.name in self.dialects)
            and (self.since is None or dialect.version >= self.since)
            and (self.before is None or dialect.version < self.before)
            and all(name in dialect.by_name for name in self.needs)
        )

    def numbered(self, number: str, level: Level) -> Case:
        """With what the lists say."""
        return replace(self, number=number, level=level)


def version_of(text: str) -> ProtocolVersion:
    """The triple of "7.0.0", "7.0" or "none-D"."""
    if text in ERAS:
        return ERAS[text]
    parts = [int(part) for part in text.split(".")]
    return ProtocolVersion(*(*parts, 0, 0)[:3])


def flags_of(data: Mapping[str, object]) -> dict[str, object]:
    """The fields of a Case that a file gives as plain values."""
    found: dict[str, object] = {}
    for key in ("since", "before"):
        if key in data:
            found[key] = version_of(str(data[key]))
    for key in (
        "timeout", "destructive", "ending", "hello", "n_devices", "each_device", "scored", "op", "types",
    ):  # fmt: skip
        if key in data:
            found[key] = data[key]
    if "tier" in data:
        found["tier"] = Tier(str(data["tier"]))
    if "needs" in data:
        found["needs"] = tuple(data["needs"])  # type: ignore[arg-type]
    return found
