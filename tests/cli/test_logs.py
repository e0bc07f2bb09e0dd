"""Where lines of the log go."""

import json
import logging

from ggmlrpc_core.cli import logs


def test_what_the_stock_server_prints_is_plain_on_stdout(capsys, monkeypatch):
    monkeypatch.delenv("GGMLRPC_DEBUG", raising=False)
    monkeypatch.delenv("GGML_RPC_DEBUG", raising=False)
    logs.set_up()
    log = logging.getLogger("ggmlrpc.server")
    log.info("Accepted client connection [%s]", "c1")
    log.warning("[c1] closed")
    log.debug("> HELLO")
    captured = capsys.readouterr()
    assert captured.out == "Accepted client connection [c1]\n"
    assert captured.err.endswith(" WARNING [c1] closed\n")
    assert "HELLO" not in captured.err


def test_debug_goes_to_stderr(capsys, monkeypatch):
    monkeypatch.setenv("GGMLRPC_DEBUG", "1")
    logs.set_up()
    logging.getLogger("ggmlrpc.server").debug("> HELLO")
    assert capsys.readouterr().err.endswith(" DEBUG > HELLO\n")


def test_json_is_an_object_a_line(capsys):
    logs.set_up(as_json=True)
    log = logging.getLogger("ggmlrpc.server")
    log.info("Accepted client connection [%s]", "c1")
    log.warning('[c1] closed: "\n"')
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = map(json.loads, captured.err.splitlines())
    assert first.pop("time") > 0
    assert first == {
        "level": "info", "logger": "ggmlrpc.server", "message": "Accepted client connection [c1]",
    }  # fmt: skip
    assert second["message"] == '[c1] closed: "\n"'
