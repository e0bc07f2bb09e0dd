"""What a replay found: one check per message, and the sum of them in words and as JSON. Knows no socket."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MAX_FAULTS = 20
"""Faults that are printed in full."""


@dataclass(frozen=True, slots=True)
class Check:
    """One message that was replayed.

    Attributes:
        line: where it is in the recording.
        conn: its connection.
        command: name; "open" and "close" for the ends of a connection.
        fault: what is wrong, "" when nothing is.
        equal: for data: byte for byte as expected; None when nothing was compared.
        nmse: of data that was compared as values.
    """

    line: int
    conn: int
    command: str
    fault: str = ""
    equal: bool | None = None
    nmse: float | None = None


@dataclass
class Report:
    """All checks of one replay.

    Attributes:
        name: of the recording.
        target: the server, or servers.
        checks: in order; those of messages that could not be sent are not there.
        unsent: messages that could not be sent, because their connection was lost.
        complete: whether the recording has its end.
    """

    name: str
    target: str
    checks: list[Check] = field(default_factory=list)
    unsent: int = 0
    complete: bool | None = None

    @property
    def faults(self) -> list[Check]:
        """What went wrong."""
        return [c for c in self.checks if c.fault]

    @property
    def ok(self) -> bool:
        """Whether a client would have noticed nothing."""
        return not self.faults and not self.unsent

    @property
    def worst(self) -> float | None:
        """Largest nmse of data that was compared as values."""
        return max((c.nmse for c in self.checks if c.nmse is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """For --json."""
        data = [c for c in self.checks if c.equal is not None]
        return {
            "recording": self.name,
            "target": self.target,
            "ok": self.ok,
            "messages": len([c for c in self.checks if c.command not in ("open", "close")]),
            "connections": len({c.conn for c in self.checks}),
            "data": {"compared": len(data), "equal": sum(bool(c.equal) for c in data)},
            "worst_nmse": self.worst,
            "unsent": self.unsent,
            "complete": self.complete,
            "faults": [
                {"line": c.line, "connection": c.conn, "command": c.command, "fault": c.fault}
                for c in self.faults
            ],
        }

    def text(self) -> str:
        """For a terminal: faults first, then the sum, then the verdict."""
        sums = self.to_dict()
        lines = [
            f"{self.name} line {c.line}: connection {c.conn}: {c.command}: {c.fault}"
            for c in self.faults[:MAX_FAULTS]
        ]
        if len(self.faults) > MAX_FAULTS:
            lines.append(f"and {len(self.faults) - MAX_FAULTS} more faults")
        counts = f"{sums['messages']} messages on {sums['connections']} connections"
        data = sums["data"]
        worst = "" if self.worst is None else f", worst nmse {self.worst:.2g}"
        lines.append(f"{counts}, {data['equal']} of {data['compared']} answers equal{worst}")
        if self.unsent:
            lines.append(f"{self.unsent} messages were not sent, their connection was lost")
        if self.complete is False:
            lines.append("the recording has no end: its recorder was stopped hard")
        verdict = "ok" if self.ok else f"{len(self.faults)} faults"
        lines.append(f"{self.name} on {self.target}: {verdict}")
        return "\n".join(lines)

    def by_command(self) -> Counter[str]:
        """Messages by command."""
        return Counter(c.command for c in self.checks if c.command not in ("open", "close"))
