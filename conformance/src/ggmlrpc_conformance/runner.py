"""Runs one case on one target: timeouts, endings, liveness, restart, and who it was that ended a server."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ggmlrpc_conformance.case import SECONDS, Case, Said, Tier
from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import (
    CaseFault,
    NoAnswer,
    NoServer,
    NotApplicable,
    StreamEnded,
)
from ggmlrpc_conformance.judge import said_of, worse
from ggmlrpc_conformance.known import Deviation, apply_known
from ggmlrpc_conformance.results import CaseResult, Crash, Ending, Verdict
from ggmlrpc_conformance.target import Target
from ggmlrpc_core.wire.dialects import Dialect

RETURN_SECONDS = 5.0
"""How long a server that the suite did not start may take to come back."""
MAX_SUSPECTS = 5


@dataclass
class Runner:
    """All cases on one target in one dialect.

    Attributes:
        target, dialect, device: where and how.
        n_devices: of the server.
        serves_several: a second client is answered while the first is idle; None when it is not known.
        reference: endpoint of a server whose results are expected of ops; empty for the reference ops.
        tier: that the run asked for.
        timeout_factor: of all timeout classes.
        known: deviations of the server.
        lost: no server is left; what follows is not run.
    """

    target: Target
    dialect: Dialect
    device: int = 0
    n_devices: int = 1
    serves_several: bool | None = None
    reference: str = ""
    tier: Tier = Tier.DEFAULT
    timeout_factor: float = 1.0
    known: tuple[Deviation, ...] = ()
    lost: str = ""
    _since_alive: list[str] = field(default_factory=list)

    def run(self, case: Case) -> CaseResult:
        """The result of one case; never raises for what a target does."""
        started = time.monotonic()
        if self.lost:
            return self._result(case, verdict=Verdict.NOTRUN, reason=self.lost)
        try:
            if case.n_devices > self.n_devices:
                raise NotApplicable(
                    f"the server has {self.n_devices} devices, the case needs {case.n_devices}"
                )
            result = self._attributed(case)
        except NotApplicable as exc:
            result = self._result(case, verdict=Verdict.SKIP, reason=str(exc))
        result = replace(result, seconds=round(time.monotonic() - started, 6))
        return apply_known(result, self.known)

    def _attributed(self, case: Case) -> CaseResult:
        """Run it; when the server is gone afterwards, find out who ended it."""
        self._since_alive = [*self._since_alive[-MAX_SUSPECTS:], case.id]
        result, alive = self._once(case)
        if alive:
            self._since_alive = []
            return self._measured(case, result)
        suspects = tuple(self._since_alive)
        exit_text, output = self.target.exit_text(), self.target.output()
        self.target.losses += 1
        if not self._revive():
            self.lost = f"the server did not come back after {case.id}"
            crash = Crash(None, exit_text, suspects)
            return self._crashed(result, Verdict.CRASH, crash=crash, output=output)
        again, alive = self._once(case)
        if alive:
            self._since_alive = []
            crash = Crash(False, exit_text, suspects)
            return self._crashed(result, Verdict.FLAKY, crash=crash, output=output)
        exit_text, output = self.target.exit_text(), self.target.output()
        self.target.losses += 1
        if not self._revive():
            self.lost = f"the server did not come back after {case.id}"
        self._since_alive = []
        crash = Crash(True, exit_text, (case.id,))
        return self._crashed(again, Verdict.CRASH, crash=crash, output=output)

    def _crashed(
        self, result: CaseResult, verdict: Verdict, *, crash: Crash, output: str
    ) -> CaseResult:
        ended = f"the server ended ({crash.exit})" if crash.exit else "no new connection is served"
        return replace(
            result,
            verdict=verdict,
            ending=Ending.DIED,
            ending_verdict=verdict,
            expected=result.expected or "a server that lives",
            found=ended,
            crash=crash,
            server_output=output[-4000:],
        )

    def _measured(self, case: Case, result: CaseResult) -> CaseResult:
        if not case.scored and result.verdict is not Verdict.HARNESS_ERROR:
            return replace(result, verdict=Verdict.INFO)
        if result.verdict.bad or result.verdict is Verdict.UNSUPPORTED:
            return replace(result, server_output=self.target.output())
        return result

    def _revive(self) -> bool:
        """Start the server again, or wait for somebody else to."""
        if self.target.owned:
            try:
                self.target.restart()
            except NoServer:
                return False
            return True
        with self._context(SECONDS["quick"]) as ctx:
            deadline = time.monotonic() + RETURN_SECONDS
            while time.monotonic() < deadline:
                if ctx.alive(timeout=SECONDS["quick"]):
                    return True
                time.sleep(0.2)
        return False

    def _once(self, case: Case) -> tuple[CaseResult, bool]:
        """One run, and whether the server lives after it."""
        with self._context(SECONDS[case.timeout]) as ctx:
            self.target.mark_output()
            said = self._say(case, ctx)
            alive = said.ending is Ending.KEPT or ctx.alive()
            verdict = worse(said.reply, said.ending_verdict)
            result = self._result(
                case,
                verdict=verdict,
                reply=said.reply,
                ending=said.ending,
                ending_verdict=said.ending_verdict,
                expected=said.expected,
                found=said.found,
                messages=() if verdict is Verdict.PASS else tuple(ctx.messages),
                accuracy=ctx.accuracy,
                steps=ctx.steps,
            )
        return result, alive

    def _say(self, case: Case, ctx: Context) -> Said:
        """Body and ending, with what they raise made into what they mean."""
        try:
            if case.hello:
                ctx.connect()
            said = case.body(ctx) or Said()
            if said.ending is Ending.NONE and case.ending == "kept" and "a" in ctx.links:
                said = self._ending(ctx, said)
            return said
        except NotApplicable:
            raise
        except Exception as error:  # a fault of the suite must not end the run
            return said_of(case, error)

    def _ending(self, ctx: Context, said: Said) -> Said:
        """Whether the connection still answers."""
        try:
            ctx.links["a"].barrier()
            return replace(said, ending=Ending.KEPT)
        except StreamEnded as exc:
            return replace(
                said,
                ending=Ending.RESET if exc.reset else Ending.CLOSED,
                ending_verdict=Verdict.FAIL,
                expected="a connection that goes on",
                found=exc.found,
            )
        except NoAnswer as exc:
            return replace(
                said,
                ending=Ending.HUNG,
                ending_verdict=Verdict.HANG,
                expected="a connection that goes on",
                found=exc.found,
            )
        except CaseFault as exc:
            return replace(said, reply=Verdict.FAIL, expected=exc.expected, found=exc.found)

    @contextlib.contextmanager
    def _context(self, timeout: float) -> Iterator[Context]:
        ctx = Context(
            self.target,
            self.dialect,
            device=self.device,
            timeout=timeout * self.timeout_factor,
            patience=SECONDS["op"] * self.timeout_factor,
            n_devices=self.n_devices,
            serves_several=self.serves_several,
            reference=self.reference,
            tier=self.tier.value,
        )
        try:
            yield ctx
        finally:
            ctx.close()

    def _result(self, case: Case, *, verdict: Verdict, **more: object) -> CaseResult:
        return CaseResult(
            case_id=case.id,
            number=case.number,
            title=case.title,
            area=case.area,
            clauses=case.clauses,
            level=case.level,
            tier=case.tier.value,
            target=self.target.label,
            dialect=self.dialect.name,
            device=self.device,
            verdict=verdict,
            op=case.op,
            types=case.types,
            repro=self._repro(case),
            **more,  # type: ignore[arg-type]
        )

    def _repro(self, case: Case) -> str:
        where = (
            ["--target-cmd", self.target.command]
            if self.target.owned
            else ["--target", self.target.label]
        )
        parts = ["pytest", "--pyargs", "ggmlrpc_conformance", *where]
        parts += ["--dialect", self.dialect.name, "--case", case.id]
        if self.device:
            parts += ["--device", str(self.device)]
        if case.destructive and not self.target.owned:
            parts.append("--destructive")
        return shlex.join(parts)
