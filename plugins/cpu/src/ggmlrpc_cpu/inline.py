"""How the functions that kernels are made of are compiled: for their callers only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def inline(function: Callable[..., Any]) -> Any:
    """Compile a function that only compiled code calls, without a wrapper for Python."""
    return njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
