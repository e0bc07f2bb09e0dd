"""A tolerance on the command line: `exact`, `nmse=1e-4`, `abs=1e-3`, or two of them with a comma."""

from __future__ import annotations

import click

_RULES = ("nmse", "abs")


class ToleranceType(click.ParamType):
    """Bounds by rule, as in the head of a recording."""

    name = "tolerance"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        """Text to bounds; "exact" is a bound of 0."""
        if isinstance(value, dict):
            return value
        found: dict[str, float] = {}
        for part in ["nmse=0"] if value == "exact" else str(value).split(","):
            rule, _, bound = part.partition("=")
            try:
                found[rule] = float(bound)
            except ValueError:
                rule = ""
            if rule not in _RULES or not 0 <= found[rule] < float("inf"):
                self.fail(
                    f"{value!r} is not a tolerance such as nmse=1e-4, abs=1e-3 or exact", param, ctx
                )
        return found


TOLERANCE = ToleranceType()
