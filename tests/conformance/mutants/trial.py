"""Which mutant fails which case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from conformance.mutants.mutants import HONEST, MUTANTS, N_DEVICES, MutantTarget
from ggmlrpc_conformance.case import Case
from ggmlrpc_conformance.results import CaseResult
from ggmlrpc_conformance.runner import Runner

from ggmlrpc_core.wire.dialects import Dialect, dialect, dialect_names

TIMEOUT_FACTOR = 0.15
"""A mutant that is silent must not cost two seconds each time."""

FIRST = {
    "op": ("scaled results", "one element wrong", "nothing computed", "zeros"),
    "graph": ("scaled results", "nodes backwards", "nothing computed", "believes everything"),
    "state": ("scaled results", "recompute does nothing", "believes everything", "last byte wrong"),
    "bad": ("believes everything", "dies with faults", "never closes"),
    "wire": ("believes everything", "last byte wrong", "dies with clients", "never closes"),
    "cmd": ("last byte wrong", "believes everything", "no memory"),
    "conc": ("one at a time", "last byte wrong", "believes everything", "scaled results"),
    "fault": ("dies with clients", "last byte wrong", "pieces break", "dies at GRAPH_COMPUTE"),
    "limit": ("scaled results", "last byte wrong", "dies with clients", "no memory"),
    "leak": ("connections leak", "free does nothing", "no memory"),
    "meta": ("scaled results",),
}  # fmt: skip
"""Mutants that are tried first, by area: those that are most about it."""


def dialect_for(case: Case) -> Dialect | None:
    """The newest dialect that a case applies to."""
    return next((d for d in map(dialect, reversed(dialect_names())) if case.applies(d)), None)


def candidates(case: Case) -> list[str]:
    """Mutants in the order of trying."""
    first = FIRST.get(case.area, ())
    return [*first, *(name for name in MUTANTS if name not in first)]


@dataclass
class Trial:
    """Servers that are started once and used for many cases."""

    _runners: dict[tuple[str, str], Runner] = field(default_factory=dict)

    def run(self, case: Case, name: str, spoken: Dialect) -> CaseResult:
        """One case on one mutant, or on the honest server for the name "honest"."""
        key = (name, spoken.name)
        if key not in self._runners:
            mutant = HONEST if name == "honest" else MUTANTS[name]
            factor = 1.0 if name == "honest" else TIMEOUT_FACTOR
            self._runners[key] = Runner(
                MutantTarget(mutant, spoken),
                spoken,
                n_devices=N_DEVICES,
                timeout_factor=factor,
                serves_several=True,
            )
        runner = self._runners[key]
        runner.lost = ""
        return runner.run(case)

    def killer(self, case: Case, spoken: Dialect, names: Iterable[str] | None = None) -> str | None:
        """The first mutant that fails a case; None for a survivor."""
        for name in names or candidates(case):
            if self.run(case, name, spoken).verdict.bad:
                return name
        return None

    def close(self) -> None:
        """Stop all servers."""
        for runner in self._runners.values():
            runner.target.stop()


@contextmanager
def trial() -> Iterator[Trial]:
    """A trial that ends its servers."""
    one = Trial()
    try:
        yield one
    finally:
        one.close()
