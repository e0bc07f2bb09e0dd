"""construct fields that exist in some versions only, and lengths that a dialect decides.

Every schema is parsed, built and sized with the parameters `version`, `max_src` and `max_name`
(`Dialect.params`).
"""

from __future__ import annotations

from typing import Any

import construct as c

from ggmlrpc_core.wire.version import ProtocolVersion


class Versioned(c.Subconstruct):
    """A field that is on the wire only from `since` on and before `until`; None elsewhere."""

    def __init__(
        self,
        subcon: Any,
        *,
        since: ProtocolVersion | None = None,
        until: ProtocolVersion | None = None,
    ) -> None:
        super().__init__(subcon)
        self.since = since
        self.until = until
        self.flagbuildnone = True

    def exists(self, version: ProtocolVersion) -> bool:
        """Whether the field is on the wire at a version."""
        return not (
            (self.since is not None and version < self.since)
            or (self.until is not None and version >= self.until)
        )

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        return self.subcon._parsereport(stream, context, path) if self._on(context) else None

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        return self.subcon._build(obj, stream, context, path) if self._on(context) else None

    def _sizeof(self, context: Any, path: str) -> int:
        return self.subcon._sizeof(context, path) if self._on(context) else 0

    def _on(self, context: Any) -> bool:
        return self.exists(context._params.version)


def since(version: ProtocolVersion, subcon: Any) -> Versioned:
    """A field that exists from `version` on."""
    return Versioned(subcon, since=version)


def until(version: ProtocolVersion, subcon: Any) -> Versioned:
    """A field that exists before `version`."""
    return Versioned(subcon, until=version)


max_src = c.this._params.max_src
max_name = c.this._params.max_name
