"""Positions of sliding windows."""

import numpy as np
import pytest

from ggmlrpc_core.ops.taps import Span, conv_extent, patches, pick, spread

SPANS = [(3, 4, 1, 0, 1), (3, 4, 2, 1, 1), (2, 5, 3, 2, 2), (7, 1, 1, 2, 2), (9, 2, 4, 5, 3)]


@pytest.mark.parametrize(("n_taps", "n_out", "stride", "pad", "dilation"), SPANS)
@pytest.mark.parametrize("size", [1, 3, 8])
def test_met_and_places_say_the_same(n_taps, n_out, stride, pad, dilation, size):
    span = Span(0, n_taps, n_out, stride, pad, dilation)
    for tap in range(n_taps):
        at, inside = span.met(tap, size)
        found = {(o, int(at[o])) for o in range(n_out) if inside[o]}
        place, there = span.places(tap, size)
        assert {(int(place[x]), x) for x in range(size) if there[x]} == found
        expected = {(o, o * stride + tap * dilation - pad) for o in range(n_out)}
        assert found == {(o, x) for o, x in expected if 0 <= x < size}
        assert (tap in span.useful(size)) or not found


def test_useful_taps_of_a_window_far_wider_than_the_data():
    span = Span(0, 2**31 - 1, 2, 2**29, 2**30, 1)
    assert span.useful(3) == [2**29, 2**29 + 1, 2**29 + 2, 2**30, 2**30 + 1, 2**30 + 2]
    assert Span(0, 100, 1, 1, 7, 4).useful(3) == [2]


def test_pick_fills_what_is_outside():
    x = np.arange(6.0).reshape(2, 3)
    at, inside = Span(1, 2, 3, 1, 1).met(0, 3)
    assert pick(np, x, 1, (at, inside), fill=-5.0).tolist() == [[-5, 0, 1], [-5, 3, 4]]
    everything = (np.arange(3), np.ones(3, bool))
    assert pick(np, x, 1, everything) is x


def test_patches_go_over_the_first_span_slowest():
    x = np.arange(12.0).reshape(3, 4)
    found = list(patches(np, x, [Span(0, 2, 2), Span(1, 2, 3)]))
    assert [taps for taps, _ in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert np.array_equal(found[2][1], x[1:, :3])


def test_spread_puts_values_back():
    x = np.array([1.0, 2.0, 3.0])
    assert spread(np, x, Span(0, 3, 3, stride=2, pad=1), 2, 6).tolist() == [0, 1, 0, 2, 0, 3]


@pytest.mark.parametrize(
    ("size", "taps", "stride", "pad", "dilation", "extent"),
    [(9, 3, 2, 1, 1, 5), (9, 3, 2, 0, 2, 3), (3, 4, 2, 0, 1, 1), (2, 4, 2, 0, 1, 0), (5, 5, 1, 0, 1, 1)],
)  # fmt: skip
def test_conv_extent(size, taps, stride, pad, dilation, extent):
    numbers = [np.array([n]) for n in (size, taps, stride, pad, dilation)]
    found = conv_extent(
        numbers[0], numbers[1], stride=numbers[2], pad=numbers[3], dilation=numbers[4]
    )
    assert found.tolist() == [extent]
