"""What one client speaks: what was announced to it, what its messages can be, and what its graphs mean.

The engine drops what lengths rule out (engine/readings.py). Here is what meaning tells: handles that this session gave
out, uploads that are as long as their tensor, graphs that make sense. Whatever is decided is told in one log line with
the `--dialect` that makes it unnecessary to decide. Knows no socket.

Source of the rules: docs/explanation/dialects.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ggmlrpc_core.engine.connection import Connection
from ggmlrpc_core.engine.limits import Limits
from ggmlrpc_core.engine.readings import Reading
from ggmlrpc_core.engine.state import Role
from ggmlrpc_core.errors import BadGraph, VersionMismatch
from ggmlrpc_core.graph.tensor import nbytes_of
from ggmlrpc_core.server.numbering import Sense, read_alike, senses
from ggmlrpc_core.server.offer import Offer
from ggmlrpc_core.wire.clients import before_hello, forms_of, groups, offers, states_of_forms
from ggmlrpc_core.wire.codec import TENSOR_FIELDS
from ggmlrpc_core.wire.commands import HELLO
from ggmlrpc_core.wire.dialects import LONG_NAME, Dialect, dialect_names
from ggmlrpc_core.wire.differences import consequence
from ggmlrpc_core.wire.tensors import TensorRecord

GRACE = 0.2
"""Seconds in which a client that waits for no answer sends its next command after a graph was done."""

MOST_JUDGED = 100_000
"""Tensors of a graph that is read under every numbering that is possible; real graphs have under 20,000."""

_GRAPH = "GRAPH_COMPUTE"

Owns = Callable[[int], bool]
"""Whether a handle is a buffer of the session."""


class Dialogue:
    """The dialect of one client, as far as it is known.

    Args:
        offer: what its listener announces.
        peer: address without port.
        owns: whether the session gave out a handle.
        report: takes a sentence for the log.
        limits: of the engine.

    Attributes:
        conn: the engine of the server's side.
        announced: what the client was told, or is taken for when it is told nothing.
    """

    def __init__(
        self,
        offer: Offer,
        *,
        peer: str,
        owns: Owns,
        report: Callable[[str], None],
        limits: Limits,
    ) -> None:
        self._offer = offer
        self._peer = peer
        self._owns = owns
        self._report = report
        self._dropped: set[Dialect] = set()
        self._told: Dialect | None = None
        self._greeted = self._spoke = False
        self.announced = offer.dialect
        self.conn = Connection(
            Role.SERVER,
            offer.dialect,
            limits=limits,
            candidates=offer.candidates,
            choose=self._choose,
        )

    # --- messages

    def heard(self, command: str) -> None:
        """A request was read. The first one after HELLO shows that the client stays."""
        if self._spoke or command == HELLO:
            return
        self._spoke = True
        walk = self._offer.walk
        if walk is None:
            return
        told = self.announced
        if not self._greeted:
            if walk.met(self._peer):
                self._report(
                    f"is of before 2025-04-18 and says no HELLO; {told.label} and its like serve all of these: "
                    f"to pin it: --dialect {told.label}"
                )
        elif walk.stayed(self._peer, told):
            self._report(f"stays with {told.label}; to pin it: --dialect {told.label}")

    def left(self) -> None:
        """The client closed between two messages."""
        if not self._greeted or self._spoke:
            return
        told = self.announced
        if self._offer.walk is None:
            self._report(_left_a_pinned_listener(told))
            return
        following = self._offer.walk.left(self._peer, told)
        if following is None:
            then = "it has left every version that begins with this HELLO, and begins anew"
        else:
            then = f"when it comes again it is offered {following.version}"
        self._report(f"left right after HELLO: {told.version} is not its version; {then}")

    def explained(self, fault: BaseException) -> BaseException:
        """A fault of the client, or what is behind it: it may be of another version."""
        if isinstance(fault, VersionMismatch) and fault.what == "first command":
            return _mismatch(None, self.announced)
        return fault

    def answer_wanted(self, speaks: Callable[[float], bool]) -> bool:
        """Whether the client waits for the answer of a graph that is done, where not every version does.

        Args:
            speaks: whether the client sends something within some seconds; who waits for an answer does not.
        """
        waiting = [d for d in self.conn.candidates if d.by_name[_GRAPH].reply is not None]
        others = [d for d in self.conn.candidates if d not in waiting]
        if not others:
            return True
        if not speaks(GRACE):
            self.conn.adopt(waiting)
            return True
        self.conn.adopt(others)
        self._report(
            f"waits for no answer to {_GRAPH}, as {self.announced.version} does; "
            f"serve it with --dialect {others[0].label}"
        )
        return False

    def _choose(self, found: Sequence[Reading]) -> Sequence[Reading]:
        """Drop readings that cannot be what the client means; the first of the rest is used."""
        first = found[0]
        if first.wire.name == HELLO:
            return [self._greet(first)]
        if self.announced.hello_size != first.dialects[0].hello_size:
            self.announced = first.dialects[0]  # one without HELLO, where every version is welcome
        if len(found) == 1:
            return found
        scores = [self._score(one) for one in found]
        best = max(scores)
        return [one for one, score in zip(found, scores) if score == best]

    def _greet(self, hello: Reading) -> Reading:
        size = hello.wire.request.size
        walk = self._offer.walk
        if walk is not None:
            self.announced = walk.offer(self._peer, size)
        elif size != self.announced.hello_size:
            raise _mismatch(size, self.announced)
        self._greeted = True
        forms = forms_of(self.announced)
        return replace(hello, dialects=forms, wire=forms[0].by_name[HELLO])

    def _score(self, reading: Reading) -> tuple[bool, int, int]:
        """How much sense a message makes: nothing left over, known buffers, a region that fits its tensor."""
        fields = reading.fields
        known = 0
        if "tensors" in fields:
            handles, counts = np.unique(fields["tensors"]["buffer"], return_counts=True)
            known = sum(int(n) for h, n in zip(handles.tolist(), counts) if h and self._owns(h))
        for name in TENSOR_FIELDS:
            if name in fields:
                known += self._owns(fields[name].buffer)
        return reading.trailing == 0, known, _fit(reading)

    # --- graphs

    def dialect_of(self, nodes: np.ndarray, tensors: np.ndarray) -> Dialect:
        """The dialect in which a graph message is to be read.

        Raises:
            BadGraph: it makes sense under none that the client may speak, or another sense under several.
        """
        size = tensors.dtype.itemsize
        states = [
            d
            for d in states_of_forms(self.announced, self.conn.candidates)
            if d.tensor.size == size and d not in self._dropped
        ]
        if len(states) == 1:
            if not self._greeted:
                self._tell(states, n_states=1)
            return states[0]
        if len(tensors) > MOST_JUDGED:
            return self._unjudged(states, len(tensors))
        ours = [d for d in states if d.fork == self.announced.fork]
        # Every token of an old client is a new graph: what one of them has told is not asked of each.
        if self._dropped and read_alike(nodes, tensors, states):
            return (ours or states)[0]
        chosen = self._sense(senses(nodes, tensors, ours))
        if chosen is None:
            others = [d for d in states if d not in ours]
            chosen = self._sense(senses(nodes, tensors, others))
        if chosen is None:
            raise self._senseless(nodes, tensors, states)
        self._dropped.update(d for d in states if d not in chosen.dialects)
        self._tell(chosen.dialects, n_states=len(states))
        return chosen.dialects[0]

    def _unjudged(self, states: Sequence[Dialect], n_tensors: int) -> Dialect:
        """What a graph that is too large to be read many times is read as: what was pinned, nothing else."""
        if self._offer.pinned and self._offer.dialect in states:
            return self._offer.dialect
        raise BadGraph(
            _GRAPH,
            "number of tensors",
            n_tensors,
            f"at most {MOST_JUDGED} while {len(states)} numberings are possible; pin one: --dialect NAME",
        )

    def _sense(self, found: list[Sense]) -> Sense | None:
        """The one that is meant; None when none can run."""
        can_run = [one for one in found if one.fault is None]
        if self._offer.pinned:
            for one in can_run:
                if self._offer.dialect in one.dialects:
                    return one
        likely = [one for one in can_run if one.plausible] or can_run
        if len(likely) > 1:
            names = ", ".join(one.dialects[0].name for one in likely)
            raise BadGraph(
                _GRAPH,
                "the meaning of its ops",
                f"another under each of {len(likely)} numberings",
                f"one of them pinned: --dialect NAME, where NAME is one of {names}",
            )
        return likely[0] if likely else None

    def _senseless(
        self, nodes: np.ndarray, tensors: np.ndarray, states: Sequence[Dialect]
    ) -> BadGraph:
        """What is wrong with a graph that can run under none of the states."""
        fault = senses(nodes, tensors, states[:1])[0].fault
        assert fault is not None
        labels = ", ".join(dict.fromkeys(d.label for d in states))
        context = f"read as {states[0].name}; none of {len(states)} numberings fits ({labels})"
        if fault.context:
            context = f"{fault.context}, {context}"
        return BadGraph(fault.where, fault.what, fault.got, fault.expected, context=context)

    def _tell(self, kept: Sequence[Dialect], *, n_states: int) -> None:
        """Say once what graphs are read as, unless it is what the operator said."""
        one = kept[0]
        known = self.announced in kept
        expected = self._offer.pinned or len(kept) == n_states or one.name == one.label
        if one is self._told or (known and expected):
            return
        self._told = one
        doubt = "" if one.proven else ", which was never tried with a real peer"
        pin = f"to pin it: --dialect {one.name}"
        if len(kept) > 1:
            pin += f", or what reads them alike so far: {', '.join(d.name for d in kept[1:])}"
        if known:
            self._report(f"its graphs make sense as {one.name} only{doubt}; {pin}")
            return
        harm = consequence(one, self.announced)
        self._report(
            f"its graphs make sense as {one.name}{doubt}, not as {self.announced.name} ({harm}); {pin}"
        )


def _fit(reading: Reading) -> int:
    """2 when a message has all bytes of its tensor, 1 when it has some, else 0."""
    fields = reading.fields
    if "tensor" not in fields or "offset" not in fields:
        return 0
    record: TensorRecord = fields["tensor"]
    if record.ggml_type is None:
        return 0
    size = reading.body_size if reading.wire.body else fields.get("size", 0)
    nbytes = nbytes_of(record.ggml_type, record.ne, record.nb)
    end = fields["offset"] + size
    return 2 if size and (fields["offset"], end) == (0, nbytes) else int(end <= nbytes)


def _mismatch(hello_size: int | None, announced: Dialect) -> VersionMismatch:
    """A client that begins as those of this length of HELLO do, at a listener for others."""
    first, last = groups()[hello_size]
    if hello_size is None:
        got = "of before 2025-04-18, which sends no HELLO"
        pins = [d.label for d in forms_of(before_hello()) if d.max_name != LONG_NAME]
    else:
        got = f"of {first} to {last}, which sends a HELLO of {hello_size} bytes"
        pins = [d.label for d in offers(hello_size)]
    size = announced.hello_size
    rule = "no HELLO" if size is None else f"a HELLO of {size} bytes"
    return VersionMismatch(
        HELLO,
        "the client",
        got,
        f"{rule}, as with {announced.name}, which is announced here",
        context="no answer would be understood; serve it with --dialect auto, or --listen PORT=NAME, where NAME is "
        f"one of {', '.join(pins)}",
    )


def _left_a_pinned_listener(told: Dialect) -> str:
    """Why a client may have left, and how to find out."""
    assert told.hello_size is not None
    others = [d for d in offers(told.hello_size) if d.version[:2] != told.version[:2]]
    nearest = min(others, key=lambda d: abs(_order(d) - _order(told)))
    return (
        f"left right after HELLO: it was told {told.version}, and who speaks another version does not stay "
        f"(between {nearest.version} and {told.version}: {consequence(nearest, told)}); if so, serve it with --dialect "
        f"auto, or with one of {', '.join(d.label for d in others)}"
    )


def _order(dialect: Dialect) -> int:
    return dialect_names().index(dialect.name) if not dialect.fork else 0
