"""Build the stock llama.cpp once, from the source package of llama-cpp-python, into one folder.

    python tests/upstream/build_stock.py FOLDER

makes FOLDER/source (the unpacked package), FOLDER/build/bin (libraries, ggml-rpc-server, llama-bench,
test-backend-ops) and FOLDER/stamp.json, which is written last: a folder with the right stamp is used as it is, one
without is continued where it stopped. Needs a C++ compiler, and cmake and ninja on the path. Knows nothing of
ggmlrpc.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DGGML_RPC=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=ON",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
)
PROGRAMS = ("ggml-rpc-server", "llama-bench", "test-backend-ops")


class BuildFailed(Exception):
    """A step of the build ended with an error; says which, and where its output is."""


@dataclass(frozen=True)
class Recipe:
    """A source package, and what is built of the llama.cpp in it.

    Attributes:
        package, version: in the package index.
        sha256: of the source archive.
        options: for cmake.
        targets: for ninja.
        vendored: folder of llama.cpp inside the unpacked package.
    """

    package: str
    version: str
    sha256: str
    options: tuple[str, ...]
    targets: tuple[str, ...]
    vendored: str = "vendor/llama.cpp"

    @property
    def top(self) -> str:
        """The folder that the archive holds."""
        return f"{self.package.replace('-', '_')}-{self.version}"

    def tree(self, root: Path) -> Path:
        """The llama.cpp sources below a build folder."""
        return root / "source" / self.top / self.vendored

    def stamp(self) -> dict[str, object]:
        """What a complete folder's stamp.json says."""
        return {
            "package": self.package,
            "version": self.version,
            "options": list(self.options),
            "targets": list(self.targets),
        }


STOCK = Recipe(
    package="llama-cpp-python",
    version="0.3.36",
    sha256="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    options=OPTIONS,
    targets=("llama", *PROGRAMS),
)


@dataclass(frozen=True)
class Stock:
    """A folder with a complete build.

    Attributes:
        root: the folder that was given to `build`.
    """

    root: Path

    @property
    def bin(self) -> Path:
        """Folder of the programs and shared libraries."""
        return self.root / "build" / "bin"

    @property
    def python(self) -> Path:
        """Folder to put on the module path for the binding `llama_cpp`, which is pure Python."""
        return self.root / "source" / STOCK.top

    @property
    def version(self) -> str:
        """Name for reports."""
        return f"{STOCK.package} {STOCK.version}"

    def program(self, name: str) -> str:
        """Path of one of PROGRAMS."""
        path = shutil.which(name, path=str(self.bin))
        if path is None:
            raise BuildFailed(f"stock build: program {name} is missing in {self.bin}")
        return path

    def library(self, name: str) -> Path:
        """Path of a shared library, "ggml-base" for libggml-base.so."""
        for shown in (f"lib{name}.so", f"lib{name}.dylib", f"{name}.dll", f"lib{name}.dll"):
            if (self.bin / shown).exists():
                return self.bin / shown
        raise BuildFailed(f"stock build: library {name} is missing in {self.bin}")

    def environment(self) -> dict[str, str]:
        """The environment of this process, changed so that a child finds the libraries and the binding."""
        env = dict(os.environ)
        env["LLAMA_CPP_LIB_PATH"] = str(self.bin)
        for name, folder in (
            ("LD_LIBRARY_PATH", self.bin),
            ("DYLD_LIBRARY_PATH", self.bin),
            ("PATH", self.bin),
            ("PYTHONPATH", self.python),
        ):
            env[name] = os.pathsep.join(filter(None, (str(folder), env.get(name))))
        return env


def stamped(root: Path, recipe: Recipe) -> bool:
    """Whether the folder has a complete build of exactly that."""
    path = root / "stamp.json"
    return path.exists() and json.loads(path.read_text()) == recipe.stamp()


def find(root: Path) -> Stock | None:
    """The build in `root` when it is complete and of this version and options, else None."""
    if not stamped(root, STOCK):
        return None
    stock = Stock(root.resolve())
    missing = [name for name in PROGRAMS if shutil.which(name, path=str(stock.bin)) is None]
    return None if missing else stock


