"""Where lines of the log go."""

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
