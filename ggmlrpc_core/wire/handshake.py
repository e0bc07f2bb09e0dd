"""Who understands whom: the version rules of HELLO, from the client's side.

Source: docs/reference/protocol, HELLO and version rules.
"""

from __future__ import annotations

from ggmlrpc_core.wire.commands import HELLO
from ggmlrpc_core.wire.dialects import Dialect, dialect, dialect_names, fork_names
from ggmlrpc_core.wire.differences import harmful
from ggmlrpc_core.wire.version import ProtocolVersion


def stock_client_accepts(ours: ProtocolVersion, announced: ProtocolVersion) -> bool:
    """The rule of the stock client: equal major, and a minor that is not above its own."""
    return announced.major == ours.major and announced.minor <= ours.minor


def may_speak(ours: Dialect, announced: ProtocolVersion) -> bool:
    """Whether a client may insist on a dialect: with its own version, one that differs in nothing that breaks it, or an
    unknown one that the stock client of the dialect accepts."""
    known = announcing(announced)
    if ours.version == announced:
        return True
    accepted = stock_client_accepts(ours.version, announced)
    return accepted and (not known or any(not harmful(ours, one) for one in known))


def announcing(version: ProtocolVersion) -> tuple[Dialect, ...]:
    """Every state that announces a version, oldest first; none when the version is unknown."""
    names = [*dialect_names(), *fork_names()]
    return tuple(d for d in map(dialect, names) if HELLO in d.by_name and d.version == version)


def announced_labels() -> list[str]:
    """Labels of every version that can be announced, oldest first, upstream before the fork."""
    names = [*dialect_names(), *fork_names()]
    return list(dict.fromkeys(d.label for d in map(dialect, names) if HELLO in d.by_name))


def hello_forms() -> list[Dialect]:
    """One state for each form of HELLO, newest first: a server closes when it gets another form."""
    forms: dict[int, Dialect] = {}
    for one in map(dialect, reversed(dialect_names())):
        if one.hello_size is not None:
            forms.setdefault(one.hello_size, one)
    return list(forms.values())


def nearest(version: ProtocolVersion) -> Dialect | None:
    """The state that a client could be told to speak to an unknown version, by the rule of the stock client."""
    known = [d for d in map(dialect, dialect_names()) if HELLO in d.by_name]
    fitting = [d for d in known if stock_client_accepts(d.version, version)]
    return fitting[-1] if fitting else None
