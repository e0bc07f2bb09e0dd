"""What `ggmlrpc top` shows of two looks."""

import json
import socket
from dataclasses import asdict, replace

import pytest

from ggmlrpc_core.cli import top
from ggmlrpc_core.server.status import ClientStatus, DeviceStatus, Status

CLIENT = ClientStatus("c1 127.0.0.1:9", "7.0.0", 65.0, 3 << 20, 1000, 2000, 10, {})
DEVICE = DeviceStatus("CPU", "a [bold] CPU", 2, 10.0, (10, 0), 5.0)
BEFORE = Status("1.0", {}, 60.0, 4, 1, 2, 3 << 20, 1 << 30, 0, 0, {}, (DEVICE,), (CLIENT,))
AFTER = replace(
    BEFORE,
    seconds=62.0,
    devices=(replace(DEVICE, busy_seconds=11.0, graphs=(15, 1)),),
    clients=(replace(CLIENT, seconds=67.0, received=5096, sent=2000, graphs=16),),
)


def shown(now, before):
    from rich.console import Console

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(top.page(json.loads(json.dumps(asdict(now))), asdict(before)))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_rates_are_those_between_two_looks():
    lines = shown(AFTER, BEFORE)
    assert lines[0] == (
        "ggmlrpc 1.0, up 1m02s, 1 clients, 3.0 MiB of 1.0 GiB in buffers, 4 connections, "
        "2 closed by a fault, 1 refused"
    )
    assert "CPU 50% 2 3.0 a [bold] CPU" in lines
    assert "c1 127.0.0.1:9 7.0.0 1m07s 3.0 MiB 2.0 KiB 0 B 3.0" in lines


@pytest.mark.parametrize(("seconds", "text"), [(5, "0m05s"), (3661, "1h01m"), (200_000, "2d")])
def test_durations(seconds, text):
    assert f"up {text}," in shown(replace(BEFORE, seconds=seconds), BEFORE)[0]


def test_nobody_there_is_one_line(capsys):
    from ggmlrpc_core.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["top", "127.0.0.1:1", "--once"])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("ggmlrpc: top: 127.0.0.1:1 is ")
    assert error.endswith(", expected the port that `ggmlrpc serve --metrics` names\n")


def test_a_server_is_asked_by_any_name(monkeypatch):
    from ggmlrpc_core.endpoint import Endpoint
    from ggmlrpc_core.server.metrics import MetricsServer

    http = MetricsServer(Endpoint("127.0.0.1", 0), lambda: AFTER, healthy=str)
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **options: real("127.0.0.1", *more, **options)
    )
    try:
        assert top.look(f"worker.example:{http.endpoint.port}")["version"] == "1.0"
    finally:
        http.close()
