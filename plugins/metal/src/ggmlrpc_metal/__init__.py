"""Apple GPU device for ggmlrpc: the hooks of the plugin; MLX is not imported here."""

from __future__ import annotations

from ggmlrpc_core.device import Device, DeviceInfo
from ggmlrpc_core.hookspecs import hookimpl


@hookimpl
def ggmlrpc_devices() -> list[DeviceInfo]:
    """`Metal` on Apple silicon; `MLX-CPU` on request."""
    from ggmlrpc_metal.discover import devices

    return devices()


@hookimpl
def ggmlrpc_open_device(name: str, n_threads: int | None) -> Device | None:
    """Open one of them; MLX chooses its own threads."""
    from ggmlrpc_metal.discover import CPU_BACKEND, METAL

    if name not in (METAL, CPU_BACKEND):
        return None
    from ggmlrpc_metal.device import MetalDevice

    return MetalDevice(gpu=name == METAL)
