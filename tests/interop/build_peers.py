"""Build peers, one folder each: libraries, RPC server, and the client of client.cpp made against their headers.

    python tests/interop/build_peers.py FOLDER [--version V ...] [--jobs N]

makes FOLDER/V for each release of peers.py, or for those named. A folder that is complete is used as it is. A release
that does not build is left with its error in FOLDER/V/error.txt, and the others go on. Needs what
tests/upstream/build_stock.py needs, and a compiler with C++20.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # makes `upstream` importable

from interop.peers import PEERS, Peer, peer
from upstream.build_stock import BuildFailed, compile_recipe, logged, say, stamped

ERROR = "error.txt"


@dataclass(frozen=True)
class Built:
    """A peer that was built.

    Attributes:
        peer: which.
        root: its folder.
    """

    peer: Peer
    root: Path

    @property
    def client(self) -> Path:
        """The program of client.cpp, against this version's library."""
        return self.root / "interop-client"

    @property
    def server(self) -> Path:
        """Its own RPC server."""
        return next(self.root.glob(f"build/**/{self.peer.server}"))

    @property
    def libraries(self) -> list[Path]:
        """Shared libraries without version suffix."""
        return sorted((self.root / "build").glob("**/lib*.so"))

    def environment(self) -> dict[str, str]:
        """The environment of this process, changed so that its programs find their libraries."""
        folders = dict.fromkeys(str(library.parent) for library in self.libraries)
        env = dict(os.environ)
        env["LD_LIBRARY_PATH"] = os.pathsep.join(
            [*folders, *filter(None, [env.get("LD_LIBRARY_PATH")])]
        )
        env["OMP_WAIT_POLICY"] = "passive"  # waiting threads leave the cores to the other side
        return env


def find_peer(folder: Path, wanted: Peer) -> Built | None:
    """The complete build of a peer below a folder, else None."""
    root = (folder / wanted.version).resolve()
    built = Built(wanted, root)
    if not stamped(root, wanted.recipe) or not built.client.exists():
        return None
    if not any(root.glob(f"build/**/{wanted.server}")):
        return None
    return built


def build_error(folder: Path, wanted: Peer) -> str:
    """The last line of the error that its build ended with, "" when it was not tried."""
    path = folder / wanted.version / ERROR
    return path.read_text().strip().splitlines()[-1] if path.exists() else ""


def compile_client(built: Built) -> None:
    """Compile client.cpp against a version's headers and libraries.

    Raises:
        BuildFailed: the compiler ended with an error.
    """
    tree = built.peer.tree(built.root)
    places = [p for p in (tree / "include", tree / "ggml/include", tree) if p.is_dir()]
    source = Path(__file__).with_name("client.cpp")
    command = [*shlex.split(os.environ.get("CXX", "c++")), "-std=c++20", "-O1"]
    command += [f"-I{place}" for place in places]
    command += [str(source), "-o", str(built.client), *map(str, built.libraries)]
    command += [
        f"-Wl,-rpath,{folder}" for folder in dict.fromkeys(p.parent for p in built.libraries)
    ]
    logged("client", command, built.root / "client.log")


def build_peer(folder: Path, wanted: Peer, *, jobs: int | None = None) -> Built:
    """Make a peer's build complete, or return at once when it is.

    Args:
        folder: of all peers.
        wanted: which.
        jobs: compilers at once; None for one per core.

    Raises:
        BuildFailed: a step ended with an error, which is kept in the folder.
    """
    ready = find_peer(folder, wanted)
    if ready is not None:
        return ready
    root = (folder / wanted.version).resolve()
    say(f"{wanted.name} ({wanted.dialect})")
    try:
        if not stamped(root, wanted.recipe):
            compile_recipe(root, wanted.recipe, jobs=jobs)
        compile_client(Built(wanted, root))
    except BuildFailed as error:
        root.mkdir(parents=True, exist_ok=True)
        (root / ERROR).write_text(f"{error}\n")
        raise
    (root / ERROR).unlink(missing_ok=True)
    return Built(wanted, root)


def main() -> int:
    """Command line; 1 when any build failed."""
    parser = argparse.ArgumentParser(description="Build peers of other versions.")
    parser.add_argument("folder", type=Path, help="where the folders of the versions are")
    parser.add_argument("--version", action="append", metavar="V", help="only this release")
    parser.add_argument("--jobs", type=int, help="compilers at once (default: one per core)")
    args = parser.parse_args()
    wanted = [peer(v) for v in args.version] if args.version else list(PEERS)
    failed = []
    for one in wanted:
        try:
            build_peer(args.folder, one, jobs=args.jobs)
        except BuildFailed as error:
            failed.append(one.name)
            print(error, file=sys.stderr)
    say(f"{len(wanted) - len(failed)} of {len(wanted)} ready in {args.folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
