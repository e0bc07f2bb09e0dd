"""The pages of the specification, made from the clauses and the schema.

The clauses are in conformance/src/ggmlrpc_conformance/clauses/*.toml, which is where to edit them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ggmlrpc_conformance.clauses import Clause, Page, clauses, pages
from markup import NOTE, table

from ggmlrpc_core.wire import dialects
from ggmlrpc_core.wire.commands import COMMANDS
from ggmlrpc_core.wire.dialects import Dialect

INDEX = """\
# The ggml RPC protocol

The protocol that llama.cpp speaks with `--rpc`, in every version since the first of 2024-05-14, written down for
authors of servers, clients and forks. There is no other specification: this one is made from the sources of each
version, from recorded sessions of stock clients, and from what servers were seen to do. Where it says something about
upstream, it names file, function and version.

## How to read it

Each requirement is a *clause* with a permanent id, such as [GRAPH-7](graphs.md#graph-7). Ids are never used again, so
they can be quoted; a clause that no longer holds stays, marked as withdrawn. The words are those of RFC 2119:

- **MUST**: a real client depends on it (for clauses on clients: a real server). The clause says how. A server that
  keeps all of these works with every stock client of its dialect.
- **SHOULD**: safety, and the good of other clients. Stock servers break some of them; the clause says which.
- **MAY**: a freedom of servers that clients have to expect.

The word stands before the sentences of a clause and is about all of them. A clause without "since" or "before" is
about every [dialect](dialects.md). *Closes* means that the server ends the connection: there is no other way to say
no. *Stock* means llama.cpp's own client and server.

`pytest --pyargs ggmlrpc_conformance --target host:port` checks a server against these clauses; each of its cases cites
the clauses that it checks, and the reports name them. What stock servers do is in
[conformance](../conformance/index.md).

"""

COMMANDS_INTRO = """\
## The commands

As of the newest version; each page has the layouts of all versions. "No answer" means that nothing at all is sent, "0
bytes" that a length of zero is.

"""


def specification_pages() -> Iterator[tuple[str, str]]:
    """A page per file of clauses: path below docs/reference, and text."""
    for page in pages():
        yield f"protocol/{page.name}.md", _page(page)


def index_page() -> str:
    """How to read, contents, and the commands."""
    rows = []
    for page in pages():
        levels = Counter(c.level for c in page.clauses)
        rows.append(
            [
                f"[{page.title}]({page.name}.md)",
                ", ".join(_spans(page)),
                *(levels[level] or "" for level in ("MUST", "SHOULD", "MAY")),
            ]
        )
    levels = Counter(c.level for c in clauses().values())
    rows.append(["", f"{len(clauses())}", *(levels[level] for level in ("MUST", "SHOULD", "MAY"))])
    newest = dialects.newest()
    commands = [
        [
            wire.number,
            f"[{name}]({name.lower()}.md)",
            _length(wire.request.size, complete=wire.request.complete),
            "no answer"
            if wire.reply is None
            else _length(wire.reply.size, complete=wire.reply.complete),
        ]
        for name, wire in newest.by_name.items()
    ]
    return "".join(
        [
            NOTE,
            INDEX,
            "## Contents\n\n",
            table(["page", "clauses", "MUST", "SHOULD", "MAY"], rows),
            "\nLayouts: [rpc_tensor](rpc_tensor.md), and the pages of the commands. Numbers and history:\n"
            "[versions](../versions.md), [dialects](dialects.md), [ops](../ops.md), [states](../states.md).\n\n",
            COMMANDS_INTRO,
            table(["number", "command", "request", "answer"], commands),
        ]
    )


def rules_of(command: str) -> str:
    """The clauses on one command, for its page."""
    lines = [
        f"- [{c.id}]({c.page}.md#{c.id.lower()}), **{c.level}**{_bounds(c)}: {c.text}\n"
        for c in clauses().values()
        if command in c.commands and c.withdrawn is None
    ]
    return "## Rules\n\n" + "".join(lines) + "\n" if lines else ""


def _page(page: Page) -> str:
    intro = page.intro
    for name, made in (("{answers}", _answers), ("{numbers}", _numbers)):
        if name in intro:
            intro = intro.replace(name, made().rstrip())
    out = [NOTE, f"# {page.title}\n\n", intro + "\n\n"]
    out += [_clause(clause) for clause in page.clauses]
    return "".join(out).rstrip() + "\n"


def _clause(clause: Clause) -> str:
    about = ", ".join(f"[{name}]({name.lower()}.md)" for name in clause.commands)
    role = {"server": "", "client": ", for clients", "both": ", for clients and servers"}
    head = f"**{clause.level}**{role[clause.role]}{_bounds(clause)}"
    lines = [f"### {clause.id}\n", f"{head}. {clause.text}\n"]
    if clause.withdrawn is not None:
        lines.append(f"*Withdrawn:* {clause.withdrawn}\n")
    lines.append(f"*Why:* {clause.why}\n")
    lines.append(f"*Source:* {clause.source}.\n")
    if about:
        lines.append(f"*Commands:* {about}.\n")
    if clause.untested is not None:
        lines.append(f"*Not tested:* {clause.untested}\n")
    return "\n".join(lines) + "\n"


def _bounds(clause: Clause) -> str:
    since = f", since {clause.since}" if clause.since else ""
    return since + (f", before {clause.before}" if clause.before else "")


def _spans(page: Page) -> Iterator[str]:
    """'GRAPH-1 to 17' for each prefix of a page."""
    counts = Counter(c.id.partition("-")[0] for c in page.clauses)
    for prefix, count in counts.items():
        yield f"{prefix}-1 to {count}" if count > 1 else f"{prefix}-1"


def _length(size: int, *, complete: bool) -> str:
    return f"{size} bytes" if complete else f"{size} bytes and data"


# --- tables made from the schema


def _answers() -> str:
    """What each command is answered with, by dialect."""
    return _by_state(_answer)


def _numbers() -> str:
    """Command bytes by dialect."""
    return _by_state(lambda d, name: str(d.by_name[name].number))


def _answer(dialect: Dialect, name: str) -> str:
    reply = dialect.by_name[name].reply
    if reply is None:
        return "none"
    if not reply.complete:
        return "data"
    return f"{reply.size}"


def _by_state(cell: object) -> str:
    """A row per command, a column per run of wire states that agree on everything shown."""
    columns: list[tuple[list[str], tuple[str, ...]]] = []
    for dialect in dialects.wire_states():
        shown = tuple(
            cell(dialect, name) if name in dialect.by_name else "·"  # type: ignore[operator]
            for name in COMMANDS
        )
        label = dialect.label
        if columns and columns[-1][1] == shown:
            columns[-1][0].append(label)
        else:
            columns.append(([label], shown))
    heads = [names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" for names, _ in columns]
    rows = [
        [f"[{name}]({name.lower()}.md)", *(shown[i] for _, shown in columns)]
        for i, name in enumerate(COMMANDS)
    ]
    return table(["command", *heads], rows)
