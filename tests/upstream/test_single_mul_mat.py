"""One MUL_MAT per weight type, computed on the server for the stock client, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from upstream.models import Quantizer
from upstream.session import Figures, Servers, dequantized
from upstream.stock import StockClient, nmse

BOUND = 5e-4
TYPES = [
    "F32",
    "F16",
    "BF16",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "IQ4_NL",
    "IQ4_XS",
    "MXFP4",
]
BOUND_OF = {"F32": 1e-12, "F16": 1e-6, "BF16": 1e-4}
"""Tighter bounds: F32 only sums in f32; for the others stock rounds the activations to the type of the weight."""
ROWS, K = 96, 512


@pytest.mark.parametrize("columns", [1, 7, 64])
@pytest.mark.parametrize("ggml_type", TYPES)
def test_mul_mat(
    ggml_type: str,
    columns: int,
    servers: Servers,
    client: StockClient,
    quantize: Quantizer,
    figures: Figures,
) -> None:
    rng = np.random.default_rng(columns)
    weight = quantize(ggml_type, rng.standard_normal((ROWS, K), np.float32))
    x = rng.standard_normal((columns, K), np.float32)
    expected = x.astype(np.float64) @ dequantized(ggml_type, weight).T
    got = client.mul_mat(servers.get().endpoint, ggml_type=ggml_type, weight=weight, x=x)
    error = nmse(got, expected)
    figures.add(table="mul_mat", type=ggml_type, columns=columns, to_exact=error)
    assert error <= BOUND_OF.get(ggml_type, BOUND)
