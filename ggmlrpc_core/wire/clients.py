"""Who may be at the other end: the clients that stay when a server announces a dialect.

A server never learns a client's version. It knows the length of HELLO, and that a stock client goes on only if the
announced major is its own and the announced minor is not above its own (handshake.py).
"""

from __future__ import annotations

from functools import cache

from ggmlrpc_core.wire.dialects import (
    Dialect,
    dialect,
    dialect_names,
    fork_names,
    with_long_names,
    with_usual_names,
)
from ggmlrpc_core.wire.version import ProtocolVersion


@cache
def clients_of(announced: Dialect) -> tuple[Dialect, ...]:
    """States of clients that stay, newest first: upstream, then the fork; names of the usual length.

    Before HELLO nothing is announced, so every state without it is possible.
    """
    every = [dialect(name) for name in (*reversed(dialect_names()), *reversed(fork_names()))]
    ours = announced.version
    return tuple(
        d
        for d in every
        if d.hello_size == announced.hello_size
        and (
            announced.hello_size is None
            or (d.version.major == ours.major and d.version.minor >= ours.minor)
        )
    )


@cache
def forms_of(announced: Dialect) -> tuple[Dialect, ...]:
    """One state for each form (Dialect.form) that a client may have; `announced` is first.

    Every form is there with names of the usual length and with long ones.
    """
    forms = {announced.form: announced}
    for client in (announced, *clients_of(announced)):
        for one in _both(client):
            forms.setdefault(one.form, one)
    return tuple(forms.values())


def _both(client: Dialect) -> tuple[Dialect, Dialect]:
    """A state with names of the usual length, and with long ones."""
    return with_usual_names(client), with_long_names(client)


@cache
def states_of_forms(announced: Dialect, forms: tuple[Dialect, ...]) -> tuple[Dialect, ...]:
    """Every state of a client that stays and has one of the forms; `announced` itself is first where it has."""
    wanted = {form.form for form in forms}
    found = dict.fromkeys([announced] if announced.form in wanted else [])
    for client in clients_of(announced):
        for one in _both(client):
            if one.form in wanted:
                found[one] = None
    return tuple(found)


@cache
def offers(hello_size: int) -> tuple[Dialect, ...]:
    """What can be announced to clients with a HELLO of this length: the last of each major.minor, newest first."""
    last: dict[tuple[int, int], Dialect] = {}
    for name in reversed(dialect_names()):
        one = dialect(name)
        if one.hello_size == hello_size:
            last.setdefault((one.version.major, one.version.minor), one)
    return tuple(last.values())


@cache
def groups() -> dict[int | None, tuple[ProtocolVersion, ProtocolVersion]]:
    """First and last version of upstream for each length of HELLO; None for those without it."""
    found: dict[int | None, tuple[ProtocolVersion, ProtocolVersion]] = {}
    for name in dialect_names():
        one = dialect(name)
        first, _ = found.get(one.hello_size, (one.version, one.version))
        found[one.hello_size] = (first, one.version)
    return found


def foreign_hellos(announced: Dialect) -> tuple[Dialect, ...]:
    """The last state for each other length of HELLO: the first message tells who does not belong here."""
    sizes = [size for size in groups() if size is not None and size != announced.hello_size]
    return tuple(offers(size)[0] for size in sizes)


def before_hello() -> Dialect:
    """The last state without HELLO."""
    every = [dialect(name) for name in dialect_names()]
    return [one for one in every if one.hello_size is None][-1]
