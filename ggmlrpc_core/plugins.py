"""Find plugins, list their devices, open one.

A plugin is a module under the entry-point group `ggmlrpc` that implements the hooks of
hookspecs.py. One that cannot be imported, misspells a hook or raises in one is named with its
version and left out; the others go on.

GGMLRPC_LOAD_PLUGINS=cpu,cuda limits loading to these entry points. GGMLRPC_TRACE_PLUGINS=1 prints
hook calls and results to stderr. Knows no device library and no socket.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any, Protocol

import pluggy

from ggmlrpc_core import hookspecs
from ggmlrpc_core.device import Device, DeviceInfo
from ggmlrpc_core.errors import PluginError

GROUP = "ggmlrpc"
LOAD_VARIABLE = "GGMLRPC_LOAD_PLUGINS"
TRACE_VARIABLE = "GGMLRPC_TRACE_PLUGINS"


class EntryPoint(Protocol):
    """The part of importlib.metadata.EntryPoint that is used."""

    @property
    def name(self) -> str: ...

    @property
    def dist(self) -> Any: ...

    def load(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What was found under one entry point.

    Attributes:
        name: of the entry point, "cpu".
        distribution: package that ships it, "ggmlrpc-cpu"; "" when it has none.
        version: of the distribution; "" when it has none.
        hooks: names of the hooks that it implements.
        problem: why it was left out; "" when it is in use.
    """

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...] = ()
    problem: str = ""

    @property
    def label(self) -> str:
        """How to name it in a sentence: distribution and version."""
        return " ".join(part for part in (self.distribution or self.name, self.version) if part)


