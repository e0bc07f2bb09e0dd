"""`ggmlrpc serve` as a process: banner, clients, signals."""

import os
import re
import signal
import subprocess
import sys

import pytest

from ggmlrpc_core.cli.serve import AS_ROOT
from ggmlrpc_core.client.greeting import connect

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")

AT_START = f"{AS_ROOT}\n" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
"""What a server says on stderr before anything has happened."""

PLUGIN = """
from ggmlrpc_core.device import DeviceInfo
from ggmlrpc_core.hookspecs import hookimpl
from ggmlrpc_core.testing.null import NullDevice

@hookimpl
def ggmlrpc_devices():
    return [DeviceInfo("NULL0", "computes nothing")]

@hookimpl
def ggmlrpc_open_device(name, n_threads):
    return NullDevice(name) if name == "NULL0" else None
"""


@pytest.fixture
def serve(tmp_path):
    """Start `ggmlrpc serve` with a pretended plugin; killed with the test."""
    (tmp_path / "nullplugin.py").write_text(PLUGIN)
    info = tmp_path / "nullplugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nullplugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ggmlrpc]\nnulls = nullplugin\n")
    started = []

    def begin(*words, **environ):
        env = {k: v for k, v in os.environ.items() if not k.endswith("RPC_DEBUG")}
        env |= {"PYTHONPATH": str(tmp_path), "GGMLRPC_LOAD_PLUGINS": "nulls", **environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "ggmlrpc_core.cli", "serve", *words],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def lines_until(process, word):
    """Lines of stdout up to the one that holds a word."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if word in line:
            return lines
    raise AssertionError(f"ended with {lines} {process.stderr.read()}")


@posix_only
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_banner_client_and_signal(serve, number):
    process = serve("-p", "0", "-d", "NULL0/null0,", "-c")
    lines = lines_until(process, "Only this machine")
    port = re.fullmatch(r"  endpoint       : 127.0.0.1:(\d+)", lines[1])[1]
    assert lines[0] == "Starting RPC server v7.0.0"
    assert lines[2].endswith("/llama.cpp/rpc") or lines[2].endswith("/rpc")
    assert lines[3:7] == [
        "Devices:",
        "  NULL0: computes nothing (512 MiB, 512 MiB free)",
        "  NULL0: computes nothing (512 MiB, 512 MiB free)",
        "  transport      : TCP",
    ]
    with connect(f"127.0.0.1:{port}", 20) as client:
        assert client.call("ALLOC_BUFFER", device=1, size=1000)["remote_size"] == 1000
        accepted = lines_until(process, "Accepted")[0]
        assert accepted.startswith("Accepted client connection [c1 127.0.0.1:")
        process.send_signal(getattr(signal, number))
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, AT_START)
    assert out.startswith("Client connection closed [c1 127.0.0.1:")


@posix_only
def test_a_unix_socket_goes_with_the_server(serve, tmp_path):
    path = tmp_path / "socket"
    process = serve("-H", f"unix:{path}")
    lines_until(process, "stock client needs TCP")
    assert path.exists()
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, AT_START)
    assert not path.exists()


@posix_only
def test_debug_prints_a_line_per_message(serve):
    process = serve("-p", "0", GGML_RPC_DEBUG="1")
    lines = lines_until(process, "Only this machine")
    with connect(lines[1].split()[-1], 20) as client:
        client.call("DEVICE_COUNT")
    lines_until(process, "closed")
    process.terminate()
    _, err = process.communicate(timeout=20)
    shown = [line.split("] ", 1)[1] for line in err.removeprefix(AT_START).splitlines()]
    assert shown[:4] == [
        "> HELLO 24 bytes",
        "< HELLO 28 bytes",
        "> DEVICE_COUNT 0 bytes",
        "< DEVICE_COUNT 4 bytes",
    ]


def test_a_port_that_is_taken(serve):
    process = serve("-p", "0")
    port = lines_until(process, "Only this machine")[1].rpartition(":")[2]
    second = serve("-p", port)
    out, err = second.communicate(timeout=20)
    assert (second.returncode, out) == (1, "")
    assert re.fullmatch(rf"ggmlrpc: .*127\.0\.0\.1:{port}: .*\n", err)


def test_a_device_that_does_not_exist(serve):
    process = serve("-d", "CUDA7")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == "ggmlrpc: --device: name is CUDA7, expected one of: NULL0\n"


@posix_only
def test_listeners_of_several_versions(serve):
    process = serve(
        "-p", "0", "--dialect", "auto", "--listen", "0=3.6.1", "--listen", "[::1]:0=none-C"
    )
    lines = lines_until(process, "Only this machine")
    assert lines[0] == "Starting RPC server v7.0.0"
    at = lines.index("")
    shown = [re.sub(r":\d+ ", ":PORT ", line) for line in lines[at + 1 : at + 4]]
    assert shown == [
        "127.0.0.1:PORT announces every version, by trial (auto)",
        "127.0.0.1:PORT announces 3.6.1",
        "[::1]:PORT announces none-C",
    ]
    endpoint = lines[at + 2].split()[0]
    with connect(endpoint, 20, dialect="3.6.1") as client:
        assert client.call("DEVICE_COUNT") == {"device_count": 1}


def test_a_dialect_that_does_not_exist(serve):
    process = serve("-p", "0", "--listen", "0=8.0.0")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("ggmlrpc: dialect: name is '8.0.0', expected one of none-A, none-B, ")
