"""The HTTP side of what is counted: pages, health, and whom it answers."""

import json
import logging
import socket
import struct
import threading
import urllib.error
import urllib.request

import pytest

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.server.metrics import MetricsServer, is_own_name
from ggmlrpc_core.server.status import DeviceStatus, Status

STATUS = Status(
    version="1", endpoints={"here": "7.0.0"}, seconds=5.0, connections=3, refused=1, faults=2,
    memory=100, memory_limit=1000, received=40, sent=50, commands={"HELLO": 3},
    devices=(DeviceStatus("CPU", "a CPU", 4, 1.5, (1, 0, 2, *[0] * 8), 0.25),), clients=(),
)  # fmt: skip


@pytest.fixture
def site():
    """Ask for a page: (code, text); `problem` is what is wrong with the server."""
    problem = [""]
    http = MetricsServer(Endpoint("127.0.0.1", 0), lambda: STATUS, healthy=lambda: problem[0])

    def get(path, host=None):
        request = urllib.request.Request(f"http://{http.endpoint}{path}")
        if host is not None:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    get.problem = problem
    get.endpoint = http.endpoint
    yield get
    http.close()


def test_metrics_are_text_for_prometheus(site):
    code, text = site("/metrics")
    lines = text.splitlines()
    assert code == 200
    for line in (
        "ggmlrpc_clients 0.0",
        "ggmlrpc_memory_bytes 100.0",
        "ggmlrpc_memory_limit_bytes 1000.0",
        "ggmlrpc_faults_total 2.0",
        'ggmlrpc_commands_total{command="HELLO"} 3.0',
        'ggmlrpc_device_queue{device="CPU"} 4.0',
        'ggmlrpc_graph_seconds_bucket{device="CPU",le="0.003"} 1.0',
        'ggmlrpc_graph_seconds_bucket{device="CPU",le="+Inf"} 3.0',
        'ggmlrpc_graph_seconds_sum{device="CPU"} 0.25',
    ):
        assert line in lines


def test_status_is_json(site):
    code, text = site("/status")
    assert code == 200
    assert json.loads(text)["devices"][0]["queue"] == 4


def test_health(site):
    assert site("/healthz") == (200, "ok\n")
    site.problem[0] = "device GPU0 is lost"
    assert site("/healthz") == (503, "device GPU0 is lost\n")


def test_other_pages_name_those_that_exist(site):
    assert site("/") == (404, "/metrics /status /healthz\n")


def test_a_name_that_points_here_is_refused(site):
    assert site("/metrics", host="evil.example:80")[0] == 403
    assert site("/healthz", host="localhost")[0] == 200


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1:9", True), ("[::1]:9", True), ("LOCALHOST:9", True),
     ("a.example", False), ("", False), ("127.0.0.1.example:9", False)],
)  # fmt: skip
def test_is_own_name(host, own):
    assert is_own_name(host) is own


def test_over_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    http = MetricsServer(Endpoint("::1", 0), lambda: STATUS, healthy=str)
    try:
        with urllib.request.urlopen(f"http://{http.endpoint}/healthz", timeout=20) as answer:
            assert answer.read() == b"ok\n"
    finally:
        http.close()


def test_who_leaves_before_the_answer_leaves_no_traceback(site, capfd):
    told = threading.Event()

    class Listens(logging.Handler):
        def emit(self, record):
            told.set()

    log, handler = logging.getLogger("ggmlrpc.server"), Listens()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        with socket.create_connection((site.endpoint.host, site.endpoint.port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(b"GET /status")
        assert told.wait(20)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    assert "Traceback" not in capfd.readouterr().err