class Plugins:
    """The plugins of this process, loaded once at construction.

    Args:
        entry_points: where to look; None for those that are installed.
        only: names of entry points to load; None for GGMLRPC_LOAD_PLUGINS, or all.
        complain: is given one sentence per problem as it is found.
    """

    def __init__(
        self,
        entry_points: Iterable[EntryPoint] | None = None,
        only: Sequence[str] | None = None,
        *,
        complain: Callable[[str], None] | None = None,
    ) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._complain = complain or _complain_to_stderr
        self._infos: dict[str, PluginInfo] = {}
        if _is_set(os.environ.get(TRACE_VARIABLE, "")):
            self._manager.trace.root.setwriter(_trace_to_stderr)
            self._manager.enable_tracing()
        if only is None and os.environ.get(LOAD_VARIABLE):
            only = [part.strip() for part in os.environ[LOAD_VARIABLE].split(",") if part.strip()]
        found = metadata.entry_points(group=GROUP) if entry_points is None else entry_points
        for entry in sorted(found, key=lambda e: e.name):
            if only is None or entry.name in only:
                self._load(entry)
        for name in only or ():
            if name not in self._infos:
                known = ", ".join(sorted(e.name for e in found)) or "none is installed"
                self._complain(f"plugin {name}: entry point is missing, expected one of: {known}")

    def plugins(self) -> list[PluginInfo]:
        """Everything that was found, in order of name, broken ones included."""
        return list(self._infos.values())

    def devices(self) -> list[DeviceInfo]:
        """Every device that can be opened now: accelerators first, those on request last.

        Each plugin's own order is kept. A second device of the same name is left out with a complaint.
        """
        found: dict[str, DeviceInfo] = {}
        for info in self.plugins():
            for device in self._devices_of(info):
                if device.name in found:
                    self._complain(
                        f"plugin {info.label}: device {device.name!r} is left out, expected a name "
                        f"that no other plugin uses [{found[device.name].plugin}]"
                    )
                else:
                    found[device.name] = replace(device, plugin=info.name)
        return sorted(found.values(), key=lambda one: (one.on_request, not one.accelerator))

    def choose(self, names: Sequence[str] = ()) -> list[DeviceInfo]:
        """The devices to serve.

        Args:
            names: as given to --device, case ignored, order and repetitions kept; an alias stands
                for its device. Empty: all accelerators, or the first device when there is none.

        Raises:
            PluginError: a name that no plugin offers, or no device at all.
        """
        devices = self.devices()
        offered = [device for device in devices if not device.on_request]
        if not (devices if names else offered):
            raise PluginError(
                "devices",
                "number of devices",
                0,
                "at least 1",
                context="hint: pip install ggmlrpc-cpu",
            )
        if not names:
            return [device for device in offered if device.accelerator] or offered[:1]
        by_name = {alias.casefold(): device for device in devices for alias in device.aliases}
        by_name |= {device.name.casefold(): device for device in devices}
        chosen = []
        for name in names:
            if name.casefold() not in by_name:
                available = ", ".join(device.name for device in devices)
                raise PluginError("--device", "name", name, f"one of: {available}")
            chosen.append(by_name[name.casefold()])
        return chosen

    def open_device(self, name: str, n_threads: int | None = None) -> Device:
        """Open a device by its exact name; the caller closes it.

        Args:
            name: as in DeviceInfo.
            n_threads: CPU threads; None for the plugin's own choice.

        Raises:
            PluginError: no plugin opens it, or the one that does cannot.
        """
        for info in self.plugins():
            if info.problem:
                continue
            try:
                device = self._hook(info, "ggmlrpc_open_device")(name=name, n_threads=n_threads)
            except Exception as exc:
                raise PluginError(
                    f"plugin {info.label}", f"open_device({name!r})", _reason(exc), "an open device"
                ) from exc
            if device is not None:
                return device
        raise PluginError("open_device", "name", name, "a device that a plugin opens")

    def warm(self, name: str) -> Iterator[tuple[int, int, str]]:
        """Make what graphs on a device would wait for; see hookspecs.ggmlrpc_warm. Ends at once where nothing is.

        Raises:
            PluginError: its plugin could not.
        """
        for info in self.plugins():
            if "ggmlrpc_warm" in info.hooks:
                try:
                    yield from self._hook(info, "ggmlrpc_warm")(name=name) or ()
                except Exception as exc:
                    raise PluginError(
                        f"plugin {info.label}", f"warm({name!r})", _reason(exc), "everything made"
                    ) from exc

    def _load(self, entry: EntryPoint) -> None:
        distribution = getattr(entry.dist, "name", "") or ""
        version = getattr(entry.dist, "version", "") or ""
        info = PluginInfo(entry.name, distribution, version)
        try:
            module = entry.load()
            self._manager.register(module, name=entry.name)
            self._manager.check_pending()
            callers = self._manager.get_hookcallers(module) or []
            info = replace(info, hooks=tuple(sorted(caller.name for caller in callers)))
        except Exception as exc:  # whatever a stranger's module does, the others are loaded
            if self._manager.has_plugin(entry.name):
                self._manager.unregister(name=entry.name)
            info = self._broken(info, f"it cannot be loaded: {_reason(exc)}")
        self._infos[entry.name] = info

    def _devices_of(self, info: PluginInfo) -> list[DeviceInfo]:
        if info.problem:
            return []
        try:
            return [device for listed in self._hook(info, "ggmlrpc_devices")() for device in listed]
        except (
            Exception
        ) as exc:  # the hook must not raise; one that does costs only its own devices
            self._infos[info.name] = self._broken(info, f"ggmlrpc_devices raised {_reason(exc)}")
            return []

    def _hook(self, info: PluginInfo, name: str) -> Callable[..., Any]:
        """One hook of one plugin alone, through the manager so that tracing sees the call."""
        named = self._manager.list_name_plugin()
        others = [plugin for other, plugin in named if other != info.name]
        return self._manager.subset_hook_caller(name, others)

    def _broken(self, info: PluginInfo, problem: str) -> PluginInfo:
        self._complain(f"plugin {info.label}: {problem}")
        return replace(info, problem=problem)


@dataclass(frozen=True, slots=True)
class DeviceSlot:
    """One place in a server's list of devices.

    Attributes:
        info: the device to open there.
        share: how many slots open the same device; memory figures are divided by it.
    """

    info: DeviceInfo
    share: int


def slots_of(devices: Sequence[DeviceInfo]) -> list[DeviceSlot]:
    """Count how often each device is named."""
    times = Counter(device.name for device in devices)
    return [DeviceSlot(device, times[device.name]) for device in devices]


def _reason(exc: BaseException) -> str:
    """Type and first line of an exception."""
    text = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {text[0]}" if text else type(exc).__name__


def _is_set(value: str) -> bool:
    return value not in ("", "0")


def _complain_to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _trace_to_stderr(text: str) -> None:
    print(text, end="", file=sys.stderr)
