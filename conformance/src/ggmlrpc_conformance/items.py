"""Cases as pytest items. Light: an item is a case, a runner and a place in the order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ggmlrpc_conformance.case import Case
from ggmlrpc_conformance.results import CaseResult, Level, Verdict, full_id, to_json

if TYPE_CHECKING:
    from ggmlrpc_conformance.session import Plan

NO_TARGET = pytest.StashKey[bool]()
"""Set when cases were to be collected and no server is named."""

PROPERTY = "ggmlrpc_conformance"
"""Key under which a report carries its result from a worker."""


class CaseFailed(Exception):
    """A case with a bad verdict; carries the result."""

    def __init__(self, result: CaseResult) -> None:
        super().__init__(result)
        self.result = result


class CaseFile(pytest.File):
    """All items of a run."""

    def __init__(self, *, plan: Plan | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.plan = plan

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each case, dialect, device and target; all cases without a target to list them."""
        from ggmlrpc_conformance.session import listing

        if self.plan is None:
            if not self.config.getoption("collectonly"):
                self.config.stash[NO_TARGET] = True
                return
            for case, name in listing(self.config):
                yield CaseItem.from_parent(self, name=name, case=case, runner=None)
            return
        for runner, case in self.plan.selected():
            name = full_id(case.id, runner.dialect.name, runner.device)
            if len(self.plan.targets) > 1:
                name = f"{name} on {runner.target.label}"
            yield CaseItem.from_parent(self, name=name, case=case, runner=runner)


class CaseItem(pytest.Item):
    """One case in one dialect on one device of one target."""

    def __init__(self, *, case: Case, runner: Any, **options: Any) -> None:
        super().__init__(**options)
        self.case = case
        self.runner = runner
        self.result: CaseResult | None = None

    def runtest(self) -> None:
        """Run it.

        Raises:
            CaseFailed: its clause is broken; a skip or an expected failure as pytest has them.
        """
        from ggmlrpc_conformance.target import exclusive

        plan: Plan = self.parent.plan  # type: ignore[union-attr]
        with exclusive(self.runner.target.label, needed=plan.shares(self.runner.target)):
            self.result = self.runner.run(self.case)
        # as text: what goes to another process may only hold plain values
        self.user_properties.append((PROPERTY, json.dumps(to_json(self.result))))
        verdict = self.result.verdict
        if verdict in (Verdict.SKIP, Verdict.NOTRUN):
            pytest.skip(self.result.reason)
        if verdict is Verdict.XFAIL:
            pytest.xfail(self.result.reason)
        if fails(self.result):
            raise CaseFailed(self.result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was expected, found and said, and how to see it again."""
        if not isinstance(excinfo.value, CaseFailed):
            return super().repr_failure(excinfo, style)
        return describe(excinfo.value.result)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """The id stands for the place."""
        return self.path, None, self.name


def fails(result: CaseResult) -> bool:
    """Whether pytest should count it as failed: broken MUST clauses, stale lists and errors of the suite."""
    if result.verdict in (Verdict.HARNESS_ERROR, Verdict.XPASS):
        return True
    return result.verdict.bad and result.level is Level.MUST


def describe(result: CaseResult) -> str:
    """A failure for people."""
    lines = [
        f"{result.full_id} ({result.number})  {result.verdict}  {result.level} {', '.join(result.clauses)}",
        f"  {result.title}",
        f"  expected: {result.expected}",
        f"  found:    {result.found}",
    ]
    if result.reason:
        lines.append(f"  reason:   {result.reason}")
    if result.crash is not None:
        alone = {True: "yes", False: "no", None: "not tried"}[result.crash.again]
        lines.append(f"  crash:    again when run alone: {alone}")
    if result.messages:
        lines.append("  said:")
        for m in result.messages:
            fields = ", ".join(f"{k} {v}" for k, v in m.fields.items())
            lines.append(
                f"    {m.connection} {'->' if m.sent else '<-'} {m.command} ({m.size} bytes) {fields}"
            )
    if result.server_output.strip():
        lines.append("  the server said:")
        lines += [f"    {line}" for line in result.server_output.strip().splitlines()[-12:]]
    lines.append(f"  again:    {result.repro}")
    return "\n".join(lines)
