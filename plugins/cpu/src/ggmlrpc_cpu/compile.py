"""Kernels by name: how they are registered, compiled alone, and kept on disk.

A kernel is a plain Python function that Numba compiles when `Kernels.load` asks for it. Nothing is compiled at
import. Cache files are pickles, so they live in a folder of mode 0700 that belongs to the user; its name is a
digest of this package's sources, because Numba does not see that an inlined function of another file changed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
import secrets
import stat
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from ggmlrpc_core.errors import PluginError

CACHE_VARIABLE = "GGMLRPC_CPU_CACHE"
"""Environment variable: a folder to keep compiled kernels under, instead of the user's cache folder."""

NUMBER_BITS = 60
"""Of the random place that functions are numbered from: no two processes come near each other."""

F = TypeVar("F", bound=Callable[..., Any])

REGISTRY: dict[str, Callable[..., Any]] = {}
"""Every registered kernel and row function by name; filled when modules of `kernels/` are imported."""


def kernel(name: str) -> Callable[[F], F]:
    """Register a kernel `void(int64 record, int64 ith, int64 nth)` or a row function `void(int64, int64, int64)`.

    Names: "ADD:F32", "MUL_MAT:Q4_0" for kernels; "to_f32:Q4_0" (src, dst, n elements) and "from_f32:F16" for
    row functions.
    """

    def register(function: F) -> F:
        if name in REGISTRY:
            raise ValueError(f"kernel {name} is registered twice")
        REGISTRY[name] = function
        return function

    return register


@cache
def import_kernels() -> None:
    """Import every module of `kernels/`, which registers their kernels. Imports numba."""
    _number_functions_apart()
    root = Path(__file__).parent
    import_module(f"{__package__}.walker")
    for path in sorted((root / "kernels").rglob("*.py")):
        if path.stem != "__init__":
            import_module(".".join((__package__, *path.relative_to(root).with_suffix("").parts)))


def _number_functions_apart() -> None:
    """Let Numba number the functions of this process from a random place on.

    Numba counts functions from 1 in every process, and the number is all that tells two closures of one name apart in
    machine code. Kernels on disk come from several processes: with equal numbers the one that is loaded second would
    call functions of the first.
    """
    from numba.core.bytecode import FunctionIdentity

    FunctionIdentity._unique_ids = itertools.count(1 + secrets.randbits(NUMBER_BITS))


@cache
def source_digest() -> str:
    """Digest of everything that decides the machine code: sources, versions, host CPU, forced ISA."""
    import llvmlite
    import numba
    from llvmlite import binding

    from ggmlrpc_cpu.isa import isa

    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for text in (numba.__version__, llvmlite.__version__, sys.version, platform.machine(),
                 binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten(), isa()):  # fmt: skip
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()


@cache
def cache_folder() -> Path:
    """The folder of compiled kernels, made with mode 0700.

    Raises:
        PluginError: it exists and belongs to somebody else, or others may write to it.
    """
    import platformdirs

    root = os.environ.get(CACHE_VARIABLE)
    base = Path(root) if root else Path(platformdirs.user_cache_dir("ggmlrpc", appauthor=False))
    folder = base / f"cpu-{source_digest()}"
    base.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid"):
        info = folder.lstat()
        if info.st_uid != os.getuid() or not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o022:
            raise PluginError(
                "ggmlrpc-cpu",
                "kernel cache",
                str(folder),
                "a folder of this user that nobody else may write to",
            )
    return folder


def _file_base(name: str) -> str:
    return name.replace(":", "-")


def is_cached(name: str) -> bool:
    """Whether a kernel is on disk; it needs no compiler then."""
    return (cache_folder() / f"{_file_base(name)}.1.nbc").exists()


def _function_cache(name: str, function: Callable[..., Any]) -> Any:
    """A Numba cache that keeps one kernel under its name in our folder and leaves Numba's settings alone."""
    from numba.core import caching

    class Locator(caching._CacheLocator):
        def get_cache_path(self) -> str:
            return str(cache_folder())

        def get_source_stamp(self) -> str:
            return source_digest()

        def get_disambiguator(self) -> str:
            return ""

        @classmethod
        def from_function(cls, py_func: Any, py_file: Any) -> Locator:
            return cls()

    class Impl(caching.CompileResultCacheImpl):
        def __init__(self, py_func: Any) -> None:
            self._locator = Locator()
            self._filename_base = _file_base(name)

    class NamedCache(caching.FunctionCache):
        _impl_class = Impl

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            return (sig, codegen.magic_tuple())  # the digest of the folder stands for the code

    return NamedCache(function)


class Kernels:
    """Addresses of kernels that are ready in this process."""

    def __init__(self) -> None:
        self._ready: dict[str, int] = {}
        self._alive: list[Any] = []

    def address(self, name: str) -> int | None:
        """The address of a kernel, None when it is not loaded."""
        return self._ready.get(name)

    def load(self, name: str) -> int:
        """The address of a kernel, from memory, disk, or the compiler.

        Raises:
            KeyError: no such kernel.
        """
        known = self.address(name)
        if known is not None:
            return known
        import_kernels()
        from numba import int64, void
        from numba.core.ccallback import CFunc

        function = REGISTRY[name]
        signature = ((int64,) * 3, void)
        options = {"error_model": "numpy", "nopython": True}
        made: Any = CFunc(function, signature, locals={}, options=options)
        made._cache = _function_cache(name, function)
        made.compile()
        self._alive.append(made)  # its code lives as long as it does
        self._ready[name] = made.address
        return self._ready[name]
