import click
import pytest

from ggmlrpc_core.cli.tolerance import TOLERANCE


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("nmse=1e-4", {"nmse": 1e-4}),
        ("nmse=1e-4,abs=2", {"nmse": 1e-4, "abs": 2.0}),
        ("exact", {"nmse": 0.0}),
    ],
)
def test_text_becomes_bounds(text, bounds):
    assert TOLERANCE.convert(text, None, None) == bounds


@pytest.mark.parametrize("text", ["", "1e-4", "nmse", "nmse=x", "rms=1", "nmse=-1", "abs=inf"])
def test_what_is_no_tolerance_is_wrong_usage(text):
    with pytest.raises(click.UsageError, match="is not a tolerance such as"):
        TOLERANCE.convert(text, None, None)
