"""Write the reference pages that come from tables in the code.

    python docs/generate.py            writes docs/reference/
    python docs/generate.py --check    says what is not current and exits with 1

Hand-written pages (everything that explains why) are never touched.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from markup import NOTE, table
from probes import probes_page
from specification import index_page, rules_of, specification_pages

from ggmlrpc_core import errors, hookspecs
from ggmlrpc_core.cli.main import group as cli
from ggmlrpc_core.device import Buffer, Device, Executable
from ggmlrpc_core.engine.state import TRANSITIONS
from ggmlrpc_core.ggml.types import TYPES, read_table
from ggmlrpc_core.ops import OPS
from ggmlrpc_core.wire import dialects
from ggmlrpc_core.wire.commands import COMMANDS, Command
from ggmlrpc_core.wire.fields import Versioned
from ggmlrpc_core.wire.vectors import load_vectors

REFERENCE = Path(__file__).parent / "reference"
WIRE = {"B": "u8", "I": "u32", "i": "i32", "Q": "u64", "s": "bytes"}


STATES_INTRO = """\
# Order of messages

One table for both sides (`ggmlrpc_core/engine/state.py`). Any state ends with the connection; a step
that is not drawn is a fault, and the connection is closed.

"""

OPS_INTRO = """\
# Ops

The reference op table (`ggmlrpc_core/ops/`): what a graph may contain, whatever the device. A device
that lacks a kernel runs the reference on the host. *weights* are all quantized types that a model may
have.

