"""What options of several subcommands have in common: sizes such as `16G`, lists of devices."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

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


class NetworkType(click.ParamType):
    """An address or a network of addresses."""

    name = "network"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> IPv4Network | IPv6Network:
        """Text to a network."""
        try:
            return ip_network(str(value), strict=False)
        except ValueError:
            self.fail(f"{value!r} is not a network such as 192.168.1.0/24 or fd00::/8", param, ctx)


NETWORK = NetworkType()


class ListenType(click.ParamType):
    """A further listener, `[HOST:]PORT=NAME`."""

    name = "listen"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Text to (endpoint without a host where none was said, name)."""
        if isinstance(value, tuple):
            return value
        where, equals, dialect = str(value).rpartition("=")
        if not (where and equals and dialect):
            self.fail(f"{value!r} is not a port and a dialect such as 50053=3.6.1", param, ctx)
        return where, dialect


LISTEN = ListenType()


def listen_endpoint(where: str, host: str) -> str:
    """The endpoint of `--listen`: a port alone is on the host of `--host`."""
    if not where.isdecimal():
        return where
    if host.startswith("unix:"):
        host = "127.0.0.1"  # a port is for TCP
    return f"[{host}]:{where}" if ":" in host else f"{host}:{where}"


OTHER_RECORDING = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="Folder to make, or one file when it ends in .zip.",
)
"""Where a command that changes a recording writes the other one."""

HELP = {"help_option_names": ["-h", "--help"]}
"""Context settings of every subcommand."""


def split_names(text: str | None) -> list[str]:
    """Names of devices, split at `,` and `/` as the stock server does."""
    return [name for name in re.split("[,/]+", text or "") if name]
