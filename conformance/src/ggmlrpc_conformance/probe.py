"""Finds out what a target is: the version by the forms of HELLO, devices and figures, how many clients at once."""

from __future__ import annotations

from ggmlrpc_conformance.case import SECONDS
from ggmlrpc_conformance.faults import CaseFault, NoAnswer, NoServer
from ggmlrpc_conformance.link import Link
from ggmlrpc_conformance.results import TargetInfo
from ggmlrpc_conformance.target import Target
from ggmlrpc_core.wire.dialects import Dialect, by_version, dialect, dialect_names
from ggmlrpc_core.wire.version import ProtocolVersion

BEFORE_HELLO = "none-E"
"""What is taken for the dialect of a server that knows no HELLO; nothing on the wire tells the eras apart."""

SECOND_CLIENT_SECONDS = 0.5
"""How long a second client waits for its answer before it is said that clients take turns."""


def forms() -> list[Dialect]:
    """One dialect for each form of HELLO, newest first, and one without."""
    found: dict[tuple[int, int] | None, Dialect] = {}
    for name in reversed(dialect_names()):
        d = dialect(name)
        hello = d.by_name.get("HELLO")
        key = (hello.request.size, hello.reply.size) if hello and hello.reply else None
        if key is not None:
            found.setdefault(key, d)
    return [*found.values(), dialect(BEFORE_HELLO)]


def announced(target: Target, *, factor: float = 1.0) -> ProtocolVersion | None:
    """The version that HELLO gives; None for a server from before HELLO.

    Raises:
        NoServer: nobody answers any form of first contact.
    """
    target.ready()
    why: CaseFault | None = None
    for form in forms():
        try:
            link = _link(target, form, factor)
            try:
                if "HELLO" not in form.by_name:
                    link.call("GET_ALIGNMENT")
                    return None
                answer = link.call("HELLO")
                return ProtocolVersion(answer["major"], answer["minor"], answer["patch"])
            finally:
                link.close()
        except CaseFault as exc:
            why = exc
    raise NoServer("a server of this protocol", f"no answer to any first contact: {why}")


def dialect_of(version: ProtocolVersion | None) -> Dialect | None:
    """The dialect that a version means: its own, else the newest with the same major and minor."""
    if version is None:
        return dialect(BEFORE_HELLO)
    exact = by_version(version)
    if exact is not None:
        return exact
    near = [d for d in map(dialect, dialect_names()) if d.version[:2] == version[:2]]
    return near[-1] if near else None


def describe(
    target: Target,
    spoken: Dialect,
    *,
    version: ProtocolVersion | None = None,
    dialects: tuple[str, ...] = (),
    factor: float = 1.0,
) -> TargetInfo:
    """Figures of the first device, and whether a second client is answered.

    Raises:
        CaseFault: the server does not answer as the dialect says.
    """
    link = _link(target, spoken, factor)
    try:
        if "HELLO" in spoken.by_name:
            link.call("HELLO")
        devices = link.call("DEVICE_COUNT")["device_count"] if "DEVICE_COUNT" in spoken.by_name else 1  # fmt: skip
        alignment = link.call("GET_ALIGNMENT", device=0)["alignment"]
        max_size = link.call("GET_MAX_SIZE", device=0)["max_size"]
        memory = link.call("GET_DEVICE_MEMORY", device=0)
        second = _link(target, spoken, factor, timeout=SECOND_CLIENT_SECONDS)
        several = _answers(second, spoken)
    finally:
        link.close()
    if not several:  # it is its turn now; to leave before the answer comes ends some servers
        second.sock.timeout = SECONDS["op"] * factor
        second.answer("HELLO" if "HELLO" in spoken.by_name else "GET_DEVICE_MEMORY")
    second.close()
    return TargetInfo(
        label=target.label,
        command=target.command,
        version=str(version) if version else "",
        dialects=dialects,
        devices=devices,
        alignment=alignment,
        max_size=max_size,
        free=memory["free_mem"],
        total=memory["total_mem"],
        serves_several=several,
    )


def _answers(link: Link, spoken: Dialect) -> bool:
    try:
        if "HELLO" in spoken.by_name:
            link.call("HELLO")
        else:
            link.barrier()
    except NoAnswer:
        return False
    return True


def _link(target: Target, spoken: Dialect, factor: float, *, timeout: float = 0.0) -> Link:
    return Link(
        target.connect((timeout or SECONDS["op"]) * factor),
        spoken,
        label="probe",
        say=lambda message: None,
        name=lambda key, number: str(number),
    )
