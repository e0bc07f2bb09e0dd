"""A command changes the log and the signals of its process; tests get them back."""

import logging
import signal

import numpy as np
import pytest

from ggmlrpc_core.cli import main
from ggmlrpc_core.client import rpc_init
from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.recording.proxy import Recorder, Route
from ggmlrpc_core.server import Server
from ggmlrpc_core.testing import ReferenceDevice


@pytest.fixture(autouse=True)
def process_state():
    log = logging.getLogger("ggmlrpc")
    before = log.handlers, log.level, log.propagate
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    log.handlers, log.propagate = before[0], before[2]
    log.setLevel(before[1])
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def run(capsys):
    """A command line: `run("show", path)` gives (exit code, stdout, stderr)."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


@pytest.fixture
def reference_server():
    """A server with the reference device; gives its endpoint."""
    with Server([lambda: ReferenceDevice("REF0", total=1 << 24)], endpoint="127.0.0.1:0") as server:
        yield server.endpoint


@pytest.fixture
def recording(reference_server, tmp_path):
    """A small recording: one buffer, an upload, a squaring graph, a read."""
    path = tmp_path / "x.ggrec"
    recorder = Recorder(path, [Route(Endpoint("127.0.0.1", 0), reference_server)])
    with rpc_init(str(recorder.endpoints[0])) as device:
        square(device)
    recorder.close()
    return path


def square(device):
    """Square eight numbers on a remote device."""
    builder = GraphBuilder()
    x = builder.new_tensor("F32", 8, name="x")
    y = builder.sqr(x)
    with allocate([x, y], device) as buffer:
        buffer.set(np.arange(8, dtype=np.float32), x.offset)
        device.compute(builder.graph(y))
        return np.frombuffer(buffer.get(32, y.offset), np.float32)


@pytest.fixture
def squared():
    """The function that squares eight numbers on a device."""
    return square
