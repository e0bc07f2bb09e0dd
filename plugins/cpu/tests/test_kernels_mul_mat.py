"""MUL_MAT and MUL_MAT_ID against the reference ops: types, columns, odd rows, broadcast, strides, bad ids."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_cpu.families import mul_mat
from ggmlrpc_cpu.families.mul_mat import CODES, PLAIN, TILES

from ggmlrpc_core.errors import OutOfBounds
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build import GraphBuilder, allocate

OFTEN = {("dot", "Q4_0"), ("dot", "Q4_K"), ("tile", "F32"), ("amx", "Q4_0")}
"""Cases of a quick run: a kernel takes a second to compile."""
STRIDED = {("dot", n) for n in ("F16", "F32", "Q4_0")} | {
    ("tile", n) for n in ("F16", "F32", "Q4_0")
}
EXPERTS = {("dot", "Q4_0"), ("dot", "F32"), ("tile", "Q8_0"), ("amx", "Q4_0")}
OFTEN_EXPERTS = {("dot", "Q4_0")}
COLUMNS = (1, 3, 9, 37)
N_ROWS = 37

NMSE = {"dot": 1e-4, "tile": 1e-11, "amx": 2e-5}
"""Squared error over squared size: columns of 8 bits, of f32, of bf16. Plain types have f32 columns in `dot`."""


@pytest.fixture
def path(request, monkeypatch):
    """Force one way of multiplying, whatever the number of columns."""
    name = request.param
    if name == "amx":
        if not mul_mat.amx_works():
            pytest.skip("no AMX here")
    else:
        monkeypatch.setattr(mul_mat, "amx_works", lambda: False)
    for limit in ("FEW", "FEW_WITH_AMX"):
        monkeypatch.setattr(mul_mat, limit, 1 << 30 if name == "dot" else 0)
    return name


def every_case() -> list[tuple[str, str]]:
    """(path, type) that exist."""
    pairs = [("dot", n) for n in (*PLAIN, *CODES)]
    return pairs + [("tile", n) for n in TILES] + [("amx", n) for n in TILES if n != "F32"]


def cases(wanted, often=OFTEN) -> list[object]:
    """Those wanted; the ones that are not in `often` are slow."""
    return [p if p in often else pytest.param(*p, marks=pytest.mark.slow) for p in sorted(wanted)]


def random_blocks(name: str, ne: tuple[int, ...]) -> np.ndarray:
    """Arbitrary codes with moderate f16 scales, for types that nothing encodes."""
    ggml_type, rng = TYPES[name], np.random.default_rng(5)
    n = int(np.prod(ne)) // ggml_type.blck_size
    raw = rng.integers(0, 256, (n, ggml_type.type_size), dtype=np.uint8)
    scales = rng.uniform(0.01, 0.1, n).astype(np.float16)
    if name == "IQ1_M":  # the scale is cut into the upper four bits of four words
        words = raw[:, 48:56].copy().view(np.uint16)
        bits = scales.view(np.uint16)[:, None] >> np.array([0, 4, 8, 12], np.uint16)
        raw[:, 48:56] = (words & 0x0FFF | bits << 12).astype(np.uint16).view(np.uint8)
    else:
        raw[:, 0:2] = scales[:, None].view(np.uint8)
    return raw.reshape(*ne[:0:-1], -1)


def row_length(name: str, path: str) -> int:
    """Elements of a row: an odd number of blocks, and with an end that fills no vector where that is possible."""
    if TYPES[name].quantized:
        return {32: 160, 64: 192, 128: 384, 256: 768}[TYPES[name].blck_size]
    return 96 if path == "amx" else 77


def check(
    compare, path: str, name: str, *, columns: int, batch: tuple[int, int, int, int] = (1, 1, 1, 1)
) -> np.ndarray:
    k, (w2, w3, v2, v3) = row_length(name, path), batch
    ne = (k, N_ROWS, w2, w3)
    ids = {} if TYPES[name].from_f32 else {"weights": random_blocks(name, (*ne,))}
    nmse = NMSE["tile"] if name in PLAIN and path == "dot" else NMSE[path]
    if path == "amx" and name == "F16":
        nmse = 1e-8
    return compare(
        lambda b: b.mul_mat(
            b.new_tensor(name, *ne, name="weights"), b.new_tensor("F32", k, columns, v2, v3)
        ),
        ids=ids,
        nmse=nmse,
    )


@pytest.mark.parametrize(("path", "name"), cases(every_case()), indirect=["path"])
def test_types(compare, path, name):
    for columns in COLUMNS:
        check(compare, path, name, columns=columns)


@pytest.mark.parametrize(("path", "name"), sorted(OFTEN), indirect=["path"])
def test_broadcast(compare, path, name):
    check(compare, path, name, columns=2, batch=(2, 1, 6, 2))
    check(compare, path, name, columns=5, batch=(1, 2, 3, 4))


@pytest.mark.parametrize(("path", "name"), cases(STRIDED), indirect=["path"])
def test_strides(compare, path, name):
    """A window of a cache of [k, head, position], permuted, by permuted values."""

    def build(b: GraphBuilder):
        k, heads, positions = 64, 3, 21
        cache = b.new_tensor(name, k, heads, positions + 9)
        size = cache.nb[2]
        window = b.view(cache, k, positions, heads, nb=(size, cache.nb[1]), offset=4 * size)
        values = b.permute(b.new_tensor("F32", k, 2 * heads, 5), 0, 2, 1, 3)
        return b.mul_mat(window, values)

    compare(build, nmse=1e-4 if path == "dot" and name == "Q4_0" else 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["dot", "tile"], indirect=True)
def test_f16_values(compare, path):
    compare(lambda b: b.mul_mat(b.new_tensor("F16", 77, 9), b.new_tensor("F16", 77, 3)), nmse=1e-11)


@pytest.mark.parametrize(
    "path", ["dot", pytest.param("tile", marks=pytest.mark.slow)], indirect=True
)
def test_a_column_does_not_depend_on_its_neighbours(compare, path):
    weights = np.random.default_rng(1).integers(0, 256, (1, 1, 8, 144), dtype=np.uint8)
    weights[..., 0:4] = np.array([0.5, 0.25], np.float16).view(np.uint8)
    values = np.random.default_rng(2).standard_normal((1, 1, 6, 256)).astype(np.float32)

    def run(n):
        return compare(
            lambda b: b.mul_mat(
                b.new_tensor("Q4_K", 256, 8, name="w"), b.new_tensor("F32", 256, n, name="v")
            ),
            ids={"w": weights, "v": values[:, :, :n]},
            nmse=1e-4,
        )

    assert np.array_equal(run(6)[:, :, :2], run(2))


def test_columns_are_converted_once(compare):
    """Two weights of one type in a row share the quantized columns."""

    def build(b: GraphBuilder):
        x = b.new_tensor("F32", 64, 1)
        products = [b.mul_mat(b.new_tensor("Q4_0", 64, 9), x) for _ in range(2)]
        return b.add(*products)

    compare(build, nmse=1e-4)
    assert compare.records == 4  # columns, product, product, sum


def routed(name: str, n_used: int, n_tokens: int, *, shared: bool):
    k = row_length(name, "amx")

    def build(b: GraphBuilder):
        weights = b.new_tensor(name, k, N_ROWS, 5)
        values = b.new_tensor("F32", k, 1 if shared else n_used, n_tokens)
        return b.mul_mat_id(weights, values, b.new_tensor("I32", n_used, n_tokens, name="ids"))

    return build


@pytest.mark.parametrize(("path", "name"), cases(EXPERTS, OFTEN_EXPERTS), indirect=["path"])
@pytest.mark.parametrize("shared", [False, True])
def test_experts(compare, path, name, shared):
    for n_tokens in (1, 40):
        ids = (
            np.random.default_rng(4).integers(0, 4, (n_tokens, 2)).astype(np.int32)
        )  # nobody asks for expert 4
        compare(
            routed(name, 2, n_tokens, shared=shared),
            ids={"ids": ids},
            nmse=1e-11 if name == "F32" else NMSE[path],
        )


@pytest.mark.parametrize("bad", [-1, 5])
@pytest.mark.parametrize("path", ["dot"], indirect=True)
def test_experts_that_do_not_exist(device, path, bad):
    b = GraphBuilder()
    out = routed("Q4_0", 2, 3, shared=False)(b)
    buffer = allocate([out], device)
    ids = out.src[2]
    np.ndarray((3, 2), np.int32, buffer.memory.data, offset=ids.offset)[...] = [
        [0, 1],
        [2, bad],
        [3, 4],
    ]
    with pytest.raises(OutOfBounds, match=str(bad)):
        device.prepare(b.graph(out)).run(lambda: False)
        device.synchronize()
    buffer.free()


def test_unusual_values_are_left_to_the_reference(compare):
    compare(
        lambda b: b.mul_mat(b.new_tensor("F32", 64, 3), b.new_tensor("Q8_0", 64, 2)),
        nmse=1e-9,
        host=True,
    )
    assert compare.records == 0
