"""Write docs/reference/hostile.md from the figures of run.py.

python tests/hostile/page.py OURS.json STOCK.json docs/reference/hostile.md
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HEAD = """# Under attack, measured

Sessions of `tests/hostile/run.py`: a client connects, sends a few valid requests and then one to four hostile ones:
graphs of all op cases with changed fields, requests with changed fields, flipped bits, other lengths, cut messages.
After each a new client must be greeted within five seconds. Our server also holds another client, whose memory must
stay as it is and never come back in an answer; the stock server serves one client at a time, so it has none. A
session is had again by its seed: `python tests/hostile/run.py --seed N --sessions 1`. Measured on {date}, Python
{python}, dialect 7.0.0.

| | ggmlrpc | stock llama.cpp |
| --- | --- | --- |
"""

ROWS = (
    ("sessions", "sessions"),
    ("ended the process", "ended"),
    ("hung it", "hung"),
    ("another client's bytes in an answer", "leaked"),
    ("another client's memory changed", "corrupted"),
)


def page(ours: dict[str, Any], stock: dict[str, Any]) -> str:
    """The whole page."""
    text = HEAD.format(date=f"{datetime.now(UTC):%Y-%m-%d}", python=platform.python_version())
    for label, key in ROWS:
        other = "-" if key in ("leaked", "corrupted") else stock[key]
        text += f"| {label} | {ours[key]} | {other} |\n"
    middle, end = (round(size / 1e6) for size in ours["memory"])
    text += f"| resident memory after half of them, and at the end | {middle} MB, {end} MB | - |\n"
    return text


def main() -> int:
    """Command line."""
    if len(sys.argv) != 4:
        print(__doc__)
        return 2
    ours, stock = (json.loads(Path(name).read_text()) for name in sys.argv[1:3])
    Path(sys.argv[3]).write_text(page(ours, stock))
    return 0


if __name__ == "__main__":
    sys.exit(main())
