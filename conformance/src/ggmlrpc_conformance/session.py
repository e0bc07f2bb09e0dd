"""One run: targets and their runners, the selection of cases, and on the main process the results of all workers."""

from __future__ import annotations

import contextlib
import datetime
import fnmatch
import json
import platform
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from ggmlrpc_conformance.case import Case, Tier
from ggmlrpc_conformance.faults import CaseFault
from ggmlrpc_conformance.items import PROPERTY, describe, fails
from ggmlrpc_conformance.judge import exit_code
from ggmlrpc_conformance.known import Deviation, read_known, stale
from ggmlrpc_conformance.library import all_cases
from ggmlrpc_conformance.probe import announced, dialect_of
from ggmlrpc_conformance.probe import describe as describe_target
from ggmlrpc_conformance.results import (
    CaseResult,
    RunInfo,
    TargetInfo,
    Verdict,
    full_id,
    result_from_json,
    to_json,
    write_end,
    write_result,
    write_run,
)
from ggmlrpc_conformance.runner import Runner
from ggmlrpc_conformance.target import Target
from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.wire.dialects import Dialect, dialect, dialect_names, newest

RESULTS = "results.jsonl"


def listing(config: pytest.Config) -> list[tuple[Case, str]]:
    """Cases and names for --collect-only without a target: those of the newest dialect, or of --dialect."""
    names = config.getoption("--dialect")
    spoken = [named_dialect(name) for name in names.split(",")] if names else [newest()]
    return [
        (case, full_id(case.id, d.name))
        for d in spoken
        for case in all_cases().values()
        if case.applies(d) and matches(case, config.getoption("--case"))
    ]


def named_dialect(name: str) -> Dialect:
    """A dialect of --dialect.

    Raises:
        UsageError: there is none of this name.
    """
    try:
        return dialect(name.strip())
    except LocalProtocolError as exc:
        raise pytest.UsageError(str(exc)) from exc


def matches(case: Case, patterns: list[str] | None) -> bool:
    """Whether --case names it."""
    return not patterns or any(
        p in (case.id, case.number) or ("*" in p and fnmatch.fnmatchcase(case.id, p))
        for p in patterns
    )


