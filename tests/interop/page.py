"""The documentation page of all peers, from their kept results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from interop.build_peers import build_error
from interop.measure import ABSENT, BOUNDS, GOOD, N_TOKENS, PROMPT, Result
from interop.peers import NOT_RELEASED, PEERS, Peer
from interop.results import as_result

NOTE = "<!-- made by tests/interop/run.py; do not edit -->\n\n"
CELLS = {
    "connects": "connects",
    "loads": "loads",
    "prefills": "prefills",
    "generates": "generates",
    "recomputes": "recomputes",
    "half": "half remote",
    "two devices": "two devices",
    "two servers": "two servers",
    "by version": "by version",
    "learned": "learned",
}
COLUMNS = (*CELLS.values(), *(f"NMSE {t}" for t in BOUNDS))

INTRO = """# Interoperation with older versions

Releases of llama.cpp from the package index, built from source, run against this package in both directions.
`tox -e interop-VERSION` makes a row again.

Client through our server: a seeded llama model of 4 layers, weights of four types, plain and flash attention; the
client's logits are compared with what it computes alone on its CPU, over {positions} positions. "half remote" leaves
half of the layers on the client, "two devices" are of one server, "two servers" are two. NMSE is the largest over all
of these. "by version": the server was started with `--dialect VERSION` alone, where that hides several numberings, and
found the right one by itself. "–": the version does not have it.

Our client to its server: "graphs" counts the op graphs whose results were right, of those that the version has; the
dialect was given. "learned": without a dialect our client found the right one, or several with the right one among
them; every graph was right, or refused by it where those differ.

"""


FINDINGS = """
## What these peers showed

The enums, command numbers and versions in the headers of all of these releases, built or not, are those of our tables;
each run compares them again. Where the first description of the protocol was incomplete or wrong:

- A view names the wrong buffer (0.2.75, 2024-05-16): that of the graph's own results, while its address lies in
  another one, such as the KV cache. From 2024-06 on it names the buffer that it lies in. Our server looks there.
- SET_ROWS has no source for its destination before 2025-09-29, and `view_src` is no substitute (0.3.16): it names the
  tensor under all views, whose shape is another one than that of the node.
- The server of 0.2.75 takes host and port as two plain words, later ones as `-H` and `-p`.
- A client before 2025-01 ends itself when a row of quantized weights is no multiple of 512 elements.
- A server before 2024-09-09 (0.2.90) ends at a graph that is larger than the first one that the process ever saw;
  our client sends it no small graphs to learn from.
- 0.3.2, 0.3.8 and 0.3.9 compute Q4_0 wrong by themselves where the CPU has AMX: NMSE 0.3 to 0.4 against every other
  version and our server. They are built without AMX here.
"""


def row_of(result: Result) -> list[str]:
    """Cells of COLUMNS; a reason is shown as "no", it stands below the table."""
    cells = [_short(result.cells.get(cell, "not reached")) for cell in CELLS]
    for ggml_type in BOUNDS:
        errors = [v for key, v in result.nmse.items() if key.split()[0] == ggml_type]
        cells.append(f"{max(errors):.1e}" if errors else "no")
    return cells


def _short(cell: str) -> str:
    return cell if cell in (GOOD, ABSENT) else "no"


def server_cell(result: Result) -> str:
    """ "61 of 61": how many graphs of our client came out right on the peer's server."""
    right = sum(not reason for reason in result.graphs.values())
    return f"{right} of {len(result.graphs)}"


def page(folder: Path, kept_result: Callable[[Path, Peer], dict[str, Any] | None]) -> str:
    """The page.

    Args:
        folder: of all peers.
        kept_result: the last result of one, or None.
    """
    rows, notes, sources, skipped = [], [], [], []
    for one in PEERS:
        kept = kept_result(folder, one)
        if kept is None:
            error = build_error(folder, one) or "not built when this page was made"
            rows.append([one.name, one.dialect, *[""] * len(COLUMNS), "", error])
            continue
        result = as_result(kept)
        rows.append([one.name, one.dialect, *row_of(result), server_cell(result), one.quirks])
        notes += [f"- {one.name}: {_clean(line)}" for line in result.failures]
        sources.append(
            [one.name, one.date, kept["date"], kept["ggmlrpc"], kept["compiler"], result.chosen]
        )
        skipped.append([one.name, ", ".join(f"{k} {v}" for k, v in result.commands.items())])
    text = NOTE + INTRO.format(positions=len(PROMPT) + N_TOKENS)
    text += _table(["peer", "dialect", *COLUMNS, "graphs", "note"], rows)
    text += "\n## What is not good, and why\n\n" + ("\n".join(notes) or "Nothing.") + "\n"
    text += FINDINGS
    text += "\n## Made with\n\n" + _table(
        [
            "peer",
            "released",
            "run",
            "ggmlrpc",
            "compiler",
            "dialect that our client learned",
        ],
        sources,
    )
    text += "\n## Commands that each client sent\n\n" + _table(["peer", "commands"], skipped)
    text += "\n## Versions without a release\n\n"
    text += (
        f"{', '.join(NOT_RELEASED)}: neither package of the index has one, so no peer was run.\n"
    )
    return text


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_clean(c) for c in line) + " |\n" for line in lines)


def _clean(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
