"""What one case found, and what a whole run was: the values that reports are made of, and their JSON Lines.

A results file has a `run` line, a line per case as it ends, and an `end` line. A file without its end is valid up to
its last whole line: an interrupted run is a shorter run. Knows no socket, no pytest and no page.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Any

FORMAT = 1
"""Number of the format of results files; readers refuse a higher one."""


class Verdict(StrEnum):
    """What is said of one case, or of one half of it. `severity` orders them."""

    PASS = "PASS"
    QUALITY = "QUALITY"  # inside the interop limit, outside the tight one
    NONSTRICT = "NONSTRICT"  # allowed, but not what the clause asks for
    UNSUPPORTED = "UNSUPPORTED"  # refused by closing, server alive: counted, never a pass
    FLAKY = "FLAKY"  # another outcome when run again alone
    XPASS = "XPASS"  # listed as a known deviation, and passed: the list is stale
    FAIL = "FAIL"
    HANG = "HANG"  # nothing within the timeout, new connections are served
    CRASH = "CRASH"  # the server ended, again when the case ran alone
    HARNESS_ERROR = "HARNESS-ERROR"  # the suite is wrong, not the target
    INFO = "INFO"  # measured, not judged
    XFAIL = "XFAIL"  # listed as a known deviation, and failed
    SKIP = "SKIP"  # left out, with a reason
    NOTRUN = "NOTRUN"  # no server was left to run it on

    @property
    def severity(self) -> int:
        """Higher is worse; verdicts that say nothing of the target are below PASS."""
        return _SEVERITY[self]

    @property
    def good(self) -> bool:
        """The clause is kept."""
        return self in (Verdict.PASS, Verdict.QUALITY, Verdict.NONSTRICT)

    @property
    def bad(self) -> bool:
        """The clause is broken, and the target is to blame."""
        return self in (Verdict.FAIL, Verdict.HANG, Verdict.CRASH)

    @property
    def judged(self) -> bool:
        """The case was run and says something of the target."""
        return self not in (Verdict.INFO, Verdict.SKIP, Verdict.NOTRUN, Verdict.HARNESS_ERROR)


_WORSE = (
    Verdict.SKIP, Verdict.NOTRUN, Verdict.INFO, Verdict.XFAIL, Verdict.PASS, Verdict.QUALITY, Verdict.NONSTRICT,
    Verdict.UNSUPPORTED, Verdict.FLAKY, Verdict.XPASS, Verdict.FAIL, Verdict.HANG, Verdict.CRASH,
    Verdict.HARNESS_ERROR,
)  # fmt: skip
_SEVERITY = {verdict: rank for rank, verdict in enumerate(_WORSE)}


class Ending(StrEnum):
    """How the connection of a case ended."""

    KEPT = "kept"  # a question after the last step was answered
    CLOSED = "closed"  # end of stream
    RESET = "reset"
    HUNG = "hung"  # neither an answer nor an end within the timeout
    DIED = "died"  # no new connection is served either
    NONE = "none"  # the case does not judge it


class Level(StrEnum):
    """Of the first clause that a case cites. Only MUST decides the exit code."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


