import inspect

import pytest

from ggmlrpc_core import errors

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.GgmlRpcError)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_the_sentence_is_made_of_the_values(cls):
    error = cls("ALLOC_BUFFER", "request_size", "8 bytes", "12", context="protocol 7.0.0")
    assert str(error) == "ALLOC_BUFFER: request_size is 8 bytes, expected 12 [protocol 7.0.0]"
    assert str(cls("A", "b", 1, "2")) == "A: b is 1, expected 2"
    assert (error.where, error.what, error.got, error.expected) == (
        "ALLOC_BUFFER",
        "request_size",
        "8 bytes",
        "12",
    )


def test_text_of_a_peer_is_cut_and_escaped():
    assert errors.clip("a\x1b[0m\nb") == "a\\x1b[0m\\nb"
    assert errors.clip("x" * 81) == "x" * 77 + "..."
    assert errors.clip("x" * 80) == "x" * 80
    assert "\n" not in str(errors.BadGraph("A", "b", "c\nd", "e"))


def test_both_sides_of_a_fault_have_their_own_family():
    assert issubclass(errors.VersionMismatch, errors.RemoteProtocolError)
    assert not issubclass(errors.LocalProtocolError, errors.RemoteProtocolError)
    assert issubclass(errors.OutOfDeviceMemory, errors.DeviceError)
