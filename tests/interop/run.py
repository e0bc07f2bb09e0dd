"""Run the peers of other versions in both directions and print the table: `tox -e interop-VERSION`.

    python tests/interop/run.py FOLDER [--version V ...] [--kept] [--page FILE]

FOLDER is that of build_peers.py. Each peer's result goes to FOLDER/V/interop.json, so that the page has all that were
ever run there, whoever was built in between. Exit status 1 when a peer that was run has a cell that is not good; the
reason of each is printed below the table. --kept runs nothing and shows what was kept; --page writes the documentation
page from the results of all peers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # makes `interop` importable

from interop.build_peers import find_peer
from interop.measure import Result
from interop.page import COLUMNS, page, row_of, server_cell
from interop.peers import PEERS, Peer, peer
from interop.results import as_result, kept_result, run_peer

WIDTH = 200
"""Columns that the table needs at least, whatever the terminal says."""


def show(console: Console, results: list[tuple[Peer, Result]]) -> None:
    """The table, and below it every reason."""
    table = Table(
        title="clients of other versions through ggmlrpc serve, and our client to their servers"
    )
    for name in ("peer", "dialect", *COLUMNS, "graphs"):
        table.add_column(name, no_wrap=name == "peer")
    for one, result in results:
        table.add_row(one.name, one.dialect, *row_of(result), server_cell(result))
    Console(width=max(console.width, WIDTH)).print(table)
    for one, result in results:
        for line in result.failures:
            console.print(f"{one.name}: {line}", highlight=False, soft_wrap=True, markup=False)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Run peers of other versions.")
    parser.add_argument("folder", type=Path, help="that of build_peers.py")
    parser.add_argument("--version", action="append", metavar="V", help="only this release")
    parser.add_argument("--kept", action="store_true", help="show kept results, run nothing")
    parser.add_argument("--page", type=Path, help="write the page with the results of all peers")
    args = parser.parse_args()
    console = Console()
    wanted = [peer(v) for v in args.version] if args.version else list(PEERS)
    results = []
    for one in wanted:
        built = None if args.kept else find_peer(args.folder, one)
        if built is not None:
            console.print(f"{one.name} ({one.dialect})")
            run_peer(built, args.folder)
        elif not args.kept:
            console.print(f"{one.name}: not built in {args.folder}", style="yellow")
            continue
        kept = kept_result(args.folder, one)
        if kept is not None:
            results.append((one, as_result(kept)))
    show(console, results)
    if args.page:
        args.page.write_text(page(args.folder, kept_result))
    return 1 if not results or any(result.failures for _, result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
