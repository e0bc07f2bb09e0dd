"""Imports every family, which registers it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path


@cache
def import_families() -> None:
    """Import the modules beside this one; they register themselves (step.py)."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem != "__init__":
            import_module(f"ggmlrpc_cpu.families.{path.stem}")
