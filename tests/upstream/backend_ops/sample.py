"""Choose cases for a run that has only minutes: the same ones in the same order on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import zip_longest

from upstream.backend_ops.program import Case

LARGE_FLOPS = 100_000_000
LARGE_BYTES = 16_000_000
"""Cases above these take the client's reference a second and more."""


def large(case: Case) -> bool:
    """Whether a case is too long for a sample."""
    return case.op_flops > LARGE_FLOPS or case.op_size > LARGE_BYTES


def sampled(cases: Sequence[Case]) -> list[Case]:
    """Judged cases in an order whose every beginning is spread over the ops.

    First one case of every op, then a second one, and so on; within an op in the order of a hash of the parameters.
    The first one of an op is the smallest of its large cases where it has no other.
    """
    queues: dict[str, list[Case]] = {}
    for case in cases:
        if case.judged:
            queues.setdefault(case.op, []).append(case)
    chosen: list[list[Case]] = []
    for op in sorted(queues):
        small = [case for case in queues[op] if not large(case)]
        least = sorted(queues[op], key=lambda case: (case.op_flops, case.op_size, case.number))
        chosen.append(sorted(small, key=digest) or least[:1])
    rounds = zip_longest(*chosen)
    return [case for one in rounds for case in one if case is not None]


def digest(case: Case) -> bytes:
    """A number for sorting that has nothing to do with the order of the suite."""
    return hashlib.sha256(f"{case.name} {case.number}".encode()).digest()
