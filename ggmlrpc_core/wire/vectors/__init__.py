"""Test vectors: real messages with their fields, one file per command.

Each `[[vector]]` has the version, where it comes from, the request's payload in hex, the reply's
where there is one, and the fields that they hold. Numbers above 2^63 and bytes are text ("0x...",
"hex:..."), because TOML has neither.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Vector:
    """One message and what it means.

    Attributes:
        command: name.
        version: name of the dialect.
        source: where the bytes come from.
        request: payload without the header of 9 bytes.
        reply: payload without its length; None where nothing is answered.
        fields: of the fixed part of the request, as Layout.unpack gives them; nested lists are left out.
        reply_fields: of the reply; empty when it is data.
    """

    command: str
    version: str
    source: str
    request: bytes
    reply: bytes | None
    fields: dict[str, Any]
    reply_fields: dict[str, Any]


def load_vectors() -> list[Vector]:
    """Every vector, by command."""
    found = []
    for entry in sorted(resources.files(__name__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            for v in tomllib.loads(entry.read_text(encoding="utf-8"))["vector"]:
                found.append(
                    Vector(
                        command=entry.name.removesuffix(".toml").upper(),
                        version=v["version"],
                        source=v["source"],
                        request=bytes.fromhex(v["request"]),
                        reply=bytes.fromhex(v["reply"]) if "reply" in v else None,
                        fields=_values(v.get("fields", {})),
                        reply_fields=_values(v.get("reply_fields", {})),
                    )
                )
    return found


def _values(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _values(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(_values(v) for v in value)
    if isinstance(value, str) and value.startswith("hex:"):
        return bytes.fromhex(value[4:])
    if isinstance(value, str):
        return int(value, 16) if value.startswith("0x") else value.encode()
    return value
