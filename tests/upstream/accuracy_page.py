"""Write docs/reference/accuracy.md from the figures that the tests of this folder measured.

pytest tests/upstream --stock FOLDER --figures FIGURES
python tests/upstream/accuracy_page.py FIGURES docs/reference/accuracy.md
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

INTRODUCTION = """# Accuracy under the stock client

Measured on {date}: the client is the llama.cpp of {client}, the server is {server}. NMSE is the
mean square of the difference over the mean square of what is expected. "Exact" is the same weights after rounding to
their type, computed as F32 with an F32 KV cache; for a single MUL_MAT it is float64. Models are small, with seeded
random weights (`tests/upstream/models.py`); the logits of a prompt of 40 and of 32 single tokens are compared, and the
worst of all placements (all layers on the server, half of them, two devices) is shown.

This page is made by `tests/upstream/accuracy_page.py` from a run of `tox -e upstream`.
"""


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(map(str, row)) for row in rows]
    names = list(head)
    shown = [names, ["---"] * len(names), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in shown) + "\n"


def figure(value: float) -> str:
    """Two digits."""
    return f"{value:.1e}"


def models_table(rows: list[dict[str, Any]]) -> str:
    """The worst figures of each model and KV cache over its placements."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["arch"], row["type"], row["kv"]].append(row)

    def cells() -> Iterable[list[str]]:
        for key, group in groups.items():
            worst = max(group, key=lambda row: row["to_stock"])
            cells = [*key, figure(worst["to_stock"])]
            if "to_exact" in worst:
                cells += [figure(max(row["to_exact"] for row in group))]
                cells += [figure(worst["stock_to_exact"])]
                cells += [str(min(row["same_tokens"] for row in group))]
            else:
                cells += ["", "", "all"]
            yield cells

    head = ["model", "weights", "attention and KV", "ours to stock", "ours to exact"]
    return table([*head, "stock to exact", "equal most likely tokens of 32"], cells())


def mul_mat_table(rows: list[dict[str, Any]]) -> str:
    """NMSE of one MUL_MAT by type and number of columns."""
    groups: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        groups[row["type"]][row["columns"]] = row["to_exact"]
    columns = sorted({row["columns"] for row in rows})
    head = ["weights", *(f"{n} columns" if n > 1 else "1 column" for n in columns)]
    return table(
        head, [[name, *(figure(group[n]) for n in columns)] for name, group in groups.items()]
    )


def page(figures: dict[str, Any]) -> str:
    """The whole page."""
    rows = figures["rows"]
    text = INTRODUCTION.format(**figures)
    text += "\n## Whole models\n\n" + models_table([r for r in rows if r["table"] == "model"])
    text += "\n## One MUL_MAT\n\nThe bound of the tests is 5e-4.\n\n"
    return text + mul_mat_table([r for r in rows if r["table"] == "mul_mat"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write the accuracy page from measured figures.")
    parser.add_argument("figures", type=Path, help="file made by pytest --figures")
    parser.add_argument("page", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    args.page.write_text(page(json.loads(args.figures.read_text())))


if __name__ == "__main__":
    main()