@dataclass(frozen=True, slots=True)
class Message:
    """One line of what was said, decoded.

    Attributes:
        connection: "a" for the first connection of the case, then "b" and so on.
        sent: by the suite; else by the target.
        command: name; "raw" for literal bytes, "end" for the end of a stream, "note" for a remark.
        size: payload bytes.
        fields: name to text, with symbolic handles ("buffer x", "x + 128") in place of numbers.
    """

    connection: str
    sent: bool
    command: str
    size: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Crash:
    """Who ended the server.

    Attributes:
        again: it ended again when the case ran alone on a fresh server; None when it could not be tried.
        exit: how the process ended, "signal SIGSEGV" or "exit status 1"; empty when it is not ours.
        suspects: ids of the cases that ran since the server was last known to live.
    """

    again: bool | None
    exit: str = ""
    suspects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Numbers of one op case; stored for passes too.

    Attributes:
        nmse: normalised mean square error of the worst output.
        row: the same of the worst row.
        largest: largest difference over the root mean square of the reference.
        interop: limit of nmse that decides between pass and fail.
        tight: limit below which it is PASS and not QUALITY.
        same_bits: two runs gave equal bits; None when it ran once.
    """

    nmse: float
    row: float
    largest: float
    interop: float
    tight: float
    same_bits: bool | None = None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The outcome of one case in one dialect on one device of one target.

    Attributes:
        case_id: permanent, "wire.hello.empty-body"; without dialect and device.
        number: permanent short number, "C0137".
        title: what the case does, one line.
        area: first part of the id: wire, cmd, state, op, graph, session, bad, conc, fault, limit, leak, meta.
        clauses: ids of the specification; the first decides the level.
        level: see Level.
        tier: smoke, default or full.
        target: label of the target, "host:50052".
        dialect: name; of the suite's side.
        device: index.
        verdict: the worse of the two below, after known deviations and attribution.
        reply: what is said of the answers.
        ending: how the connection ended.
        ending_verdict: what is said of that.
        expected, found: one sentence each; empty when good.
        messages: the last ones exchanged, oldest first.
        seconds: of the case, with its repetition.
        op: "MUL_MAT", "UNARY/EXP", "GLU/REGLU" for cases of one op; else empty.
        types: types of the op's cell, "Q4_0 F32"; else empty.
        accuracy: of op cases that were compared.
        crash: when the server ended.
        server_output: last lines of a server that the suite started; when the verdict is bad or UNSUPPORTED.
        reason: of SKIP, NOTRUN, XFAIL, XPASS; with a link where there is one.
        repro: a command line that runs this case alone.
        steps: for cases of the client matrix (session), verdict of each of its stages.
    """

    case_id: str
    number: str
    title: str
    area: str
    clauses: tuple[str, ...]
    level: Level
    tier: str
    target: str
    dialect: str
    device: int
    verdict: Verdict
    reply: Verdict = Verdict.PASS
    ending: Ending = Ending.NONE
    ending_verdict: Verdict = Verdict.PASS
    expected: str = ""
    found: str = ""
    messages: tuple[Message, ...] = ()
    seconds: float = 0.0
    op: str = ""
    types: str = ""
    accuracy: Accuracy | None = None
    crash: Crash | None = None
    server_output: str = ""
    reason: str = ""
    repro: str = ""
    steps: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def full_id(self) -> str:
        """Id with dialect and device: unique within a target."""
        return full_id(self.case_id, self.dialect, self.device)

    @property
    def scored(self) -> bool:
        """It counts for or against the target."""
        return self.verdict.judged and self.verdict is not Verdict.UNSUPPORTED


