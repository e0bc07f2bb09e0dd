"""Hostile sessions against a server of this process: it stays, and nobody else's memory comes out."""

import random
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `hostile`

from hostile.attack import SECRET, Attacker

from ggmlrpc_core.client import rpc_init
from ggmlrpc_core.server.server import Server
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.wire import dialects

DIALECTS = ("7.0.0", "5.1.0", "4.0.0", "3.6.1", "2.0.0", "none-A")


@pytest.fixture(scope="module", params=DIALECTS)
def served(request):
    """A server of one dialect whose memory was full of the secret before."""
    with (
        Server(
            [lambda: NullDevice("NULL0", total=1 << 26)],
            endpoint="127.0.0.1:0",
            dialect=request.param,
        ) as server,
        rpc_init(str(server.endpoint), dialect=request.param) as device,
    ):
        data = SECRET * 400_000
        with device.alloc(len(data)) as buffer:
            buffer.set(data)
            device.synchronize()
        yield server


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1)
)  # a generator of its own: how much is drawn depends on answers
def test_nobody_is_hurt(served, seed):
    address = (served.endpoint.host, served.endpoint.port)
    dialect, rng = dialects.dialect(served.dialect.name), random.Random(seed)
    Attacker(lambda: socket.create_connection(address, 20), dialect, rng, patience=0.02).run()
    with rpc_init(str(served.endpoint), dialect=dialect.name) as device:
        assert device.alignment == 32
