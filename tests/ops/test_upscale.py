"""UPSCALE."""

import math

import numpy as np
import pytest


def axis_weights(n_out, size, mode):
    """For each place along dimension 0 or 1: {element: weight}, from the definition of each mode."""
    kind, corners, wide = mode & 0xFF, mode & 256, mode & 512
    scale = (n_out - 1) / (size - 1) if corners and n_out > 1 and size > 1 else n_out / size
    shift = 0.0 if corners else 0.5
    places = []
    for o in range(n_out):
        weights = {}

        def add(element, weight, weights=weights):
            element = min(max(element, 0), size - 1)
            weights[element] = weights.get(element, 0.0) + weight

        if kind == 0:
            add(int(o / scale), 1.0)
        elif wide:
            support, at = max(1.0, 1 / scale), (o + shift) / scale
            low, high = max(int(at - support + shift), 0), min(int(at + support + shift), size)
            raw = {e: max(1 - abs(e - at + shift) / support, 0) for e in range(low, high)}
            total = sum(raw.values())
            for element, weight in raw.items():
                add(element, weight / total)
        elif kind == 1:
            at = min(max((o + shift) / scale - shift, 0.0), size - 1.0)
            low = math.floor(at)
            add(low, 1 - (at - low))
            add(low + 1, at - low)
        else:
            at = (o + shift) / scale - shift
            low, a = math.floor(at), -0.75
            for element in range(low - 1, low + 3):
                t = abs(at - element)
                if t <= 1:
                    add(element, (a + 2) * t**3 - (a + 3) * t**2 + 1)
                else:
                    add(element, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a)
        places.append(weights)
    return places


@pytest.mark.parametrize("mode", [0, 1, 2, 256, 257, 258, 513])
@pytest.mark.parametrize("ne", [(10, 8, 3, 2), (7, 3, 6, 1), (2, 1, 1, 4), (5, 4, 3, 2)])
def test_upscale(bench, assert_close, mode, ne):
    a = bench.leaf("F32", 5, 4, 3, 2)
    x = bench.numbers(a)
    columns, rows = axis_weights(ne[0], 5, mode), axis_weights(ne[1], 4, mode)
    expected = np.zeros(ne[::-1])
    for i3, i2, i1, i0 in np.ndindex(*expected.shape):
        image = x[i3 * 2 // ne[3], i2 * 3 // ne[2]]
        for y, wy in rows[i1].items():
            for z, wz in columns[i0].items():
                expected[i3, i2, i1, i0] += image[y, z] * wy * wz
    node = bench.node("UPSCALE", "F32", ne, a, params={0: mode})
    assert_close(bench.run(node), expected, 1e-11)


@pytest.mark.parametrize("mode", [0, 1, 2, 256, 257, 258, 513, 769])
def test_the_same_extents_keep_the_values(bench, assert_close, mode):
    a = bench.leaf("F16", 6, 5, 2)
    node = bench.node("UPSCALE", "F16", a.ne, a, params={0: mode})
    expected = bench.numbers(a)
    if mode != 769:  # antialiasing with aligned corners looks between the elements
        assert_close(bench.run(node), expected, 1e-6)
    else:
        assert np.isfinite(bench.run(node)).all()


@pytest.mark.parametrize("mode", [3, 512, 514, 1024, 257 + 2048, -1])
def test_refuses_modes(bench, mode):
    node = bench.node("UPSCALE", "F32", (8,), bench.tensor("F32", 4), params={0: mode})
    assert bench.refusal(node) == (
        f"GRAPH_COMPUTE: mode is {mode}, expected 0, 1 or 2, with 256 for aligned corners, and 512 for antialiasing of "
        "mode 1 only [UPSCALE 'y']"
    )


def test_refuses_nothing_to_scale(bench):
    node = bench.node("UPSCALE", "F32", (8,), bench.tensor("F32", 0), params={0: 1})
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[0].ne is [0, 1, 1, 1], expected extents inside [1, 2147483648) [UPSCALE 'y']"
    )
