"""Sizes and lists on a command line."""

import click
import pytest

from ggmlrpc_core.cli.options import SIZE, split_names


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("4096", 4096), ("512M", 512 << 20), ("16G", 16 << 30), ("1.5k", 1536),
        ("2TiB", 2 << 40), ("3GB", 3 << 30), (7, 7),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "-1", "1X", "G", "1 2", "0x10"])
def test_no_sizes(text):
    with pytest.raises(click.BadParameter, match="is not a size such as 512M or 16G"):
        SIZE.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, []), ("CPU", ["CPU"]), ("CUDA0,CUDA1/CPU", ["CUDA0", "CUDA1", "CPU"]), (",A,/", ["A"])],
)
def test_names(text, names):
    assert split_names(text) == names