def say(text: str) -> None:
    """One progress line."""
    print(f"stock: {text}", flush=True)


def logged(step: str, command: Sequence[str], log: Path) -> None:
    """Run a command with its output in a file; print a line at every tenth of ninja's progress.

    Raises:
        BuildFailed: the command ended with an error.
    """
    shown = 0
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            out.write(line)
            progress = re.match(r"\[(\d+)/(\d+)\]", line)
            if progress and 10 * int(progress[1]) // int(progress[2]) > shown:
                shown = 10 * int(progress[1]) // int(progress[2])
                say(f"{step}: {progress[1]} of {progress[2]}")
    if child.returncode != 0:
        tail = "\n".join(log.read_text().splitlines()[-25:])
        raise BuildFailed(
            f"{step}: exit status is {child.returncode}, expected 0 [output in {log}]\n{tail}"
        )


def fetch(root: Path, recipe: Recipe) -> None:
    """Download the source package, check its sum, and unpack it to root/source, unless that is there."""
    source = root / "source"
    if source.exists():
        return
    downloads = root / "download"
    downloads.mkdir(parents=True, exist_ok=True)
    wanted = downloads / "requirement.txt"
    wanted.write_text(f"{recipe.package}=={recipe.version} --hash=sha256:{recipe.sha256}\n")
    say(f"download {recipe.package} {recipe.version}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps"]
    command += ["--no-binary", recipe.package]
    command += ["--dest", str(downloads), "--requirement", str(wanted)]
    logged("download", command, root / "download.log")
    (archive,) = downloads.glob("*.tar.gz")
    # Unpacked beside and renamed, so that a folder named source is always whole.
    partial = root / "source.partial"
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(partial, filter="data")
    partial.rename(source)


def compile_recipe(root: Path, recipe: Recipe, *, jobs: int | None = None) -> None:
    """Fetch, configure and compile in `root`, and write the stamp; continues where an earlier call stopped.

    Args:
        root: folder; made when missing.
        recipe: what to build.
        jobs: compilers at once; None for one per core.

    Raises:
        BuildFailed: a tool is missing or a step ended with an error.
    """
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            raise BuildFailed(
                f"stock build: {tool} is not found, expected on the path [hint: pip install {tool}]"
            )
    start = time.monotonic()
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    fetch(root, recipe)
    tree = str(root / "build")
    say("configure")
    configure = ["cmake", "-S", str(recipe.tree(root)), "-B", tree, "-G", "Ninja", *recipe.options]
    logged("configure", configure, root / "configure.log")
    compile_all = ["ninja", "-C", tree, "-j", str(jobs or os.cpu_count() or 1), *recipe.targets]
    logged("build", compile_all, root / "build.log")
    (root / "stamp.json").write_text(json.dumps(recipe.stamp(), indent=1) + "\n")
    say(f"complete after {time.monotonic() - start:.0f} s in {root}")


def compiler_of(root: Path) -> str:
    """Name and version of the C++ compiler of a build folder, as cmake found them."""
    for path in root.glob("build/CMakeFiles/*/CMakeCXXCompiler.cmake"):
        words = dict(
            re.findall(r'set\((CMAKE_CXX_COMPILER_(?:ID|VERSION)) "(.*?)"\)', path.read_text())
        )
        return " ".join(words.values())
    return "unknown"


def build(root: Path, *, jobs: int | None = None) -> Stock:
    """Make the stock build in `root` complete, or return at once when it is; arguments and errors as above."""
    ready = find(root)
    if ready is None:
        compile_recipe(root, STOCK, jobs=jobs)
        ready = Stock(root.resolve())
    return ready


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the stock llama.cpp for the tests.")
    parser.add_argument("folder", type=Path, help="where to build, or where the build is")
    parser.add_argument("--jobs", type=int, help="compilers at once (default: one per core)")
    args = parser.parse_args()
    try:
        stock = build(args.folder, jobs=args.jobs)
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    say(f"ready in {stock.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
