"""All op cases by name, and how near a device must come. Used by check_device, and by whoever tests a server."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

import numpy as np

from ggmlrpc_core.testing.cases_model import MODEL_GROUPS
from ggmlrpc_core.testing.cases_rare import RARE_GROUPS
from ggmlrpc_core.testing.inputs import Case

__all__ = ["Case", "all_cases", "nmse"]


@cache
def all_cases() -> MappingProxyType[str, Case]:
    """Every case by name, in order of the groups."""
    found: dict[str, Case] = {}
    for group in (*MODEL_GROUPS, *RARE_GROUPS):
        for case in group():
            assert case.name not in found, f"two cases are called {case.name}"
            found[case.name] = case
    return MappingProxyType(found)


def nmse(got: np.ndarray, want: np.ndarray) -> float:
    """Normalised mean square error, sum((got - want)^2) / sum(want^2).

    Elements that are not finite must be the same; infinity is returned when they are not, and when `want` is zero
    everywhere and `got` is not.
    """
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return float("inf")
    error = float(np.square(got[finite] - want[finite]).sum())
    scale = float(np.square(want[finite]).sum())
    if error == 0.0:
        return 0.0
    return error / scale if scale > 0.0 and np.isfinite(error) else float("inf")
