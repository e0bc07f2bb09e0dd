"""Measure our server against the stock one, in one run on one machine, and print the ratios.

    python tests/upstream/build_stock.py FOLDER          once
    python benchmarks/stock.py --stock FOLDER

Both servers run at the same time with the same number of threads and are measured in turn, A B A B; medians are
compared. The models have the shape of a known 1.1 B model and random weights; they are written to a temporary folder
(F16 needs 2.2 GB there and twice that in memory).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # for `upstream`

import models_speed
import wire_speed
from pairs import Row, Setup
from rich.console import Console
from rich.table import Table
from upstream.build_stock import find

GROUPS = ("models", "tiny", "transfers", "graphs")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--stock", type=Path, default=os.environ.get("GGMLRPC_STOCK"), metavar="FOLDER")
    add("--only", action="append", choices=GROUPS, help="measure this group; may be repeated")
    add("--types", default=",".join(models_speed.TYPES), help="weights (default: %(default)s)")
    add("--layers", type=int, help="cut the 1.1 B shape to this many layers")
    add(
        "--tokens", type=int, default=32, help="tokens per generation sample (default: %(default)s)"
    )
    add("--repeat", type=int, default=5, help="samples of each value (default: %(default)s)")
    add("--threads", type=int, default=os.cpu_count(), help="of each server (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="also write all samples to a file")
    add("--folder", type=Path, help="where models are written for a while (default: temporary)")
    add(
        "--ours",
        choices=("ggmlrpc", "stock"),
        default="ggmlrpc",
        help="'stock' measures the stock server against itself, which shows the noise",
    )
    args = parser.parse_args()
    if args.stock is None:
        parser.error("--stock or GGMLRPC_STOCK must name a folder of build_stock.py")
    return args


def processor() -> str:
    """Model name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def measure(setup: Setup, args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """All rows that were asked for, as they are measured."""
    wanted = args.only or GROUPS
    types = tuple(args.types.split(","))
    if "transfers" in wanted:
        yield from wire_speed.measure_transfers(setup)
    if "graphs" in wanted:
        yield from wire_speed.measure_graphs(setup)
    if "tiny" in wanted:
        yield from models_speed.measure_tiny(setup, folder)
    if "models" in wanted:
        yield from models_speed.measure(
            setup, folder, types=types, layers=args.layers, n_tokens=args.tokens
        )


def shown(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: list[Row], *, title: str) -> Table:
    """What is printed."""
    result = Table(title=title, title_justify="left")
    result.add_column("what")
    for name in ("stock", "ours", "ours / stock"):
        result.add_column(name, justify="right")
    result.add_column("unit")
    result.add_column("better")
    for row in rows:
        better = "higher" if row.higher_is_better else "lower"
        ratio = f"{row.ratio:.2f}" if row.unit != "MB" else ""
        result.add_row(row.name, shown(row.stock), shown(row.ours), ratio, row.unit, better)
    return result


def main() -> int:
    """Measure and print."""
    args = arguments()
    stock = find(args.stock)
    if stock is None:
        print(
            f"{args.stock}: no complete build; run tests/upstream/build_stock.py", file=sys.stderr
        )
        return 1
    setup = Setup(stock=stock, ours=args.ours, threads=args.threads, repeat=args.repeat)
    now = datetime.now(UTC)
    title = f"{now:%Y-%m-%d}, {processor()}, {args.threads} threads, {stock.version}"
    console, progress = Console(), Console(stderr=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ggmlrpc-bench-", dir=args.folder) as folder:
        for row in measure(setup, args, Path(folder)):
            rows.append(row)
            progress.print(f"{row.name}: {shown(row.stock)} {shown(row.ours)} {row.unit}")
    console.print(table(rows, title=title))
    if args.json:
        head = {"date": now.isoformat(timespec="seconds"), "processor": processor()}
        head |= {"threads": args.threads, "stock": stock.version, "ours": args.ours}
        args.json.write_text(
            json.dumps({**head, "rows": [r.as_json() for r in rows]}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
