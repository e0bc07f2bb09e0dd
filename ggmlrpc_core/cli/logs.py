"""The log of a command: what the stock server prints goes to stdout as it is, faults to stderr with
the time, and with GGMLRPC_DEBUG=1 a line per message to stderr. As JSON, every line goes to stderr.
"""

from __future__ import annotations

import json
import logging
import sys

from ggmlrpc_core.server import trace


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds since the epoch), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        values = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values)


def set_up(*, as_json: bool = False) -> None:
    """Send the package's log to stdout and stderr."""
    log = logging.getLogger("ggmlrpc")
    debug = trace.wanted()
    log.setLevel(logging.DEBUG if debug else logging.INFO)
    log.propagate = False
    if as_json:
        lines = logging.StreamHandler(sys.stderr)
        lines.setFormatter(JsonFormatter())
        log.handlers = [lines]
        return
    plain = logging.StreamHandler(sys.stdout)
    plain.setFormatter(logging.Formatter("%(message)s"))
    plain.addFilter(lambda record: record.levelno == logging.INFO)
    timed = logging.StreamHandler(sys.stderr)
    timed.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    timed.addFilter(lambda record: record.levelno != logging.INFO)
    log.handlers = [plain, timed]