def full_id(case_id: str, dialect: str, device: int = 0) -> str:
    """`wire.hello@7.0.0`; device 0 is left out, `...@7.0.0:1` is device 1."""
    return f"{case_id}@{dialect}" + (f":{device}" if device else "")


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What the probe found.

    Attributes:
        label: as on the command line.
        command: of --target-cmd, or empty.
        version: "7.0.0" as announced; empty before HELLO existed, or when nothing was.
        dialects: that the run encodes cases for.
        devices, alignment, max_size, free, total: as answered; of device 0.
        serves_several: a second client is answered while the first is idle.
    """

    label: str
    command: str = ""
    version: str = ""
    dialects: tuple[str, ...] = ()
    devices: int = 1
    alignment: int = 0
    max_size: int = 0
    free: int = 0
    total: int = 0
    serves_several: bool | None = None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run of the suite.

    Attributes:
        suite: version of the suite.
        started: ISO 8601, UTC.
        seconds: of the whole run; 0 while it lasts.
        tier: that was asked for.
        targets: one or more.
        arguments: of the command line.
        platform: of the suite's machine.
        destructive: such cases were run.
        left_out: reason to number of cases that were not selected.
        selected: cases that should run.
        complete: the run came to its end.
        server_losses: how often a server ended.
    """

    suite: str
    started: str
    tier: str
    targets: tuple[TargetInfo, ...]
    arguments: tuple[str, ...] = ()
    platform: str = ""
    destructive: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)
    selected: int = 0
    seconds: float = 0.0
    complete: bool = False
    server_losses: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A results file as read: what ran, and what it found, in the order of ending."""

    info: RunInfo
    results: tuple[CaseResult, ...]


def to_json(value: RunInfo | CaseResult) -> dict[str, Any]:
    """Plain values for JSON; empty fields are left out."""
    plain = dataclasses.asdict(value)
    return {k: v for k, v in plain.items() if v not in ("", (), [], {}, None) or k == "verdict"}


def result_from_json(data: Mapping[str, Any]) -> CaseResult:
    """The reverse of to_json. Unknown fields are ignored, missing ones take their default."""
    values = _known(CaseResult, data)
    for name, kind in (("verdict", Verdict), ("reply", Verdict), ("ending_verdict", Verdict)):
        if name in values:
            values[name] = kind(values[name])
    values["level"] = Level(values["level"])
    if "ending" in values:
        values["ending"] = Ending(values["ending"])
    values["clauses"] = tuple(values.get("clauses", ()))
    values["messages"] = tuple(Message(**_known(Message, m)) for m in values.get("messages", ()))
    values["steps"] = {k: Verdict(v) for k, v in values.get("steps", {}).items()}
    if values.get("accuracy"):
        values["accuracy"] = Accuracy(**_known(Accuracy, values["accuracy"]))
    if values.get("crash"):
        crash = _known(Crash, values["crash"])
        values["crash"] = Crash(**{**crash, "suspects": tuple(crash.get("suspects", ()))})
    return CaseResult(**values)


def run_from_json(data: Mapping[str, Any]) -> RunInfo:
    """The reverse of to_json."""
    values = _known(RunInfo, data)
    targets = [_known(TargetInfo, t) for t in values.get("targets", ())]
    values["targets"] = tuple(
        TargetInfo(**{**t, "dialects": tuple(t.get("dialects", ()))}) for t in targets
    )
    values["arguments"] = tuple(values.get("arguments", ()))
    return RunInfo(**values)


def write_run(file: IO[str], info: RunInfo) -> None:
    """Write the first line."""
    _line(file, {"format": FORMAT, "run": to_json(info)})


def write_result(file: IO[str], result: CaseResult) -> None:
    """Write one line and flush it."""
    _line(file, {"case": to_json(result)})


def write_end(file: IO[str], info: RunInfo) -> None:
    """Write the last line; its run replaces that of the first."""
    _line(file, {"end": to_json(info)})


def read_run(lines: Iterable[str]) -> Run:
    """Read a results file; one that was cut is read as far as it goes.

    Raises:
        ValueError: no `run` line at the start, or a format that is newer than this reader.
    """
    info: RunInfo | None = None
    results: list[CaseResult] = []
    for entry in _entries(lines):
        if "run" in entry:
            if entry.get("format", 0) > FORMAT:
                raise ValueError(f"results: format is {entry['format']}, expected at most {FORMAT}")
            info = run_from_json(entry["run"])
        elif "case" in entry:
            results.append(result_from_json(entry["case"]))
        elif "end" in entry:
            info = run_from_json(entry["end"])
    if info is None:
        raise ValueError("results: the first line is not a run, expected one")
    return Run(info, tuple(results))


def _entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.endswith("\n"):
            return  # cut in the middle of writing
        entry = json.loads(line)
        if isinstance(entry, dict):
            yield entry


def _known(kind: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(kind)}
    return {k: v for k, v in data.items() if k in names}


def _line(file: IO[str], data: Mapping[str, Any]) -> None:
    file.write(json.dumps(data, separators=(",", ":"), allow_nan=True) + "\n")
    file.flush()
