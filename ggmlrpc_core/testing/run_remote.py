"""Run op cases on a remote device: the same bytes and bounds as run_case, over the protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ggmlrpc_core.client import RemoteDevice
from ggmlrpc_core.graph.build import allocate
from ggmlrpc_core.testing.inputs import Case
from ggmlrpc_core.testing.run_case import POISON, compare, expected_of


def run_remote_case(
    case: Case, device: RemoteDevice, *, want: Sequence[np.ndarray] | None = None
) -> float:
    """Run a case and compare.

    Args:
        case: what to run.
        device: where.
        want: expected outputs; None for those of the reference.

    Returns:
        The largest nmse of its outputs.

    Raises:
        CaseFailed: above the bound.
        ConnectionLost: the server refused the graph, or died of it.
    """
    wanted = expected_of(case) if want is None else want
    inputs, outputs = case.make()
    with allocate([*outputs, *(t for t, _ in inputs.data)], device) as buffer:
        buffer.clear(POISON)
        for tensor, data in inputs.data:
            buffer.set(data, tensor.offset)
        device.compute(inputs.graph(*outputs))
        return compare(case, outputs, wanted, np.frombuffer(buffer.get(), np.uint8))
