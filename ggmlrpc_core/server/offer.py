"""What a listener announces: one dialect, or by trial whatever its clients stay with (`auto`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from ggmlrpc_core.server.walk import Walk
from ggmlrpc_core.wire.clients import before_hello, foreign_hellos, forms_of
from ggmlrpc_core.wire.dialects import Dialect, dialect, newest, states_of

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Offer:
    """What is announced on one listener.

    Attributes:
        name: as the operator said it.
        dialect: what is announced; the newest while nothing is known of a client.
        pinned: the name means one state, which is then used wherever it can be.
        walk: where each peer is in the list of versions; None when one dialect is announced to all.
    """

    name: str
    dialect: Dialect
    pinned: bool
    walk: Walk | None = None

    @classmethod
    def of(
        cls, name: str | Dialect | None = None, *, clock: Callable[[], float] = monotonic
    ) -> Offer:
        """From the name of a dialect, a dialect, "auto", or None for the newest.

        Raises:
            LocalProtocolError: no such dialect.
        """
        if isinstance(name, Dialect):
            name = name.name
        if name == AUTO:
            return cls(AUTO, newest(), False, Walk(clock))
        found = newest() if name is None else dialect(name)
        pinned = found.name == name or len(states_of(found.label)) <= 1
        return cls(name or found.name, found, pinned)

    @property
    def candidates(self) -> tuple[Dialect, ...]:
        """What a client may be found to speak by its first message; `dialect` is the first."""
        old = forms_of(before_hello()) if self.walk is not None else ()
        return (*forms_of(self.dialect), *foreign_hellos(self.dialect), *old)

    def __str__(self) -> str:
        return self.name if self.walk is None else "every version, by trial (auto)"
