import numpy as np
import pytest

from ggmlrpc_core.quants import search
from ggmlrpc_core.quants.grids import kvalues


@pytest.fixture(autouse=True)
def silent():
    with np.errstate(all="ignore"):
        yield


def groups(size, seed=0):
    return np.random.default_rng(seed).standard_normal((size, 200), np.float32)


def weighted(x, again):
    return np.sum(x * x * (x - again) ** 2, axis=0)


def test_affine_is_no_worse_than_the_plain_grid():
    x = groups(32)
    weights = np.abs(x)
    scale, offset, q = search.affine(np, x, weights, top=15, first=-1.0, steps=20, absolute=False)
    low, high = np.minimum(x.min(axis=0), 0), x.max(axis=0)
    plain = np.rint((x - low) / (high - low) * 15) * (high - low) / 15 + low
    found = np.sum(weights * (scale * q - offset - x) ** 2, axis=0)
    grid = np.sum(weights * (plain - x) ** 2, axis=0)
    assert (found <= grid * 1.001).all()
    assert found.sum() < grid.sum() * 0.95
    assert (q.min(), q.max(), (offset >= 0).all()) == (0, 15, True)


def test_affine_of_equal_numbers():
    x = np.stack([np.full(16, -2), np.zeros(16), np.full(16, 3)], axis=1).astype(np.float32)
    scale, offset, q = search.affine(np, x, np.abs(x), top=3, first=-0.5, steps=15, absolute=True)
    assert (scale[:2].tolist(), offset[:2].tolist()) == ([0, 0], [2, 0])
    assert not q[:, :2].any()
    # A positive constant is quants of a grid that starts at 0.
    np.testing.assert_allclose(scale[2] * q[:, 2] - offset[2], 3, rtol=1e-6)


@pytest.mark.parametrize(("find", "top"), [(search.symmetric, 32), (search.descent, 4)])
def test_scales_are_no_worse_than_the_plain_grid(find, top):
    x = groups(16, seed=1)
    scale, q = find(np, x, top)
    peak = np.take_along_axis(x, np.abs(x).argmax(axis=0)[None], axis=0)
    plain = np.clip(np.rint(-top / peak * x), -top, top - 1) * peak / -top
    found, grid = weighted(x, scale * (q - top)), weighted(x, plain)
    assert (found <= grid * 1.001).all()
    assert found.sum() < grid.sum() * 0.9
    assert (q.min(), q.max() <= 2 * top - 1) == (0, True)


@pytest.mark.parametrize("find", [search.symmetric, search.descent])
def test_groups_below_the_smallest_are_empty(find):
    x = groups(16, seed=2)
    x[:, 3] = 9e-16
    scale, q = find(np, x, 4)
    assert (scale[3], q[:, 3].any(), scale[2] != 0) == (0, False, True)


def test_nearest_values_improve_with_tries():
    values = kvalues("IQ4_NL")
    x = groups(32, seed=3)

    def index(numbers):
        return np.abs(numbers[..., None] - values.astype(np.float32)).argmin(axis=-1)

    def error(tries):
        scale, _ = search.nearest_values(np, x, values, tries=tries, index=index)
        return weighted(x, scale * values[index(x / scale)]).sum()

    assert error(7) < error(0)
