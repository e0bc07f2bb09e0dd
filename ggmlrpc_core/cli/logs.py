"""The log of a command: what the stock server prints goes to stdout as it is, faults to stderr with
the time, and with GGMLRPC_DEBUG=1 a line per message to stderr.
"""

from __future__ import annotations

import logging
import sys

from ggmlrpc_core.server import trace


def set_up() -> None:
    """Send the package's log to stdout and stderr."""
    log = logging.getLogger("ggmlrpc")
    debug = trace.wanted()
    log.setLevel(logging.DEBUG if debug else logging.INFO)
    plain = logging.StreamHandler(sys.stdout)
    plain.setFormatter(logging.Formatter("%(message)s"))
    plain.addFilter(lambda record: record.levelno == logging.INFO)
    timed = logging.StreamHandler(sys.stderr)
    timed.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    timed.addFilter(lambda record: record.levelno != logging.INFO)
    log.handlers = [plain, timed]
    log.propagate = False