"""


def doc(thing: object) -> str:
    """A docstring, unindented."""
    return inspect.cleandoc(thing.__doc__ or "")


# --- the protocol


def protocol_pages() -> Iterator[tuple[str, str]]:
    """The specification, and a page per command."""
    yield "protocol/index.md", index_page()
    yield from specification_pages()
    for command in COMMANDS.values():
        yield f"protocol/{command.name.lower()}.md", command_page(command)


def command_page(command: Command) -> str:
    """Numbers, layout by version, vectors."""
    out = [NOTE, f"# {command.name}\n\n"]
    numbers = [
        [version_name(first), number]
        for first, number in command.number.values.items()
        if number is not None
    ]
    out += ["## Number\n\n", table(["from", "number"], numbers), "\n## Request\n\n"]
    out.append(schema_table(command.request))
    out.append("\n## Reply\n\n")
    for first, schema in command.reply.values.items():
        out.append(f"From {version_name(first)}: ")
        if schema is None:
            out.append("no reply.\n\n")
        elif not schema.subcons:
            out.append("an empty reply, 8 zero bytes of length.\n\n")
        else:
            out.append("\n\n" + schema_table(schema) + "\n")
    out.append(rules_of(command.name))
    out.append("## Examples\n\n")
    for vector in load_vectors():
        if vector.command == command.name:
            out.append(
                f"Version {vector.version}, {vector.source}.\n\nRequest:\n\n```\n{hexdump(vector.request)}\n```\n\n"
            )
            if vector.reply:
                out.append(f"Reply:\n\n```\n{hexdump(vector.reply)}\n```\n\n")
    return "".join(out).rstrip() + "\n"


def version_name(version: object) -> str:
    """Eras before HELLO by letter."""
    eras = {(0, i + 1, 0): f"none-{letter}" for i, letter in enumerate("ABCDE")}
    return eras.get(tuple(version), str(version))  # type: ignore[arg-type]


def schema_table(schema: object) -> str:
    """Fields of a construct Struct with the versions that have them."""
    if not schema.subcons:  # type: ignore[attr-defined]
        return "Empty.\n"
    rows = [field_row(subcon) for subcon in schema.subcons]  # type: ignore[attr-defined]
    return table(["field", "type", "in versions"], rows)


def field_row(subcon: object) -> list[object]:
    """Name, wire type and versions of one field."""
    name, core, limits = subcon.name, subcon.subcon, []  # type: ignore[attr-defined]
    while isinstance(core, Versioned):
        if core.since:
            limits.append(f"from {version_name(core.since)}")
        if core.until:
            limits.append(f"before {version_name(core.until)}")
        core = core.subcon
    return [f"`{name}`", type_name(core), ", ".join(limits) or "all"]


def type_name(core: object) -> str:
    """How a construct field reads in a table."""
    kind = type(core).__name__
    if kind == "FormatField":
        return WIRE[{"<B": "B", "<L": "I", "<l": "i", "<Q": "Q"}[core.fmtstr]]  # type: ignore[attr-defined]
    if kind == "Bytes":
        size = core.length  # type: ignore[attr-defined]
        return f"{size} bytes" if isinstance(size, int) else "name, zero-terminated, 64 bytes"
    if kind == "Array":
        count = core.count  # type: ignore[attr-defined]
        shown = (
            count
            if isinstance(count, int)
            else "10"
            if "max_src" in repr(count)
            else repr(count).split("'")[1]
        )
        return f"{shown} × {type_name(core.subcon)}"  # type: ignore[attr-defined]
    if kind == "Struct":
        return "[rpc_tensor](rpc_tensor.md)"
    return "data, to the end"


def tensor_page() -> str:
    """Layout of rpc_tensor."""
    from ggmlrpc_core.wire.schema import rpc_tensor

    offsets, at = [], 0
    for field in dialects.newest().tensor.fields:
        size = field.count * {"B": 1, "I": 4, "i": 4, "Q": 8, "s": 1}[field.code]
        offsets.append([f"`{field.name}`", at, size])
        at += size
    return (
        NOTE
        + "# rpc_tensor\n\n"
        + schema_table(rpc_tensor)
        + f"\nOffsets in {dialects.newest().name}, {at} bytes in all:\n\n"
        + table(["field", "offset", "bytes"], offsets)
    )


def hexdump(data: bytes, most: int = 320) -> str:
    """32 bytes a line; long data is cut."""
    shown = data[:most].hex(" ", 4)
    lines = textwrap.wrap(shown, 8 * 8 + 8)
    if len(data) > most:
        lines.append(f"... {len(data) - most} bytes more")
    return "\n".join(lines)


def versions_page() -> str:
    """Every version that shipped, from the table."""
    rows = [
        [
            r["version"],
            r["first_date"],
            r["last_date"],
            r["rpc_tensor_bytes"],
            r["command_count"],
            r["notes"],
        ]
        for r in read_table("versions")
    ]
    states = len(dialects.dialect_names()), len(dialects.fork_names())
    return (
        NOTE
        + f"# Versions\n\nServer and client speak all of them: {states[0]} states of upstream, and {states[1]}\n"
        + "of ik_llama.cpp. Of these, 6.0.0 and those of the fork are not proven against a peer.\n"
        + "`ggmlrpc dialects` lists the states one by one; how a server tells them apart is in\n"
        + "[clients of every age](../explanation/dialects.md).\n\n"
        + table(["version", "first", "last", "tensor bytes", "commands", "what separates it"], rows)
    )


def states_page() -> str:
    """The transition table of the engine as a diagram."""
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> GREETING",
        "    [*] --> READY: before HELLO existed",
    ]
    for state, steps in TRANSITIONS.items():
        lines += [
            f"    {state.name} --> {after.name}: {step.name}"
            for step, after in steps.items()
            if after.name != "CLOSED"
        ]
    lines += ["    READY --> [*]: END", "```", ""]
    return NOTE + STATES_INTRO + "\n".join(lines)


# --- the rest


def ops_page() -> str:
    """Every op: sources, types, parameters, precision."""
    known = sorted(OPS.values(), key=lambda op: op.name)
    out = [
        NOTE,
        OPS_INTRO,
        f"{len(known)} ops.\n\n",
    ]
    for op in known:
        out.append(f"## {op.name}\n\n{first_line(op.compute)}\n\n")
        if op.sources:
            rows = [
                [i, s.name, types_text(s.types), "yes" if s.optional else ""]
                for i, s in enumerate(op.sources)
            ]
            out.append(table(["source", "name", "types", "optional"], rows) + "\n")
        if op.params:
            out.append(
                table(["op_params", "type", "name"], [[p.slot, p.kind, p.name] for p in op.params])
                + "\n"
            )
        result = "as source 0" if op.result is None else types_text(op.result)
        out.append(
            f"Result: {result}. Precision: {op.precision}. Since {op.since}. Source: {op.upstream}.\n\n"
        )
    return "".join(out).rstrip() + "\n"


def first_line(function: Callable[..., object] | None) -> str:
    """The first sentence of a docstring."""
    return doc(function).split("\n\n")[0].replace("\n", " ") if function else "Never computed."


def types_text(names: frozenset[str]) -> str:
    """Type names, with the large groups by name."""
    quants = {t.name for t in TYPES.values() if t.quantized and t.name not in ("Q8_1", "Q8_K")}
    if names == set(TYPES):
        return "any"
    if quants <= names:
        return ", ".join([*sorted(names - quants), "*weights*"])
    return ", ".join(sorted(names))


def errors_page() -> str:
    """The exception tree."""
    tree = ["# Errors\n\n" + doc(errors) + "\n\n"]

    def walk(cls: type, depth: int) -> None:
        tree.append(f"{'  ' * depth}- `{cls.__name__}`: {doc(cls).splitlines()[0]}\n")
        for child in cls.__subclasses__():
            if child.__module__ == errors.__name__:
                walk(child, depth + 1)

    walk(errors.GgmlRpcError, 0)
    return NOTE + "".join(tree)


def hooks_page() -> str:
    """Hooks and the device contract."""
    out = [NOTE, "# Hooks and the device contract\n\n", doc(hookspecs) + "\n\n## Hooks\n\n"]
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("ggmlrpc_"):
            out.append(f"### {name}{plain_signature(function)}\n\n{doc(function)}\n\n")
    for protocol in (Device, Buffer, Executable):
        out.append(f"## {protocol.__name__}\n\n{doc(protocol)}\n\n")
        for name, function in vars(protocol).items():
            if inspect.isfunction(function) and not name.startswith("_"):
                out.append(f"### {name}{plain_signature(function)}\n\n{doc(function)}\n\n")
    return "".join(out).rstrip() + "\n"


def plain_signature(function: Callable[..., object]) -> str:
    """A signature as it is written."""
    return (
        str(inspect.signature(function))
        .replace("'", "")
        .replace("(self, ", "(")
        .replace("(self)", "()")
    )


def cli_page() -> str:
    """--help of every command."""
    top = click.Context(cli, info_name="ggmlrpc")
    return "".join([NOTE, "# Command line\n\n", *help_texts(cli, top)]).rstrip() + "\n"


def help_texts(command: click.Command, context: click.Context) -> Iterator[str]:
    """A section for a command, and one for each below it."""
    context.max_content_width = 100
    yield f"## {context.command_path}\n\n```\n{command.get_help(context)}\n```\n\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from help_texts(below, click.Context(below, info_name=name, parent=context))


def pages() -> Iterator[tuple[str, str]]:
    """Every generated page: path below docs/reference, and text."""
    yield from protocol_pages()
    yield "protocol/rpc_tensor.md", tensor_page()
    yield "versions.md", versions_page()
    yield "states.md", states_page()
    yield "probes.md", probes_page()
    yield "ops.md", ops_page()
    yield "errors.md", errors_page()
    yield "hooks.md", hooks_page()
    yield "cli.md", cli_page()


def main() -> int:
    """Write or check every page."""
    check = sys.argv[1:] == ["--check"]
    stale = []
    for name, text in pages():
        path = REFERENCE / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(
            f"docs/reference/{name}: {'is not current; run python docs/generate.py' if check else 'written'}"
        )
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
