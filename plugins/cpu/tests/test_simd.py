"""SIMD building blocks: against NumPy, and with equal bits on every ISA that this machine can run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from ggmlrpc_cpu import simd
from ggmlrpc_cpu.isa import ISA_VARIABLE, host_isas, isa
from numba import njit

from ggmlrpc_core.errors import PluginError

BITS = {
    "exp_f32x16": "8a9ca5906d90f5d9",
    "tanh_f32x16": "775dc147fd400161",
    "expm1_f32x16": "936f9af210f4056c",
    "sigmoid_f32x16": "96d17d3b95531538",
    "erf_f32x16": "e6ce612d99e17468",
}
"""Digest of the results for GRID: the same on every ISA."""
GRID = (np.arange(-1 << 13, 1 << 13) / 64).astype(np.float32)


def over(function, x: np.ndarray) -> np.ndarray:
    """Apply a function of 16 lanes to an array."""

    @njit
    def loop(src, dst, n):
        for i in range(0, n, 16):
            simd.store_f32x16(dst + 4 * i, function(simd.load_f32x16(src + 4 * i)))

    out = np.empty_like(x)
    loop(x.ctypes.data, out.ctypes.data, x.size)
    return out


@pytest.mark.parametrize("name", BITS)
def test_functions_give_the_same_bits_everywhere(name):
    got = over(getattr(simd, name), GRID)
    assert hashlib.sha256(got.tobytes()).hexdigest()[:16] == BITS[name]


def test_exp_is_close_and_keeps_what_is_not_finite():
    with np.errstate(over="ignore"):
        expected = np.exp(GRID.astype(np.float64)).astype(np.float32)
    got = over(simd.exp_f32x16, GRID)
    normal = np.isfinite(expected) & (expected > 1e-37)
    error = np.abs(got[normal] - expected[normal]) / np.spacing(expected[normal])
    assert error.max() <= 2
    assert np.array_equal(got[~np.isfinite(expected)], expected[~np.isfinite(expected)])
    edge = np.array([np.inf, -np.inf, np.nan] + [0] * 13, np.float32)
    assert np.array_equal(
        over(simd.exp_f32x16, edge)[:4],
        np.array([np.inf, 0, np.nan, 1], np.float32),
        equal_nan=True,
    )


def test_log_is_close():
    x = np.exp(np.linspace(-80, 80, 1 << 12)).astype(np.float32)
    np.testing.assert_allclose(
        over(simd.log_f32x16, x), np.log(x.astype(np.float64)), rtol=3e-7, atol=1e-7
    )


@pytest.mark.parametrize("lanes", [8, 16])
def test_dot_products_of_bytes_are_exact(lanes):
    load = {8: simd.load_i8x32, 16: simd.load_i8x64}[lanes]
    load_unsigned = {8: simd.load_u8x32, 16: simd.load_u8x64}[lanes]
    zero = {8: simd.zero_i32x8, 16: simd.zero_i32x16}[lanes]
    store = {8: simd.store_i32x8, 16: simd.store_i32x16}[lanes]

    @njit
    def signed(x, y, out):
        store(out, simd.dot_i8_i8(zero(), load(x), load(y)))

    @njit
    def mixed(x, y, out):
        store(out, simd.dot_u8_i8(zero(), load_unsigned(x), load(y)))

    rng = np.random.default_rng(3)
    for trial in range(50):
        x = rng.integers(-127, 128, 4 * lanes, dtype=np.int8)
        y = rng.integers(-127, 128, 4 * lanes, dtype=np.int8)
        if trial == 0:
            x[:], y[:] = -127, 127
        out = np.zeros(lanes, np.int32)
        signed(x.ctypes.data, y.ctypes.data, out.ctypes.data)
        assert out.tolist() == (x.astype(int) * y).reshape(lanes, 4).sum(1).tolist()
        u = np.abs(x).astype(np.uint8)
        mixed(u.ctypes.data, y.ctypes.data, out.ctypes.data)
        assert out.tolist() == (u.astype(int) * y).reshape(lanes, 4).sum(1).tolist()


def test_table_lookup():
    @njit
    def pick(table, index, out):
        simd.store_u8x64(out, simd.table16(simd.load_u8x16(table), simd.load_u8x64(index)))

    table = np.arange(100, 116, dtype=np.uint8)
    index = np.random.default_rng(0).integers(0, 16, 64, dtype=np.uint8)
    out = np.zeros(64, np.uint8)
    pick(table.ctypes.data, index.ctypes.data, out.ctypes.data)
    assert np.array_equal(out, table[index])


def test_sums_of_16():
    @njit
    def sums(src, dst):
        v = simd.load_f32x16
        parts = (
            v(src), v(src + 64), v(src + 128), v(src + 192), v(src + 256), v(src + 320), v(src + 384),
            v(src + 448), v(src + 512), v(src + 576), v(src + 640), v(src + 704), v(src + 768),
            v(src + 832), v(src + 896), v(src + 960),
        )  # fmt: skip
        simd.store_f32x16(dst, simd.sums_of_16(parts))

    x = np.random.default_rng(0).integers(-99, 99, (16, 16)).astype(np.float32)
    out = np.zeros(16, np.float32)
    sums(x.ctypes.data, out.ctypes.data)
    assert np.array_equal(out, x.sum(1))


@pytest.mark.parametrize("n", [0, 1, 15, 16])
def test_partial_loads_and_stores_touch_nothing_else(n):
    @njit
    def move(src, dst, n):
        simd.store_first_f32x16(dst, simd.load_first_f32x16(src, n) + np.float32(1), n)

    x, out = np.arange(16, dtype=np.float32), np.full(17, 7, np.float32)
    move(x.ctypes.data, out.ctypes.data, n)
    assert np.array_equal(out, np.concatenate([x[:n] + 1, np.full(17 - n, 7, np.float32)]))


def test_an_isa_of_another_machine_is_refused(monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, "vax")
    isa.cache_clear()
    try:
        with pytest.raises(PluginError, match="GGMLRPC_CPU_ISA is vax"):
            isa()
    finally:
        isa.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(ISA_VARIABLE in os.environ, reason="an ISA is forced already")
@pytest.mark.parametrize("name", host_isas()[1:])
def test_every_isa_of_this_machine(name):
    """This module under another ISA, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        __file__,
    ]
    done = subprocess.run(
        command, env={**os.environ, ISA_VARIABLE: name}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
