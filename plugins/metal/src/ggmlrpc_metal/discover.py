"""Which devices this plugin offers, told without importing MLX."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib.util import find_spec

from ggmlrpc_core.device import DeviceInfo

METAL = "Metal"
CPU_BACKEND = "MLX-CPU"
STOCK_NAME = "MTL0"
"""What the stock server calls the first Apple GPU."""


def devices() -> list[DeviceInfo]:
    """The Apple GPU where there is one, and MLX's CPU backend for who asks for it by name."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    found = []
    if apple:
        # Without MLX it is opened only by name, and then says what is missing.
        found.append(
            DeviceInfo(
                METAL,
                describe(METAL),
                accelerator=True,
                aliases=(STOCK_NAME,),
                on_request=not has_mlx(),
            )
        )
    if has_mlx():
        found.append(DeviceInfo(CPU_BACKEND, describe(CPU_BACKEND), on_request=True))
    return found


def has_mlx() -> bool:
    """Whether MLX seems to be installed; it is not imported."""
    try:
        return find_spec("mlx") is not None
    except (ImportError, ValueError):  # a broken parent package
        return False


def describe(name: str) -> str:
    """A name for people."""
    chip = _chip() or platform.processor() or platform.machine()
    return f"{chip} (MLX on the CPU)" if name == CPU_BACKEND else chip


def _chip() -> str:
    """What macOS calls the processor, "Apple M2"; "" elsewhere."""
    if sys.platform != "darwin":
        return ""
    system = ctypes.CDLL(None)
    size = ctypes.c_size_t(128)
    text = ctypes.create_string_buffer(size.value)
    key = b"machdep.cpu.brand_string"
    if system.sysctlbyname(key, text, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return ""
    return text.value.decode("utf-8", "replace")
