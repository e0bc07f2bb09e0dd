"""EnginePair: requests, bodies and answers meet their other side."""

from __future__ import annotations

import pytest

from ggmlrpc_core.testing.pair import EnginePair
from ggmlrpc_core.wire.dialects import dialect, wire_states
from ggmlrpc_core.wire.tensors import TensorRecord

TENSOR = TensorRecord(id=1, type=24, ne=(5, 1, 1, 1), nb=(1, 5, 5, 5), buffer=7, data=4096)


@pytest.mark.parametrize("name", [d.name for d in wire_states()])
def test_a_short_session(name):
    pair = EnginePair(dialect(name))
    if "HELLO" in pair.dialect.by_name:
        pair.hello()
    assert pair.ask("ALLOC_BUFFER", device=0, size=64).fields["size"] == 64
    assert pair.answer(remote_ptr=7, remote_size=64).fields == {"remote_ptr": 7, "remote_size": 64}
    request = pair.ask("SET_TENSOR", body=b"hello", tensor=TENSOR, offset=0)
    assert (request.body_size, pair.take_body(5)) == (5, b"hello")
    if pair.dialect.by_name["SET_TENSOR"].reply is not None:  # before 2.0.0
        assert pair.answer().fields == {}
    assert pair.ask("GET_TENSOR", tensor=TENSOR, offset=1, size=3).fields["size"] == 3
    assert pair.answer_data(b"ell") == b"ell"
    pair.ask("GET_TENSOR", tensor=TENSOR, offset=1, size=0)
    assert pair.answer_data(b"") == b""
