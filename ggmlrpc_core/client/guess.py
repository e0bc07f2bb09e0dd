"""Which numbering a server has whose version hides several: small graphs are run there, and their results tell.

What may be sent is decided by probes.py. Servers before 2024-09-09 get no graph: they size their memory for graphs by
the first one that they ever see, so a small one would end them at the next larger one.

Source: docs/explanation/guessing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from ggmlrpc_core.client.connection import ClientConnection
from ggmlrpc_core.client.eras import is_silent
from ggmlrpc_core.client.probes import ANYWHERE, ON_CPU, UNTOUCHED, Operands, Probe, best_split
from ggmlrpc_core.errors import ConnectionLost
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import contiguous_nb
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.tensors import TensorRecord

log = logging.getLogger("ggmlrpc.client")

CPU_ALIGNMENT, CPU_MAX_SIZE = 32, (1 << 64) - 1
"""What the CPU backend of a stock server answers, and no other backend."""

_PLACE = 1 << 14  # bytes for each tensor of a probe, more than the largest has
_N_PLACES = 4
SCRATCH = _PLACE * _N_PLACES
"""Bytes of the buffer that probes need."""


def guess_numbering(
    connection: ClientConnection, dial: Callable[[], ClientConnection]
) -> ClientConnection:
    """Narrow the states that a server may be of by what it makes of small graphs.

    Args:
        connection: fresh; its candidates are narrowed.
        dial: opens another one, for when the server closes at a graph.

    Returns:
        The connection to use.

    Raises:
        ConnectionLost: the server is silent, or gone.
    """
    candidates = connection.candidates
    if len(candidates) == 1 or not all(one.graphs_may_grow for one in candidates):
        return connection
    safe = ON_CPU if _is_stock_cpu(connection) else ANYWHERE
    try:
        connection.speak(_narrowed(connection, safe))
    except ConnectionLost as exc:
        if is_silent(exc):
            raise
        connection.close()
        log.info("server %s closed at a graph of one node: %s", connection.endpoint, exc)
        connection = dial()
        connection.speak(candidates)
    return connection


def _is_stock_cpu(connection: ClientConnection) -> bool:
    alignment = connection.call("GET_ALIGNMENT")["alignment"]
    return (alignment, connection.call("GET_MAX_SIZE")["max_size"]) == (CPU_ALIGNMENT, CPU_MAX_SIZE)


def _narrowed(connection: ClientConnection, safe: frozenset[str]) -> tuple[Dialect, ...]:
    """The states whose ops give what the server gave."""
    candidates = connection.candidates
    handle = 0
    while len(candidates) > 1 and (split := best_split(candidates, safe)) is not None:
        if handle == 0:
            handle = connection.call("ALLOC_BUFFER", size=SCRATCH)["remote_ptr"]
            if handle == 0:
                break  # no memory there
            base = connection.call("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]
        result = run_probe(connection, split.probe, handle, base=base)
        fitting = () if result is None else split.fitting(result)
        if not fitting:
            log.info(
                "server %s makes of op %d what no numbering does",
                connection.endpoint,
                split.probe.number,
            )
            break
        candidates = fitting
    if handle:
        connection.call("FREE_BUFFER", remote_ptr=handle)
    return candidates


def run_probe(
    connection: ClientConnection, probe: Probe, handle: int, *, base: int
) -> np.ndarray | None:
    """Run a probe on a server.

    Args:
        connection: to it.
        probe: what is sent as it is.
        handle, base: of a buffer of SCRATCH bytes.

    Returns:
        The result, F32 in order of memory; None when the server says that it failed.

    Raises:
        ConnectionLost: the server closed, or ended.
    """
    dialect = connection.dialect
    operands = probe.operands
    places = [base + _PLACE * at for at in range(_N_PLACES)]
    blank = np.full(int(np.prod(operands.result)), UNTOUCHED, np.float32)
    for ne, place, values in _contents(operands, blank, places):
        record = _record(ne, handle, place)
        connection.call("SET_TENSOR", body=np.ascontiguousarray(values), tensor=record, offset=0)
    message = probe.message(dialect, places, handle)
    answer = connection.call("GRAPH_COMPUTE", nodes=message["id"][:1], tensors=message)
    if answer.get("result", 0) != 0:
        return None
    result = np.empty_like(blank)
    into = result.data.cast("B")
    record = _record(operands.result, handle, places[1 if operands.in_place else 0])
    connection.fetch("GET_TENSOR", into, tensor=record, offset=0)
    return result


def _contents(
    operands: Operands, blank: np.ndarray, places: Sequence[int]
) -> list[tuple[tuple[int, ...], int, np.ndarray]]:
    """Extents, address and values of the result and of each source, before the run."""
    found = [(operands.result, places[0], blank)]
    for slot, ne in enumerate(operands.sources):
        found.append((ne, places[1 + slot], operands.values(slot)))
    return found


def _record(ne: Sequence[int], handle: int, data: int) -> TensorRecord:
    f32 = TYPES["F32"]
    ne0, ne1, ne2, ne3 = [*ne, 1, 1, 1][:4]
    full = (ne0, ne1, ne2, ne3)
    return TensorRecord(
        id=1,
        type=f32.id,
        ne=full,
        nb=contiguous_nb(f32, full),
        buffer=handle,
        data=data,
        name=b"probe",
    )
