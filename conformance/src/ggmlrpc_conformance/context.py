"""What a running case has: its target and dialect, named connections and buffers, and the record of what was said."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ggmlrpc_conformance.faults import CaseFault, NoServer
from ggmlrpc_conformance.link import Link, Memory
from ggmlrpc_conformance.results import Accuracy, Message, Verdict
from ggmlrpc_conformance.sockets import Socket
from ggmlrpc_conformance.target import Target
from ggmlrpc_core.wire.dialects import Dialect

KEPT_MESSAGES = 24


@dataclass
class Context:
    """One case on its way.

    Attributes:
        target, dialect, device: where and how.
        timeout: seconds for each wait.
        patience: seconds until a server that does not greet a new client counts as gone.
        links: connections by label, in order of their making.
        buffers: by name.
        messages: the last ones.
        accuracy: set by op cases.
        steps: set by sessions: verdict of each stage.
        n_devices: of the server.
        serves_several: a second client is answered while the first is idle; None when it is not known.
        reference: endpoint of another server, or empty.
        tier: that the run asked for.
    """

    target: Target
    dialect: Dialect
    device: int = 0
    timeout: float = 2.0
    patience: float = 10.0
    n_devices: int = 1
    serves_several: bool | None = None
    reference: str = ""
    tier: str = "default"
    links: dict[str, Link] = field(default_factory=dict)
    buffers: dict[str, Memory] = field(default_factory=dict)
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=KEPT_MESSAGES))
    accuracy: Accuracy | None = None
    steps: dict[str, Verdict] = field(default_factory=dict)

    def connect(self, label: str = "", *, hello: bool = True) -> Link:
        """A new connection; labels go on from "a".

        Raises:
            NoServer: refused, or not greeted.
        """
        label = label or chr(ord("a") + len(self.links) % 26)
        link = Link(
            self._socket(),
            self.dialect,
            label=label,
            say=self.messages.append,
            name=self._name,
        )
        self.links[label] = link
        if hello:
            link.hello()
        return link

    def _socket(self) -> Socket:
        return self.target.connect(self.timeout)

    def keep(self, name: str, memory: Memory) -> Memory:
        """Give a buffer a name."""
        self.buffers[name] = memory
        return memory

    def close(self) -> None:
        """Leave all connections."""
        for link in self.links.values():
            with contextlib.suppress(OSError):
                link.close()

    def alive(self, *, timeout: float | None = None) -> bool:
        """Whether the target serves a new connection.

        A server of one client at a time must have let go of the others first: they are closed.
        """
        self.close()
        if self.target.ended():
            return False
        try:
            link = Link(
                self.target.connect(timeout or max(self.timeout, self.patience)),
                self.dialect,
                label="alive",
                say=lambda message: None,
                name=lambda key, number: str(number),
            )
        except NoServer:
            return False
        try:
            if "HELLO" in self.dialect.by_name:
                link.call("HELLO")
            link.barrier()
        except CaseFault:
            return False
        finally:
            link.close()
        return True

    def _name(self, key: str, number: int) -> str:
        """Handles and addresses by the name of their buffer."""
        if key in ("buffer", "remote_ptr"):
            for name, m in self.buffers.items():
                if m.handle == number:
                    return f"buffer {name}"
        if key in ("data", "base_ptr"):
            for name, m in self.buffers.items():
                if m.base <= number <= m.base + m.size and m.base:
                    return f"{name} + {number - m.base}"
        return hex(number) if number > 0xFFFF else str(number)


Fields = dict[str, Any]
