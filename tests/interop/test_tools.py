"""The table of peers and the tools that read and compare; no build is needed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from interop.client import STAGES, Run
from interop.graphs import BLOCK, sent_cases
from interop.headers import Numbers, differences, enum_members, read_numbers
from interop.measure import ABSENT, GOOD, Result, nmse, refusals
from interop.page import COLUMNS, page, row_of, server_cell
from interop.peers import NOT_RELEASED, PEERS, peer

from ggmlrpc_core.testing import ReferenceDevice, run_case
from ggmlrpc_core.wire.dialects import dialect, dialect_names

HEADER = """
enum ggml_op { // a comment, with a comma
    GGML_OP_NONE = 0,
    GGML_OP_DUP, /* one, two */
    GGML_OP_ADD = 5,
    GGML_OP_SUB,
    GGML_OP_COUNT,
};
"""


def test_peers_are_in_order_and_have_a_dialect():
    assert [p.date for p in PEERS] == sorted(p.date for p in PEERS)
    assert len({p.version for p in PEERS}) == len(PEERS)
    for one in PEERS:
        assert dialect(one.dialect).name == one.dialect
        assert dialect(one.dialect).shipped <= one.date, "announced before it was written"
        assert len(one.sha256) == 64
    assert peer("0.3.16") is peer("interop-0.3.16") is PEERS[7]
    with pytest.raises(KeyError, match=r"9\.9: not one of 0\.2\.75, "):
        peer("9.9")


def test_every_peer_has_a_tox_environment():
    ini = (Path(__file__).parents[2] / "tox.ini").read_text()
    (versions,) = re.findall(r"\[testenv:interop-\{(.*?)\}\]", ini)
    assert versions.split(",") == [p.version for p in PEERS]


def test_every_version_has_a_peer_or_is_known_to_have_none():
    versions = {name.partition("@")[0] for name in dialect_names() if not name.startswith("ik-")}
    spoken = {p.dialect.partition("@")[0] for p in PEERS}
    assert {v.partition("/")[0] for v in versions} == spoken | set(NOT_RELEASED)


def test_members_of_an_enum():
    members = enum_members(HEADER, "ggml_op", prefix="GGML_OP_")
    assert members == {"NONE": 0, "DUP": 1, "ADD": 5, "SUB": 6}
    assert enum_members(HEADER, "ggml_glu_op", prefix="GGML_GLU_OP_") == {}


def numbers_of(name: str, **changes: object) -> Numbers:
    d = dialect(name)
    plain = {
        "version": str(d.version) if d.version.major else "",
        "commands": {n: c.number for n, c in d.by_name.items()},
        **{t: dict(getattr(d.numbering, t)) for t in ("ops", "unary", "glu", "types")},
    }
    return Numbers(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["none-A", "2.0.0@2025-08-14", "7.0.0"])
def test_differences_between_a_tree_and_a_dialect(name: str) -> None:
    d = dialect(name)
    assert differences(numbers_of(name), d) == []
    moved = {**d.numbering.ops, "ADD": 77}
    assert differences(numbers_of(name, ops=moved), d) == [
        f"ops ADD 77, not {d.numbering.ops['ADD']}"
    ]
    assert differences(numbers_of(name, types={"F32": 0, "Q4_0_4_4": 31, "NEW": 99}), d) == [
        "types NEW 99, not None"
    ]
    (line,) = differences(numbers_of(name, version="9.9.9"), d)
    assert line.startswith("version 9.9.9, not ")


def test_a_source_tree_is_read(tmp_path: Path) -> None:
    (tmp_path / "ggml/include").mkdir(parents=True)
    (tmp_path / "ggml/include/ggml.h").write_text(HEADER + "enum ggml_type { GGML_TYPE_F32 = 0 };")
    (tmp_path / "ggml/include/ggml-rpc.h").write_text(
        "#define RPC_PROTO_MAJOR_VERSION 3\n#define RPC_PROTO_MINOR_VERSION 6\n#define RPC_PROTO_PATCH_VERSION 1\n"
    )
    with pytest.raises(FileNotFoundError, match=r"ggml-rpc\.cpp in "):
        read_numbers(tmp_path)
    (tmp_path / "ggml/src").mkdir()
    (tmp_path / "ggml/src/ggml-rpc.cpp").write_text(
        "enum rpc_cmd { RPC_CMD_ALLOC_BUFFER = 0, RPC_CMD_HELLO = 14 };"
    )
    read = read_numbers(tmp_path)
    assert (read.version, read.commands, read.types) == (
        "3.6.1",
        {"ALLOC_BUFFER": 0, "HELLO": 14},
        {"F32": 0},
    )


def run_of(*stages: str, status: int = 0, output: str = "") -> Run:
    return Run(stages, 1, np.zeros((0, 4), np.float32), status, output)


def test_a_run_says_how_far_it_came() -> None:
    assert run_of(*STAGES).ok and run_of(*STAGES).reason == ""
    died = run_of(
        "devices", "loaded", status=-6, output="a\nRemote RPC server crashed\nback trace\n"
    )
    assert not died.ok
    assert died.reason == "status -6 after loaded: Remote RPC server crashed"
    assert run_of(status=2).reason == "status 2 after nothing: no output"


def test_nmse_and_refusals() -> None:
    x = np.array([[3.0, 4.0]], np.float32)
    assert nmse(x, x) == 0.0
    assert nmse(x + 1, x) == pytest.approx(2 / 25)
    assert nmse(x[:, :1], x) == nmse(x * np.nan, x) == float("inf")
    refused = "GRAPH_COMPUTE: op is X, expected Y [c1]"
    log = f"Accepted client connection\n> HELLO 9 bytes\n{refused}\nClient connection closed\n"
    assert refusals(log) == [refused]


def test_the_block_runs_on_the_reference_and_cases_have_dates() -> None:
    assert run_case(BLOCK, ReferenceDevice()) == 0.0
    cases = sent_cases()
    assert len({s.case.name for s in cases}) == len(cases)
    first, last = (sum(s.fits(p.date) for s in cases) for p in (PEERS[0], PEERS[-1]))
    assert 40 < first < last == len(cases)
    assert all(
        s.case.op in dialect(PEERS[0].dialect).numbering.ops for s in cases[1:] if not s.since
    )


def test_a_page_has_every_peer_and_every_reason(tmp_path: Path) -> None:
    good = Result(
        cells=dict.fromkeys(
            ("connects", "loads", "prefills", "generates", "half", "two servers"), GOOD
        )
        | {"recomputes": ABSENT, "two devices": ABSENT, "by version": GOOD, "learned": GOOD},
        nmse={"F32 plain": 1e-8, "F32 flash": 2e-8},
        graphs={"block of a model": ""},
    )
    bad = Result(
        cells={"connects": "closed | at once"}, nmse={"F32 plain": 1e-3}, graphs={"ADD": "wrong"}
    )
    assert good.failures == []
    errors = ["2.0e-08", "no", "no", "no"]
    assert row_of(good) == ["yes"] * 4 + ["–", "yes", "–", "yes", "yes", "yes", *errors]
    assert (server_cell(good), server_cell(bad)) == ("1 of 1", "0 of 1")
    kept = {"0.3.16": good, "0.3.9": bad}
    (tmp_path / "0.2.90").mkdir()
    (tmp_path / "0.2.90" / "error.txt").write_text(
        "build: exit status is 1\nc++: out of patience\n"
    )

    def result_of(folder: Path, one) -> dict | None:
        found = kept.get(one.version)
        head = {"date": "2026-11-21", "ggmlrpc": "0.1.0", "compiler": "GNU 12", "machine": "x"}
        return None if found is None else {**head, **found.as_dict()}

    text = page(tmp_path, result_of)
    assert "| llama-cpp-python 0.3.16 | 2.0.0@2025-08-14 | yes | yes |" in text
    assert "- llama-cpp-python 0.3.9: connects: closed \\| at once" in text
    assert "- llama-cpp-python 0.3.9: NMSE of F32 plain is 0.001, expected at most 1e-06" in text
    assert "- llama-cpp-python 0.3.9: graph ADD: wrong" in text
    assert "c++: out of patience" in text
    assert text.count("not built when") == len(PEERS) - 3
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert table[0].count("|") == len(COLUMNS) + 5
