"""ggml tensor types: names, block geometry and what the stock CPU backend does with each.

Data: data/types.csv (a table of every type of upstream and of ik_llama.cpp, with first commits).
This module holds the types of the newest upstream state; numbers of other states are in numbering.py.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType


def read_table(name: str) -> list[dict[str, str]]:
    """Read data/<name>.csv as a list of rows."""
    text = resources.files(__package__).joinpath("data", f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One `ggml_type`.

    Attributes:
        name: without prefix, "Q4_0".
        id: number in the newest numbering.
        blck_size: elements per block.
        type_size: bytes per block.
        partner: name of the type that the stock CPU converts the other MUL_MAT operand to, "" if none.
        from_f32: values can be converted into it (as a CPY, SET_ROWS or KV cache target).
        dot: it may be source 0 of MUL_MAT and K of FLASH_ATTN_EXT.
        row_meta: bytes of each row beside its blocks; some types of the fork have them.
    """

    name: str
    id: int
    blck_size: int
    type_size: int
    partner: str
    from_f32: bool
    dot: bool
    row_meta: int = 0

    @property
    def quantized(self) -> bool:
        """Whether elements come in blocks that share a scale."""
        return self.blck_size > 1

    def row_size(self, ne0: int) -> int:
        """Bytes of a row of `ne0` elements; ne0 is a multiple of blck_size."""
        return ne0 // self.blck_size * self.type_size + self.row_meta

    def __repr__(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.name


def _load(tree: str) -> dict[str, GgmlType]:
    return {
        row["type"]: GgmlType(
            name=row["type"],
            id=int(row["id"]),
            blck_size=int(row["block_size"]),
            type_size=int(row["type_size_bytes"]),
            partner=row["mul_mat_partner_type"],
            from_f32=row["cpu_from_f32"] == "y",
            dot=row["cpu_dot"] == "y",
            row_meta=int(row["row_meta_bytes"] or 0),
        )
        for row in read_table("types")
        if row["tree"] == tree and row["type"] != "COUNT"
    }


TYPES: MappingProxyType[str, GgmlType] = MappingProxyType(_load("upstream"))
"""Every live type of the newest state, by name."""

FORK_TYPES: MappingProxyType[str, GgmlType] = MappingProxyType(_load("ik_llama.cpp"))
"""Types of ik_llama.cpp that upstream does not have: only their names and sizes are known."""
