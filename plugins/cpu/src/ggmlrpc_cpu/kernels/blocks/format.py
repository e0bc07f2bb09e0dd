"""The two shapes of block formats, and the list of modules that define one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

PAIRS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "MXFP4")
SUPER = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS")


@dataclass(frozen=True, slots=True)
class PairFormat:
    """Blocks of 32 elements with one scale: value = d * (code - offset) + m. Two blocks make one vector.

    Attributes:
        type_size: bytes per block.
        codes: (p, q) addresses of two blocks -> U8x64, the codes of both.
        scales: (p0, p1, p2, p3, step) -> F32x8, d of the blocks at p0, p0 + step, p1, p1 + step and so on.
        minimums: the same for m, or None where the format has none.
        offset: what is subtracted from a code.
        wide: codes reach above 127.
    """

    type_size: int
    codes: Any
    scales: Any
    minimums: Any = None
    offset: int = 0
    wide: bool = False


@dataclass(frozen=True, slots=True)
class SuperFormat:
    """Blocks of 256 elements, sub-blocks of 16 or 32 with a scale each: value = s * (code - offset) - m.

    Attributes:
        type_size: bytes per block.
        codes: four functions, address of a block -> U8x64, the codes of elements 64 i to 64 i + 63.
        scales: address -> F32x8 (sub-blocks of 32) or F32x16 (of 16), the s.
        minimums: the same for m, or None where the format has none.
        sub: elements per sub-block, 16 or 32.
        offset: what is subtracted from a code.
        wide: codes reach above 127.
    """

    type_size: int
    codes: tuple[Any, Any, Any, Any]
    scales: Any
    minimums: Any = None
    sub: int = 32
    offset: int = 0
    wide: bool = False


@cache
def find(type_name: str) -> PairFormat | SuperFormat:
    """The format of one of PAIRS or SUPER."""
    return import_module(f"ggmlrpc_cpu.kernels.blocks.{type_name.lower()}").FORMAT
