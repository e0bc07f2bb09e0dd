"""Give new cases their permanent numbers: appends to cases/numbers.csv, never changes a line.

    python conformance/number_cases.py

A case that was taken out keeps its line; write the version of the suite in the column `withdrawn`.
"""

from __future__ import annotations

import csv
from pathlib import Path

from ggmlrpc_conformance.library import UNNUMBERED, all_cases, numbers_table

FILE = Path(__file__).parent / "src" / "ggmlrpc_conformance" / "cases" / "numbers.csv"


def main() -> None:
    """Number what has no number."""
    rows = numbers_table()
    last = max((int(row["number"][1:]) for row in rows), default=0)
    new = [case.id for case in all_cases().values() if case.number == UNNUMBERED]
    with FILE.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, case_id in enumerate(new, start=last + 1):
            writer.writerow([f"C{number:04d}", case_id, ""])
    print(f"{len(new)} cases numbered, {len(rows) + len(new)} in all")


if __name__ == "__main__":
    main()
