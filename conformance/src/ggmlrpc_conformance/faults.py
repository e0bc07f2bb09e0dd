"""What can come between a case and its end, as exceptions. The runner turns each into a verdict."""

from __future__ import annotations


class CaseFault(Exception):
    """Abstract.

    Args:
        expected: what the clause asks for, one clause of a sentence.
        found: what the target did.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"expected {self.expected}, found {self.found}"


class Mismatch(CaseFault):
    """The target said or did something else."""


class StreamEnded(CaseFault):
    """The target closed where an answer was due.

    Args:
        reset: by RST and not by FIN.
    """

    def __init__(self, expected: str, found: str, *, reset: bool = False) -> None:
        super().__init__(expected, found)
        self.reset = reset


class NoAnswer(CaseFault):
    """Nothing came within the timeout."""


class NoServer(CaseFault):
    """A new connection was refused or not greeted: the server is gone, or full."""


class NotApplicable(Exception):
    """The case cannot be said to this target; carries the reason. A visible skip."""


class HarnessError(Exception):
    """The suite is wrong: a case that makes no sense, or a message that breaks the schema unintentionally."""
