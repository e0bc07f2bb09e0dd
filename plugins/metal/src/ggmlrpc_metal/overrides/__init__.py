"""Faster forms of ops than the shared table's; see override.py for what one is."""

from __future__ import annotations

from ggmlrpc_metal.override import Override

ALL: tuple[Override, ...] = ()
"""Every override; of several that accept a node the first is taken."""

__all__ = ["ALL"]