class Plan:
    """What a process runs, and on the main process what all have found.

    Attributes:
        targets: one, or those of --targets.
    """

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        self._config = config
        named = [t for t in (option("--targets") or option("--target") or "").split(",") if t]
        if named and option("--target-cmd"):
            raise pytest.UsageError("--target-cmd and --target exclude each other")
        self._names = named
        self._tier = Tier(option("--tier"))
        self._is_worker = hasattr(config, "workerinput")
        self._several_workers = self._is_worker
        self._runners: list[Runner] | None = None
        self._infos: list[TargetInfo] = []
        self._known = self._read_known(option("--known") or [])
        self._left_out: dict[str, int] = {}
        self._n_selected = 0
        self._results: list[CaseResult] = []
        self._losses = 0
        self._started = datetime.datetime.now(datetime.UTC)
        self._file: Any = None
        self._interrupted = False
        self.targets: list[Target] = []

    # --- what to run

    def _read_known(self, names: list[str]) -> tuple[Deviation, ...]:
        try:
            return tuple(d for name in names for d in read_known(name))
        except (OSError, ValueError) as exc:
            raise pytest.UsageError(f"--known: {exc}") from exc

    def runners(self) -> list[Runner]:
        """One for each target, dialect and device; probes the targets the first time.

        Raises:
            UsageError: a target does not answer, or announces what the suite does not know.
        """
        if self._runners is None:
            self._runners = []
            command = self._config.getoption("--target-cmd") or ""
            for name in self._names or [""]:
                for spoken in self._spoken(name, command):
                    self._runners += self._of_target(*spoken)
        return self._runners

    def _spoken(self, name: str, command: str) -> Iterator[tuple[Target, Dialect, TargetInfo]]:
        """Targets with the dialect that is spoken to them."""
        factor = self._config.getoption("--timeout-factor")
        asked = self._config.getoption("--dialect")
        names = [n.strip() for n in asked.split(",")] if asked else [""]
        if names == ["all"]:
            names = dialect_names()
        shared: Target | None = None
        for wanted in names:
            own = "{dialect}" in command
            if shared is None or own:
                chosen = (
                    named_dialect(wanted) if wanted else newest()
                ).name  # "2.0.0" may hide several
                shared = Target(name, command=command, dialect=chosen if own else "")
                self.targets.append(shared)
            try:
                version = announced(shared, factor=factor)
                spoken = named_dialect(wanted) if wanted else dialect_of(version)
                if spoken is None:
                    raise pytest.UsageError(
                        f"{shared.label} announces {version}, expected a version that this suite knows"
                    )
                info = describe_target(
                    shared, spoken, version=version, dialects=(spoken.name,), factor=factor
                )
            except CaseFault as exc:
                raise pytest.UsageError(f"{shared.label}: {exc}") from exc
            yield shared, spoken, info

    def _of_target(self, target: Target, spoken: Dialect, info: TargetInfo) -> list[Runner]:
        self._infos.append(info)
        asked = self._config.getoption("--device") or "0"
        devices = range(info.devices) if asked == "all" else [int(asked)]
        if max(devices) >= info.devices:
            raise pytest.UsageError(
                f"--device is {asked}, expected below {info.devices}, the device count"
            )
        return [
            Runner(
                target,
                spoken,
                device=device,
                n_devices=info.devices,
                serves_several=info.serves_several,
                tier=self._tier,
                timeout_factor=self._config.getoption("--timeout-factor"),
                known=self._known,
                reference=self._config.getoption("--reference") or "",
            )
            for device in devices
        ]

    def selected(self) -> Iterator[tuple[Runner, Case]]:
        """What runs, in order; what is left out is counted by reason."""
        patterns = self._config.getoption("--case")
        self._left_out = {}
        self._n_selected = 0
        for runner in self.runners():
            destructive = runner.target.owned or self._config.getoption("--destructive")
            for case in all_cases().values():
                if not matches(case, patterns):
                    reason = "not asked for"
                elif not patterns and not self._tier.includes(case.tier):
                    reason = f"tier {case.tier}"
                elif not case.applies(runner.dialect):
                    reason = "not of this dialect"
                elif case.destructive and not destructive:
                    reason = "destructive"
                elif (
                    runner.device
                    and not case.each_device
                    and self._config.getoption("--device") == "all"
                ):
                    reason = "same on every device"
                else:
                    self._n_selected += 1
                    yield runner, case
                    continue
                self._left_out[reason] = self._left_out.get(reason, 0) + 1

    def shares(self, target: Target) -> bool:
        """Whether several workers must take turns on a target."""
        if target.owned or not self._several_workers:
            return False
        return any(i.label == target.label and not i.serves_several for i in self._infos)

    # --- what was found

    def info(self, *, complete: bool = False) -> RunInfo:
        """The run as it is known now."""
        now = datetime.datetime.now(datetime.UTC)
        return RunInfo(
            suite=_version(),
            started=self._started.isoformat(timespec="seconds"),
            tier=self._tier.value,
            targets=tuple(self._infos),
            arguments=tuple(str(a) for a in self._config.invocation_params.args),
            platform=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            destructive=bool(
                self._config.getoption("--destructive") or self._config.getoption("--target-cmd")
            ),
            left_out=dict(self._left_out),
            selected=self._n_selected,
            seconds=round((now - self._started).total_seconds(), 3),
            complete=complete,
            server_losses=self._losses,
        )

    def pytest_report_header(self) -> list[str]:
        """What is under test."""
        if self._is_worker or self._workers():
            return []
        return [
            f"target: {i.label} announces {i.version or 'nothing'}, {i.devices} device(s), "
            f"serves {'several clients' if i.serves_several else 'one client'} at a time"
            for i in self._probed()
        ]

    def _probed(self) -> list[TargetInfo]:
        self.runners()
        return self._infos

    def pytest_collection_finish(self) -> None:
        """Open the results file, now that it is known what will run."""
        self._open()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a result, from this process or from a worker."""
        if self._is_worker or report.when != "call":
            return
        data = dict(report.user_properties).get(PROPERTY)
        if data is None:
            return
        result = result_from_json(json.loads(data))
        self._results.append(result)
        self._open()
        if self._file is not None:
            write_result(self._file, result)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Verdicts in place of passed and failed."""
        data = dict(report.user_properties).get(PROPERTY)
        if report.when != "call" or data is None:
            return None
        verdict = Verdict(json.loads(data)["verdict"])
        category = {
            Verdict.PASS: "passed",
            Verdict.SKIP: "skipped",
            Verdict.NOTRUN: "skipped",
            Verdict.XFAIL: "xfailed",
        }.get(verdict, "failed" if report.failed else verdict.lower())
        return category, _LETTERS[verdict], verdict.value

    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended: what it knew of its target."""
        output = getattr(node, "workeroutput", {}).get(PROPERTY)
        if output:
            from ggmlrpc_conformance.results import run_from_json

            info = run_from_json(json.loads(output))
            self._losses += info.server_losses
            self._left_out, self._n_selected = dict(info.left_out), info.selected
            if not self._infos:
                self._infos = list(info.targets)

    def pytest_keyboard_interrupt(self) -> None:
        """Ctrl-C: the report says so."""
        self._interrupted = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop servers; on the main process end the file and set the exit code."""
        for target in self.targets:
            with contextlib.suppress(OSError):
                target.stop()
        self._losses += sum(t.losses for t in self.targets)
        if self._is_worker:
            self._config.workeroutput[PROPERTY] = json.dumps(to_json(self.info()))  # type: ignore[attr-defined]
            return
        if session.config.getoption("collectonly") or (exitstatus in (3, 4) and not self._results):
            return
        complete = not self._interrupted and exitstatus not in (2, 3)
        self._finish(complete)
        stale_ids = stale(self._known, all_cases())
        session.exitstatus = exit_code(
            self._results, selected=self._n_selected, stale=stale_ids, complete=complete
        )

    def _finish(self, complete: bool) -> None:
        info = self.info(complete=complete)
        if self._file is not None:
            write_end(self._file, info)
            self._file.close()
            self._file = None
        self._final = info

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The headline, what failed below MUST, and where the report is."""
        info = getattr(self, "_final", None)
        if info is None:
            return
        self._say(terminalreporter, info)

    def _say(self, reporter: Any, info: RunInfo) -> None:
        softer = [r for r in self._results if r.verdict.bad and not fails(r)]
        if softer:
            reporter.section("SHOULD and MAY")
            for result in softer:
                reporter.write_line(describe(result))
                reporter.write_line("")
        for name in stale(self._known, all_cases()):
            reporter.write_line(f"known deviation of no case: {name}")
        from ggmlrpc_conformance.publish import publish

        for line in publish(info, self._results, folder=self._config.getoption("--report")):
            reporter.write_line(line)

    def _open(self) -> None:
        folder = self._config.getoption("--report")
        if self._file is not None or self._is_worker or not folder:
            return
        if self._config.getoption("collectonly"):
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._file = (Path(folder) / RESULTS).open("w", encoding="utf-8")
        write_run(self._file, replace(self.info(), selected=self._n_selected))

    def _workers(self) -> bool:
        return bool(self._config.getoption("numprocesses", None))


_LETTERS = {
    Verdict.PASS: ".",
    Verdict.QUALITY: "q",
    Verdict.NONSTRICT: "n",
    Verdict.UNSUPPORTED: "u",
    Verdict.FLAKY: "y",
    Verdict.XPASS: "X",
    Verdict.FAIL: "F",
    Verdict.HANG: "H",
    Verdict.CRASH: "C",
    Verdict.HARNESS_ERROR: "E",
    Verdict.INFO: "i",
    Verdict.XFAIL: "x",
    Verdict.SKIP: "s",
    Verdict.NOTRUN: "-",
}


def _version() -> str:
    try:
        return metadata.version("ggmlrpc-conformance")
    except metadata.PackageNotFoundError:
        return "checkout"
