"""The hooks of a plugin: finding and opening devices. pluggy is not on the path of an op."""

from __future__ import annotations

from collections.abc import Iterator

import pluggy

from ggmlrpc_core.device import Device, DeviceInfo

hookspec = pluggy.HookspecMarker("ggmlrpc")
hookimpl = pluggy.HookimplMarker("ggmlrpc")


@hookspec
def ggmlrpc_devices() -> list[DeviceInfo]:  # type: ignore[empty-body]
    """Return the devices that this plugin can open now, best first.

    Return [] when the hardware or its driver is absent. Must not open a device, must not raise, and must be quick:
    heavy libraries are imported when a device is opened.
    """


@hookspec(firstresult=True)
def ggmlrpc_open_device(name: str, n_threads: int | None) -> Device | None:
    """Open the device called `name` (for example "CUDA0"), or return None when it is not ours.

    n_threads: CPU threads to compute with; None for the plugin's own choice.
    """


@hookspec(firstresult=True)
def ggmlrpc_warm(name: str) -> Iterator[tuple[int, int, str]] | None:
    """Make everything that graphs on the device called `name` would wait for, such as compiled kernels.

    Optional. Returns an iterator that does the work and yields (things done, things in all, what was made) as it goes,
    or None when the device is not ours. Things that exist already are not counted. Called before the device is opened.
    """
