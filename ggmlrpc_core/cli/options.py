"""What options of several subcommands have in common: sizes such as `16G`, lists of devices."""

from __future__ import annotations

import re

import click

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class SizeType(click.ParamType):
    """Bytes, with a binary suffix."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Text to bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size such as 512M or 16G", param, ctx)
        return int(float(match[1]) * _UNITS[match[2].upper()])


SIZE = SizeType()

HELP = {"help_option_names": ["-h", "--help"]}
"""Context settings of every subcommand."""


def split_names(text: str | None) -> list[str]:
    """Names of devices, split at `,` and `/` as the stock server does."""
    return [name for name in re.split("[,/]+", text or "") if name]
