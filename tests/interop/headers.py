"""Read the numbers of a llama.cpp from its own headers, to hold the tables of the package against them.

What a source tree announces (the version of HELLO, command numbers, ops, functions, types) is the ground truth of what
its programs send; dates of releases only suggest it. Parses C by regular expressions, which is enough for enums.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ggmlrpc_core.ggml.types import read_table
from ggmlrpc_core.wire.dialects import Dialect

ENUMS = {
    "ops": ("ggml_op", "GGML_OP_"),
    "unary": ("ggml_unary_op", "GGML_UNARY_OP_"),
    "glu": ("ggml_glu_op", "GGML_GLU_OP_"),
    "types": ("ggml_type", "GGML_TYPE_"),
}
END = ("COUNT",)
"""Members that are no member: how many there are."""


@dataclass(frozen=True)
class Numbers:
    """What a source tree says.

    Attributes:
        version: of HELLO as text, "" when there is none.
        commands, ops, unary, glu, types: name to number; glu is empty where the functions do not exist yet.
    """

    version: str
    commands: dict[str, int]
    ops: dict[str, int]
    unary: dict[str, int]
    glu: dict[str, int]
    types: dict[str, int]


def enum_members(text: str, name: str, *, prefix: str) -> dict[str, int]:
    """Members of a C enum without their prefix; {} when the text does not declare it."""
    found = re.search(rf"enum\s+{name}\s*(?::\s*\w+\s*)?\{{(.*?)\}}", text, re.DOTALL)
    if found is None:
        return {}
    body = re.sub(r"//[^\n]*|/\*.*?\*/", "", found[1], flags=re.DOTALL)
    members: dict[str, int] = {}
    number = -1
    for part in filter(None, (p.strip() for p in body.split(","))):
        member, _, value = (p.strip() for p in part.partition("="))
        number = int(value, 0) if value else number + 1
        members[member.removeprefix(prefix)] = number
    return {n: v for n, v in members.items() if n not in END}


def find_file(tree: Path, name: str) -> Path:
    """The one file of ggml with that name, wherever this version keeps it."""
    places = ["ggml/include", "ggml/src/ggml-rpc", "ggml/src", "."]
    for place in places:
        if (tree / place / name).exists():
            return tree / place / name
    raise FileNotFoundError(f"{name} in {tree}: none of {', '.join(places)}")


def read_numbers(tree: Path) -> Numbers:
    """The numbers of a llama.cpp source tree."""
    header = find_file(tree, "ggml.h").read_text()
    rpc = find_file(tree, "ggml-rpc.h").read_text()
    version = re.findall(r"RPC_PROTO_(?:MAJOR|MINOR|PATCH)_VERSION\s+(\d+)", rpc)
    code = find_file(tree, "ggml-rpc.cpp").read_text()
    enums = {
        key: enum_members(header, name, prefix=prefix) for key, (name, prefix) in ENUMS.items()
    }
    commands = enum_members(code, "rpc_cmd", prefix="RPC_CMD_")
    return Numbers(version=".".join(version[:3]), commands=commands, **enums)


def removed_types() -> dict[str, int]:
    """Types that once existed; their numbers are not given out again."""
    rows = read_table("types")
    return {r["type"]: int(r["id"]) for r in rows if r["tree"] == "upstream-removed"}


def differences(numbers: Numbers, dialect: Dialect) -> list[str]:
    """What a source tree numbers in another way than a dialect of the package; empty when they agree."""
    found = []
    announced = str(dialect.version) if dialect.version.major else ""
    if numbers.version != announced:
        found.append(f"version {numbers.version or 'none'}, not {announced or 'none'}")
    ours = {
        "commands": {name: command.number for name, command in dialect.by_name.items()},
        "ops": dict(dialect.numbering.ops),
        "unary": dict(dialect.numbering.unary),
        "glu": dict(dialect.numbering.glu),
        "types": dict(dialect.numbering.types),
    }
    for table, known in ours.items():
        theirs = dict(getattr(numbers, table))
        if table == "commands":
            theirs.pop("NONE", None)  # a mark inside the client, never sent
        if table == "types":
            # One table of all times serves every dialect: what a peer does not have yet is refused by the peer, what
            # was removed since is refused by us.
            known |= removed_types()
            known = {n: v for n, v in known.items() if n in theirs}
        if table == "glu" and not theirs:
            continue  # no GLU op in this state, so no number of it is ever read
        for name in sorted(theirs.keys() | known.keys()):
            if theirs.get(name) != known.get(name):
                found.append(f"{table} {name} {theirs.get(name)}, not {known.get(name)}")
    return found
