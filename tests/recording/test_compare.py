import numpy as np
import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.compare import Comparison, check_tolerance, values


def compare(got, want, tolerance, kind="F32", *, cut=3):
    """Fed in odd pieces, expected in others."""
    found = Comparison(iter([want[:5], want[5:]]), tolerance=tolerance, ggml_type=kind)
    for at in range(0, len(got), cut):
        found.feed(got[at : at + cut])
    return found.result()


def f32(*numbers):
    return np.array(numbers, "<f4").tobytes()


def test_equal_bytes_need_no_tolerance():
    assert compare(b"abc", b"abc", "exact", "Q4_0").equal
    found = compare(f32(1, np.nan, np.inf), f32(1, np.nan, np.inf), {"nmse": 0.0})
    assert found.equal and found.nmse == 0 and not found.fault


def test_exact_says_where_it_differs():
    found = compare(b"abcdXf", b"abcdef", "exact", "I32")
    assert not found.equal
    assert found.fault == "byte 4 differs, expected equal bytes"


def test_nmse_is_over_the_energy_of_what_is_expected():
    found = compare(f32(1, 2, 3), f32(1, 2, 4), {"nmse": 0.05})
    assert found.nmse == pytest.approx(1 / 21) and found.most == 1 and not found.fault
    assert (
        "nmse is 0.0476, expected at most 0.01"
        in compare(f32(1, 2, 3), f32(1, 2, 4), {"nmse": 0.01}).fault
    )


def test_both_rules_must_hold():
    found = compare(f32(0, 0.5), f32(0, 1), {"nmse": 1.0, "abs": 0.25})
    assert found.fault == "abs is 0.5, expected at most 0.25"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_must_be_at_the_same_places(wrong):
    found = compare(f32(1, wrong), f32(1, 1), {"nmse": 1e9})
    assert "value 1 is not finite" in found.fault
    assert "value 1" in compare(f32(1, np.inf), f32(1, -np.inf), {"nmse": 1e9}).fault


def test_any_error_against_zeros_is_too_much():
    assert "nmse is inf" in compare(f32(1e-30), f32(0), {"nmse": 1e9}).fault


def test_missing_and_additional_bytes_are_faults():
    assert compare(f32(1), f32(1, 2), {"nmse": 1}).equal  # the reply's length is judged elsewhere
    assert compare(f32(1, 2), f32(1), {"nmse": 1}).fault
    assert compare(f32(1) + b"x", f32(1), {"nmse": 1}).fault


@pytest.mark.parametrize(("kind", "bits"), [("F16", "<f2"), ("BF16", None)])
def test_half_floats(kind, bits):
    want = np.array([1.0, -2.5], "<f4")
    raw = want.astype(bits).tobytes() if bits else (want.view("<u4") >> 16).astype("<u2").tobytes()
    assert values(raw, kind).tolist() == [1.0, -2.5]
    assert compare(raw, raw[:2] + b"\0\0", {"nmse": 1.0}, kind).nmse == pytest.approx(6.25)


@pytest.mark.parametrize(
    "value", ["near", {}, {"x": 1}, {"nmse": -1}, {"nmse": True}, {"nmse": "1"}, 5, {"abs": 1e999}]
)
def test_what_is_no_tolerance_is_refused(value):
    with pytest.raises(RecordingError, match="here: tol is"):
        check_tolerance(value, where="here")
