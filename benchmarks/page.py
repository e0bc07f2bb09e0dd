"""Write docs/reference/benchmarks.md from the samples of one run.

python benchmarks/stock.py --stock FOLDER --json FILE
python benchmarks/page.py FILE docs/reference/benchmarks.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

INTRODUCTION = """\
# Benchmarks

Our server against the stock one on {date}: {processor}, {threads} threads for each server, {stock}, loopback.
Both servers run at the same time and are measured in turn; the medians are compared, and the range of
the samples is shown; where a range is far from its median another program took the cores, and the ratio
means nothing. Models have the shape of a 1.1 B llama (22 layers, embd 2048, ff 5632, 32 heads,
4 KV heads) and random weights, and run under the stock client. Transfers and graphs are measured with
our client against both servers; a transfer is closed by a GET of 4 bytes. "Allocated" is the sum of the
buffers of the client.

Made by `benchmarks/stock.py --json FILE` and `benchmarks/page.py FILE`; it holds what was measured, with no figure
left out.

"""


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(row: dict[str, Any], server: str) -> str:
    """The median, and the range where there are samples."""
    samples = row["samples"].get(server, [])
    shown = number(row[server])
    return (
        f"{shown} ({number(min(samples))} to {number(max(samples))})" if len(samples) > 1 else shown
    )


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    head = INTRODUCTION.format(**{**results, "date": results["date"][:10]})
    lines = ["| what | unit | stock | ours | ours / stock | better |", "|---|---|---|---|---|---|"]
    for row in results["rows"]:
        ratio = f"{row['ratio']:.2f}" if row["unit"] != "MB" else ""
        better = "higher" if row["higher_is_better"] else "lower"
        cells = [row["name"], row["unit"], cell(row, "stock"), cell(row, "ours"), ratio, better]
        lines.append("| " + " | ".join(cells) + " |")
    return head + "\n".join(lines) + "\n"


def main() -> int:
    """Read one file, write another."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(page(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
