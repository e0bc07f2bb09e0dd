"""CPU device for ggmlrpc: the hooks of the plugin; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

from ggmlrpc_core.device import Device, DeviceInfo
from ggmlrpc_core.hookspecs import hookimpl


@hookimpl
def ggmlrpc_devices() -> list[DeviceInfo]:
    """The host's CPU, always there."""
    from ggmlrpc_cpu.device import device_info

    return [device_info()]


@hookimpl
def ggmlrpc_open_device(name: str, n_threads: int | None) -> Device | None:
    """Open it."""
    if name != "CPU":
        return None
    from ggmlrpc_cpu.device import CpuDevice

    return CpuDevice(n_threads)


@hookimpl
def ggmlrpc_warm(name: str) -> Iterator[tuple[int, int, str]] | None:
    """Compile every kernel that is not on disk."""
    if name != "CPU":
        return None
    from ggmlrpc_cpu.warm_all import warm_all

    return warm_all()
