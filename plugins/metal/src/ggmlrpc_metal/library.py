"""MLX as this plugin uses it: imported when a device is opened, with a clear sentence when that fails.

On its CPU backend MLX fuses element-wise operations by writing C++ to a folder of the system's temporary files, running
the machine's compiler and loading the result. That needs a compiler, takes a second per kernel and trusts whoever can
write there; fusing is turned off through the library's own switch, which has no name in Python. Where the switch is not
found, functions are not compiled at all: slower, and the same results.
"""

from __future__ import annotations

import ctypes
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from ggmlrpc_core.errors import PluginError

EXPECTED = "0.32"
"""Versions that this plugin is tested with start so; see pyproject.toml."""
_SET_COMPILE_MODE = "_ZN3mlx4core16set_compile_modeENS0_11CompileModeE"
_NO_FUSE = 2


def load_mlx() -> Any:
    """The module mlx.core.

    Raises:
        PluginError: it is not installed, another version, or cannot be loaded.
    """
    hint = "hint: pip install 'mlx>=0.32,<0.33', on Linux 'mlx[cpu]>=0.32,<0.33'"
    try:
        version = metadata.version("mlx")
    except metadata.PackageNotFoundError:
        raise PluginError(
            "ggmlrpc-metal", "mlx", "not installed", f"version {EXPECTED}", context=hint
        ) from None
    if not version.startswith(f"{EXPECTED}."):
        raise PluginError("ggmlrpc-metal", "mlx", version, f"version {EXPECTED}", context=hint)
    try:
        return import_module("mlx.core")
    except ImportError as exc:
        first = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise PluginError(
            "ggmlrpc-metal", f"mlx {version}", f"not loaded ({first})", "loaded", context=hint
        ) from exc


def choose_backend(mx: Any, *, gpu: bool) -> None:
    """Make one of MLX's backends the one that this thread's operations run on.

    Raises:
        PluginError: there is no Apple GPU.
    """
    if gpu and not mx.metal.is_available():
        raise PluginError("ggmlrpc-metal", "Metal", "not available", "an Apple GPU")
    mx.set_default_device(mx.gpu if gpu else mx.cpu)
    if not gpu and not _stop_fusing(mx):
        mx.disable_compile()


def _stop_fusing(mx: Any) -> bool:
    folder = Path(mx.__file__).parent / "lib"
    for path in (folder / "libmlx.so", folder / "libmlx.dylib"):
        if path.exists():
            switch = getattr(ctypes.CDLL(str(path)), _SET_COMPILE_MODE, None)
            if switch is not None:
                switch(ctypes.c_int(_NO_FUSE))
                return True
    return False
