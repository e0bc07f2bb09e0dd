"""What differs between two dialects, and what comes of it."""

from itertools import pairwise

import pytest

from ggmlrpc_core.wire.dialects import dialect, dialect_names
from ggmlrpc_core.wire.differences import Kind, consequence, differences

NUMBER = Kind.NUMBER.value


def told(old, new):
    return [d.text for d in differences(dialect(old), dialect(new))]


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        ("5.0.0", "5.1.0", []),
        ("3.5.0", "3.6.0@2025-12-05", ["GET_ALLOC_SIZE has 3260 bytes instead of 300"]),
        ("2.0.0", "2.0.0@2025-09-04", ["1 unary function gone: XIELU"]),
        ("none-A", "none-B@2024-05-20", ["a tensor has 292 bytes instead of 296"]),
        (
            "none-A",
            "none-C@2024-06-15",
            [
                "a tensor of the same size has its fields at other places",
                "19 ops renumbered, first FLASH_ATTN_EXT, 55 instead of 56",
                "2 ops gone: FLASH_ATTN, FLASH_FF",
            ],
        ),
        (
            "1.0.0",
            "2.0.0@2025-05-21",
            [
                "SET_TENSOR is not answered any more",
                "3 unary functions renumbered, first RELU, 14 instead of 6",
                "1 unary function new: GELU_ERF",
            ],
        ),
        (
            "6.0.0",
            "7.0.0",
            [
                "SET_TENSOR has a fixed part of 305 bytes instead of 304",
                "1 glu function new: SWIGLU_CLAMP",
            ],
        ),
        (
            "3.5.0",
            "3.0.0",
            ["GRAPH_RECOMPUTE does not exist", "GRAPH_COMPUTE is answered"],
        ),
    ],
)
def test_differences(old, new, texts):
    assert sorted(told(old, new)) == sorted(texts)


@pytest.mark.parametrize(
    ("client", "server", "sentence"),
    [
        ("5.1.0", "5.0.0", "nothing that is known goes wrong between them"),
        ("3.6.1", "7.0.0", "a HELLO of 0 bytes instead of a HELLO of 24 bytes: the server closes at the first message"),
        ("7.0.0", "none-E", "a HELLO of 24 bytes instead of no HELLO: the server closes at the first message"),
        ("3.5.0", "3.0.0", "GRAPH_COMPUTE is not answered any more: what comes after it is misread"),
        ("3.6.1", "3.5.0", "GET_ALLOC_SIZE has 3260 bytes instead of 300: the server closes"),
        ("4.0.0", "4.0.3", "41 ops renumbered, first CONV_2D, 55 instead of 56: " + NUMBER),
        ("none-E", "none-D", "GET_TENSOR is command 8 instead of 7: the server closes"),
        ("ik-3.5.2/16src", "ik-3.5.2/12src", "a tensor has 344 bytes instead of 312: tensors are refused or misread"),
        ("7.0.0", "5.1.0", "FREE_BUFFER is not answered any more: what comes after it is misread"),
        ("5.0.0", "4.0.3", "MEMSET_TENSOR is new, command 17: a peer without it closes or ends"),
    ],
)  # fmt: skip
def test_the_worst_consequence(client, server, sentence):
    assert consequence(dialect(client), dialect(server)) == sentence


def test_every_state_differs_from_the_one_before_by_something():
    """Except the compute flag, and 5.1.0, whose use counts a server may leave unread."""
    names = dialect_names()
    same = [b for a, b in pairwise(names) if not told(a, b)]
    assert same == ["3.6.0@2026-01-19", "5.1.0"]
    assert all(not told(name, name) for name in names)
    assert {d.kind for a, b in pairwise(names) for d in differences(dialect(a), dialect(b))} == set(
        Kind
    )
