"""Who understands whom: the version rules of HELLO, from the client's side.

Source: docs/reference/protocol, HELLO and version rules.
"""

from __future__ import annotations

from ggmlrpc_core.wire.dialects import Dialect, by_version, dialect, spoken_names
from ggmlrpc_core.wire.version import ProtocolVersion


def stock_client_accepts(ours: ProtocolVersion, announced: ProtocolVersion) -> bool:
    """The rule of the stock client: equal major, and a minor that is not above its own."""
    return announced.major == ours.major and announced.minor <= ours.minor


def dialect_for(announced: ProtocolVersion) -> Dialect | None:
    """The dialect to speak to a server: its own version, else the newest patch of it; None if unknown."""
    exact = by_version(announced)
    if exact is not None:
        return exact
    near = [d for d in map(dialect, spoken_names()) if d.version[:2] == announced[:2]]
    return near[-1] if near else None


def hello_variants() -> list[Dialect]:
    """One dialect for each form of HELLO, newest first: a server closes when it gets another form."""
    forms: dict[tuple[int, int], Dialect] = {}
    for name in reversed(spoken_names()):
        hello = dialect(name).by_name.get("HELLO")
        if hello is not None and hello.reply is not None:
            forms.setdefault((hello.request.size, hello.reply.size), dialect(name))
    return list(forms.values())
