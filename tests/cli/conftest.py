"""A command changes the log and the signals of its process; tests get them back."""

import logging
import signal

import pytest


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
