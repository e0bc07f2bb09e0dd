"""Build `suite`, the program that runs chosen cases of upstream's op suite, beside a stock build.

It is upstream's tests/test-backend-ops.cpp, included by suite.cpp with another `main`. Knows nothing of ggmlrpc.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from upstream.build_stock import BuildFailed, Stock, logged, say

SOURCE = Path(__file__).parent / "suite.cpp"
INCLUDES = ("tests", "common", "include", "ggml/include", "ggml/src")
LIBRARIES = ("ggml", "ggml-rpc", "ggml-cpu", "ggml-base")
FLAGS = ("-std=c++17", "-O2", "-w", "-DNDEBUG", "-DGGML_BACKEND_SHARED", "-DGGML_SHARED")


@dataclass(frozen=True)
class Case:
    """One case of the suite.

    Attributes:
        number: place in the suite's own list.
        op: name as the suite prints it, "GELU" or "MUL_MAT_ID_FUSION".
        judged: whether the stock CPU takes all of its tensors, so that there is something to compare with.
        fused: a graph of several nodes of which only the last is compared.
        op_size: bytes of the result and its sources.
        op_flops: operations; 0 where the suite does not count them.
        params: as the suite prints them.
    """

    number: int
    op: str
    judged: bool
    fused: bool
    op_size: int
    op_flops: int
    params: str

    @property
    def name(self) -> str:
        """As in the suite's console output."""
        return f"{self.op}({self.params})"


def parse_list(text: str) -> list[Case]:
    """The output of `suite list`."""
    cases = []
    for line in text.splitlines():
        number, op, judged, fused, op_size, op_flops, params = line.split("\t")
        flags = judged == "1", fused == "1"
        cases.append(Case(int(number), op, *flags, int(op_size), int(op_flops), params))
    return cases


def list_cases(program: Path, stock: Stock) -> list[Case]:
    """All cases in the order of the suite."""
    done = subprocess.run(
        [program, "list"], env=stock.environment(), capture_output=True, text=True, check=True
    )
    return parse_list(done.stdout)


def build_program(stock: Stock) -> Path:
    """Path of the program; compiled when suite.cpp or the build is newer than the last time.

    Raises:
        BuildFailed: there is no C++ compiler, or it ended with an error.
    """
    folder = stock.root / "backend_ops"
    stamp = hashlib.sha256(SOURCE.read_bytes() + repr(FLAGS).encode()).hexdigest()
    program = folder / f"suite-{stamp[:16]}"
    if program.exists():
        return program
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise BuildFailed("backend-ops: no C++ compiler is found, expected c++ on the path")
    say("compile the op suite")
    folder.mkdir(exist_ok=True)
    tree = stock.python / "vendor" / "llama.cpp"
    partial = folder / f"partial-{os.getpid()}"
    command = [*compiler.split(), *FLAGS, *(f"-I{tree / name}" for name in INCLUDES)]
    command += [str(SOURCE), "-o", str(partial), f"-L{stock.bin}"]
    command += [*(f"-l{name}" for name in LIBRARIES), "-lpthread"]
    logged("compile", command, folder / "compile.log")
    partial.rename(program)
    return program
