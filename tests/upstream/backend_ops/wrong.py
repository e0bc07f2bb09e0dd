"""Cases of the suite that a correct server fails, because upstream's own reference gives a wrong result."""

from __future__ import annotations

from types import MappingProxyType

WRONG_REFERENCES: MappingProxyType[str, str] = MappingProxyType(
    {
        "SUM(type=f32,ne=[33,256,1,1],permute=[1,0,2,3])": (
            "ggml-cpu/ops.cpp ggml_compute_forward_sum_f32 walks ne[0] without looking at nb[0]: of a transposed "
            "tensor it adds ne[0] neighbouring elements for each row, some of them many times and others never. "
            "tests/upstream/test_wrong_references.py shows it on the stock server."
        ),
    }
)
"""Name of a case to what is wrong and where it is shown."""
