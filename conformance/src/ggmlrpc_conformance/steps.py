"""Runs the steps of a case file. The words are explained in cases/README.md."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ggmlrpc_conformance import values
from ggmlrpc_conformance.case import Said
from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import HarnessError, Mismatch, NoAnswer, StreamEnded
from ggmlrpc_conformance.graphs import tensor_list
from ggmlrpc_conformance.link import Link, Memory
from ggmlrpc_conformance.results import Ending, Verdict

Step = Mapping[str, Any]

TENSORS = ("tensor", "src", "dst")
WORDS = frozenset(
    (
        "on",
        "expect",
        "save",
        "data",
        "outcome",
        "length",
        "cut",
        "append",
        "trickle",
        "probe",
        "resize",
    )
)
"""Keys of a step that are no fields of the request."""

REFUSALS = {"ALLOC_BUFFER": "remote_ptr", "SET_TENSOR_HASH": "result", "COPY_TENSOR": "result"}
"""The field of an answer that is 0 when the server declines and goes on."""


def run_steps(ctx: Context, steps: Sequence[Step]) -> Said | None:
    """Run all steps; what the last judged one found."""
    said: Said | None = None
    left: set[str] = set()  # connections that have ended as the case allows
    for step in steps:
        if step.get("on", "a") in left and "connect" not in step and "alive" not in step:
            continue
        verb = next((v for v in _VERBS if v in step), None)
        if verb is None:
            raise HarnessError(f"step {dict(step)!r} has no verb")
        found = _VERBS[verb](ctx, step)
        if found is not None:
            said = found
            if found.reply is not Verdict.PASS or found.ending_verdict is not Verdict.PASS:
                return found
            if found.ending in (Ending.CLOSED, Ending.RESET):
                left.add(step.get("on", "a"))
    return said


def _link(ctx: Context, step: Step) -> Link:
    return ctx.links[step.get("on", "a")]


# --- verbs


def _connect(ctx: Context, step: Step) -> None:
    ctx.connect(step["connect"], hello=step.get("hello", True))


def _alloc(ctx: Context, step: Step) -> None:
    device = values.number(ctx, step.get("device", ctx.device))
    size = values.unsigned(ctx, step["size"])
    ctx.keep(step["alloc"], _link(ctx, step).alloc(size, device=device))


def _free(ctx: Context, step: Step) -> None:
    _link(ctx, step).call("FREE_BUFFER", remote_ptr=ctx.buffers[step["free"]].handle)


def _clear(ctx: Context, step: Step) -> None:
    handle = ctx.buffers[step["clear"]].handle
    _link(ctx, step).call("BUFFER_CLEAR", remote_ptr=handle, value=step["value"])


def _write(ctx: Context, step: Step) -> None:
    offset = values.number(ctx, step.get("at", 0))
    _link(ctx, step).set(ctx.buffers[step["write"]], values.data_of(step["data"]), offset=offset)


def _read(ctx: Context, step: Step) -> None:
    memory: Memory = ctx.buffers[step["read"]]
    offset = values.number(ctx, step.get("at", 0))
    link = _link(ctx, step)
    if "near" in step:
        want = [float(v) for v in step["near"]]
        got = link.get(memory, 4 * len(want), offset=offset)
        if not values.same_floats(got, want):
            raise Mismatch(f"values {want}", f"{np.frombuffer(got, '<f4').tolist()}")
        return
    expected = values.data_of(step["equals"])
    got = link.get(memory, len(expected), offset=offset)
    compare_bytes(expected, got, what=f"{step['read']} + {offset}")


def compare_bytes(expected: bytes, got: bytes, *, what: str) -> None:
    """Byte by byte.

    Raises:
        Mismatch: names the first that differs.
    """
    if expected == got:
        return
    at = next(i for i, (a, b) in enumerate(zip(expected, got, strict=True)) if a != b)
    raise Mismatch(
        f"{expected[at : at + 8].hex(' ')} at byte {at} of {what}", f"{got[at : at + 8].hex(' ')}"
    )


def _barrier(ctx: Context, step: Step) -> None:
    _link(ctx, step).barrier()


def _finish(ctx: Context, step: Step) -> None:
    sock = _link(ctx, step).sock
    how = {"fin": sock.close, "half": sock.half_close, "rst": sock.reset}
    how[step["finish"]]()


def _ended(ctx: Context, step: Step) -> Said:
    return _judge(step, _wait_for_end(_link(ctx, step)))


def _alive(ctx: Context, step: Step) -> None:
    if not ctx.alive():
        raise Mismatch("a server that serves the next connection", "none")


def _raw(ctx: Context, step: Step) -> Said | None:
    link = _link(ctx, step)
    data = b"".join(values.data_of(part) for part in _listed(step["raw"]))
    if step.get("trickle"):
        link.tell(True, "raw", size=len(data), fields={"bytes": "one by one"})
        link.sock.trickle(data)
    else:
        link.raw(data)
    return _outcome(ctx, step, link, command=None) if "outcome" in step else None


def _answer(ctx: Context, step: Step) -> None:
    """Read an answer to raw bytes."""
    link = _link(ctx, step)
    _check(ctx, step, link.answer(step["answer"], size=step.get("size", 0)))


def _send(ctx: Context, step: Step) -> Said | None:
    """Any command, whole or broken."""
    link, command = _link(ctx, step), step["send"]
    fields, wire = _fields(ctx, step)
    data = values.data_of(step["data"]) if "data" in step else b""
    payload = _patched(ctx, link, command, fields, wire, step) + data
    if "append" in step:
        payload += values.data_of(step["append"])
    _tell(ctx, link, command, step, fields, size=len(payload), data=data)
    return _deliver(ctx, link, command, step, payload)


def _graph(ctx: Context, step: Step) -> Said | None:
    """GRAPH_COMPUTE by a table of tensors."""
    link = _link(ctx, step)
    tensors: Mapping[str, Step] = step["graph"]
    ids = {name: spec.get("id", n) for n, (name, spec) in enumerate(tensors.items(), start=1)}
    described = [values.tensor(ctx, {"id": ids[name], **t}, ids=ids) for name, t in tensors.items()]
    array = tensor_list(link.dialect, [d.record for d in described])
    for row, d in enumerate(described):
        for key, value in d.wire.items():
            if key in (array.dtype.names or ()):
                array[key][row] = value
    nodes = [ids[n] if isinstance(n, str) and n in ids else values.unsigned(ctx, n) for n in step["nodes"]]  # fmt: skip
    device = values.number(ctx, step.get("device", ctx.device))
    fields = {"device": device, "nodes": np.array(nodes, "<u8"), "tensors": array}
    payload = bytearray(link.payload("GRAPH_COMPUTE", fields))
    at = link.wire("GRAPH_COMPUTE").request.size
    if "n_nodes" in step:
        struct.pack_into("<I", payload, at - 4, values.number(ctx, step["n_nodes"]))
    if "n_tensors" in step:
        struct.pack_into("<I", payload, at + 8 * len(nodes), values.number(ctx, step["n_tensors"]))
    if "append" in step:
        payload += values.data_of(step["append"])
    shown = {n: f"{t.get('op', 'NONE')} {t.get('type', 'I8')}" for n, t in tensors.items()}
    link.tell(True, "GRAPH_COMPUTE", size=len(payload), fields=shown)
    return _deliver(ctx, link, "GRAPH_COMPUTE", step, bytes(payload))


def _deliver(ctx: Context, link: Link, command: str, step: Step, payload: bytes) -> Said | None:
    length = values.unsigned(ctx, step["length"]) if "length" in step else None
    change = step.get("resize", 0)
    payload = payload + bytes(change) if change >= 0 else payload[:change]
    message = link.message(command, payload, length=length)
    if "cut" in step:
        message = message[: step["cut"]]
    if step.get("trickle"):
        link.sock.trickle(message)
    else:
        link.sock.send(message)
    if "outcome" in step:
        return _outcome(ctx, step, link, command=command)
    if step.get("probe", "resize") is False:
        return None
    if link.wire(command).reply is not None:
        found = link.answer(command, size=values.unsigned(ctx, step.get("size", 0)))
        _check(ctx, step, found)
    return None


# --- inside


def _fields(ctx: Context, step: Step) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """Fields of a request, and what replaces encoded ones inside its tensors."""
    fields: dict[str, Any] = {"device": ctx.device}
    wire: dict[str, Mapping[str, Any]] = {}
    for key, value in step.items():
        if key == "send" or key in WORDS:
            continue
        if key in TENSORS:
            described = values.tensor(ctx, value)
            fields[key], wire[key] = described.record, described.wire
        elif key == "srcs":
            fields[key] = [values.tensor(ctx, s).record if s else None for s in value]
        elif key == "conn_caps":
            fields[key] = bytes.fromhex(value)
        else:
            fields[key] = values.unsigned(ctx, value)
    return fields, wire


def _patched(
    ctx: Context,
    link: Link,
    command: str,
    fields: Mapping[str, Any],
    wire: Mapping[str, Mapping[str, Any]],
    step: Step,
) -> bytes:
    try:
        payload = link.payload(command, fields)
    except (struct.error, OverflowError) as exc:
        raise HarnessError(f"{command}: {exc}") from exc
    if not any(wire.values()):
        return payload
    layout = link.wire(command).request
    head = layout.unpack(payload)
    for key, changes in wire.items():
        head[key].update({k: v for k, v in changes.items() if k in head[key]})
    return layout.pack(head)


def _tell(
    ctx: Context,
    link: Link,
    command: str,
    step: Step,
    fields: Mapping[str, Any],
    *,
    size: int,
    data: bytes,
) -> None:
    known = {f.name for f in link.wire(command).request.fields} | {"tensor", "src", "dst"}
    shown = link.shown({k: v for k, v in fields.items() if k in known}, data=data)
    for key in ("length", "cut"):
        if key in step:
            shown[key] = str(step[key])
    for key in TENSORS:
        if key in step and "wire" in step[key]:
            shown[f"{key} on the wire"] = str(dict(step[key]["wire"]))
    link.tell(True, command, size=size, fields=shown)


def _check(ctx: Context, step: Step, found: Mapping[str, Any]) -> None:
    """Compare an answer with `expect`, and save what `save` names.

    Raises:
        Mismatch: a field is not as the case says.
    """
    expected = step.get("expect", {})
    if "data" in expected and "data" in found:
        compare_bytes(values.data_of(expected["data"]), found["data"], what="the answer")
        expected = {k: v for k, v in expected.items() if k != "data"}
    wrong = values.checked(ctx, expected, found)
    if wrong:
        raise Mismatch(*wrong)
    for name, key in step.get("save", {}).items():
        old = ctx.buffers.get(name)
        if key == "remote_ptr":
            ctx.keep(name, Memory(found[key], 0, old.size if old else 0))
        else:
            ctx.keep(name, Memory(found[key], found[key], 0))


def _outcome(ctx: Context, step: Step, link: Link, *, command: str | None) -> Said:
    """What the target does after something that it need not like."""
    if step.get("probe", "resize") is False:
        link.sock.half_close()
        return _judge(step, _wait_for_end(link))
    try:
        if command is not None and link.wire(command).reply is not None:
            found = link.answer(command, size=values.unsigned(ctx, step.get("size", 0)))
            refused = command in REFUSALS and found[REFUSALS[command]] == 0
            link.barrier()
            return _judge(step, "refused" if refused else "answered")
        link.barrier()
        return _judge(step, "kept")
    except StreamEnded as exc:
        link.tell(False, "end", fields={"by": "reset" if exc.reset else "close"})
        if "after 0" in exc.found or exc.reset:
            return _judge(step, "closed")
        raise
    except Mismatch:
        if command is None:  # something else was said before the answer to the question
            return _judge(step, "answered")
        raise
    except NoAnswer:
        link.sock.half_close()
        end = _wait_for_end(link)
        return _judge(step, "waits" if end == "closed" else end)


def _wait_for_end(link: Link) -> str:
    try:
        link.ended()
    except NoAnswer:
        return "hung"
    except Mismatch:
        return "answered"
    return "closed"


_ENDINGS = {
    "closed": Ending.CLOSED,
    "kept": Ending.KEPT,
    "refused": Ending.KEPT,
    "answered": Ending.KEPT,
    "waits": Ending.CLOSED,
    "hung": Ending.HUNG,
}


def _judge(step: Step, observed: str) -> Said:
    """The verdict that a step gives to what was observed."""
    outcomes = {"closed": "PASS"} if step.get("outcome") in (None, {}) else step["outcome"]
    if isinstance(outcomes, str):
        outcomes = {outcomes: "PASS"}
    ending = _ENDINGS[observed]
    if observed in outcomes:
        verdict = Verdict(outcomes[observed])
        good = verdict is Verdict.PASS
        return Said(
            ending=ending,
            ending_verdict=verdict,
            expected="" if good else _wanted(outcomes),
            found="" if good else observed,
        )
    if observed == "hung":
        hang = Verdict.HANG
        return Said(ending=ending, ending_verdict=hang, expected=_wanted(outcomes), found="nothing")
    answered = observed == "answered"
    return Said(
        reply=Verdict.FAIL if answered else Verdict.PASS,
        ending=ending,
        ending_verdict=Verdict.PASS if answered else Verdict.FAIL,
        expected=_wanted(outcomes),
        found=observed,
    )


def _wanted(outcomes: Mapping[str, str]) -> str:
    return " or ".join(key for key, verdict in outcomes.items() if verdict == "PASS") or "closed"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_VERBS: Mapping[str, Callable[[Context, Step], Said | None]] = {
    "connect": _connect,
    "alloc": _alloc,
    "free": _free,
    "clear": _clear,
    "write": _write,
    "read": _read,
    "barrier": _barrier,
    "finish": _finish,
    "ended": _ended,
    "alive": _alive,
    "raw": _raw,
    "answer": _answer,
    "send": _send,
    "graph": _graph,
}
