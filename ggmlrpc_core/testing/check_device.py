"""check_device: hold any device to the contract of device.py and to the reference ops.

    from ggmlrpc_core.testing import check_device

    def test_contract():
        report = check_device(lambda: MyDevice())
        assert report.n_cases > 500

Every failure is collected; one exception at the end names them all. Knows no plugin and no socket.
"""

from __future__ import annotations

import gc
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ggmlrpc_core.device import Buffer, Device
from ggmlrpc_core.errors import GraphStopped, OutOfBounds, OutOfDeviceMemory, UnsupportedOp
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build import allocate
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.testing.cases import Case, all_cases
from ggmlrpc_core.testing.cases_model import PRODUCT, QUANT_PRODUCT
from ggmlrpc_core.testing.inputs import EXACT, Inputs
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.testing.run_case import (
    CaseFailed,
    Loaded,
    compare,
    read,
    run_case,
    run_twice,
    values_of,
    write,
)

ABSURD = 1 << 62
"""Bytes that no device has."""

PATTERN = bytes((i * 37 + 11) % 251 for i in range(4096))

WEIGHTS = ("F16", "Q4_0", "Q8_0", "Q4_K", "Q6_K")
"""Types of weights that a device may keep in another form once a graph has used them."""

TWICE = (
    "MUL_MAT/Q4_0 k=256 m=17 n=4",
    "SUM/F32",
    "FLASH_ATTN_EXT/F16 dk=64 dv=32 tok=40 kv=96 heads=2/1",
    "GRAPH/feed forward",
)
"""Cases whose sums a device may order as it likes, but always in the same way."""


class DeviceCheckFailed(AssertionError):
    """A device breaks the contract.

    Attributes:
        failures: one sentence each, "name of the check: what was found".
        report: what was checked.
    """

    def __init__(self, failures: list[str], report: DeviceReport) -> None:
        super().__init__(f"{len(failures)} failures of {report.n_checks}\n" + "\n".join(failures))
        self.failures = failures
        self.report = report


@dataclass(slots=True)
class DeviceReport:
    """What was checked.

    Attributes:
        n_checks: checks of the contract, cases included.
        n_cases: op cases that ran.
        worst: largest nmse by op.
        host_stages: ops that the device says it does not compute itself.
    """

    n_checks: int = 0
    n_cases: int = 0
    worst: dict[str, float] = field(default_factory=dict)
    host_stages: set[str] = field(default_factory=set)


def check_device(
    open_device: Callable[[], Device], *, cases: Iterable[Case] | None = None
) -> DeviceReport:
    """Run the whole contract.

    Args:
        open_device: opens the device; called once, and the device is closed at the end.
        cases: op cases to run; None for all.

    Raises:
        DeviceCheckFailed: naming everything that failed.
    """
    device = open_device()
    report = DeviceReport()
    failures: list[str] = []
    try:
        for name, check in _contract(device):
            _collect(report, failures, name, check)
        for case in all_cases().values() if cases is None else cases:
            report.n_cases += 1
            _collect(report, failures, case.name, partial(_case, device, case, report))
    finally:
        _collect(report, failures, "close", device.close)
    if failures:
        raise DeviceCheckFailed(failures, report)
    return report


def _collect(
    report: DeviceReport, failures: list[str], name: str, check: Callable[[], object]
) -> None:
    """Run one check; whatever it raises is a failure of the device."""
    report.n_checks += 1
    try:
        check()
    except CaseFailed as exc:
        failures.append(f"{name}: {exc}")
    except Exception as exc:  # a device may raise anything; the other checks still run
        last = traceback.extract_tb(exc.__traceback__)[-1]
        failures.append(f"{name}: {type(exc).__name__}: {exc} [{last.name}, line {last.lineno}]")


def _case(device: Device, case: Case, report: DeviceReport) -> None:
    inputs, outputs = case.make()
    allocate(outputs, _Counting())
    report.host_stages |= {n.op for n in inputs.graph(*outputs).work if not device.supports(n)}
    error = run_case(case, device)
    report.worst[case.op] = max(error, report.worst.get(case.op, 0.0))


class _Counting:
    """Places tensors nowhere, to look at a graph before it is on a device."""

    alignment = 32

    def alloc(self, size: int) -> object:
        return self

    def alloc_size(self, tensor: Tensor, srcs: list[Tensor | None]) -> int:
        return tensor.nbytes


def _contract(device: Device) -> Iterator[tuple[str, Callable[[], object]]]:
    for check in (
        facts, memory_follows_allocations, fresh_memory_is_zero, absurd_size, empty_buffer,
        write_and_read, fill, copy_inside, copy_between, alloc_size, zero_nodes, empty_tensors,
        values_now, in_order, plan_of_a_freed_buffer, freed_buffers_are_let_go, two_graphs,
        node_without_compute_flag,
        weights_stay_what_was_written,
        weights_change_between_runs,
        impossible_op, should_stop, after_a_stop, bad_ids, synchronize_alone,
    ):  # fmt: skip
        yield check.__name__, partial(check, device)
    for name in TWICE:
        yield f"run twice {name}", partial(run_twice, all_cases()[name], device)


def require(ok: bool, found: str) -> None:
    """Fail the check with what was found."""
    if not ok:
        raise CaseFailed(found)


def facts(device: Device) -> None:
    """Names and numbers are what they must be."""
    require(isinstance(device, Device), "an attribute or method of the Device protocol is missing")
    require(bool(device.name) and device.name.isprintable(), f"name is {device.name!r}")
    a = device.alignment
    require(a > 0 and a & (a - 1) == 0, f"alignment is {a}, expected a power of two")
    require(device.max_size > 0, f"max_size is {device.max_size}")


def memory_follows_allocations(device: Device) -> None:
    """Free memory is within the total, and comes back."""
    free, total = device.memory()
    require(0 <= free <= total and total > 0, f"memory() is ({free}, {total})")
    for _ in range(64):  # a device that leaks 1 MiB each time runs low, or shows it
        device.alloc(1 << 20).free()
    after, same = device.memory()
    require(0 <= after <= same, f"memory() is ({after}, {same}) after 64 allocations")


def fresh_memory_is_zero(device: Device) -> None:
    """Also when the memory had another owner before."""
    dirty = device.alloc(65536)
    dirty.fill(0, 65536, 0xAB)
    dirty.free()
    buffer = device.alloc(65536)
    require(buffer.size >= 65536, f"size is {buffer.size}, expected at least 65536")
    require(not any(read(buffer, 0, 65536)), "a fresh buffer holds bytes that are not zero")
    buffer.free()


def absurd_size(device: Device) -> None:
    """OutOfDeviceMemory, and the device goes on."""
    for size in (ABSURD, device.memory()[1] * 2 + 1):
        try:
            device.alloc(size)
        except OutOfDeviceMemory:
            continue
        raise CaseFailed(f"alloc({size}) gave a buffer, expected OutOfDeviceMemory")
    device.alloc(1024).free()


def empty_buffer(device: Device) -> None:
    """Size 0 is allowed."""
    buffer = device.alloc(0)
    require(read(buffer, 0, 0) == b"", "bytes in a buffer of size 0")
    buffer.fill(0, 0, 1)
    buffer.free()


def write_and_read(device: Device) -> None:
    """At odd offsets and lengths, and what lies beside stays."""
    buffer = device.alloc(4096)
    shadow = bytearray(4096)
    for offset, size in ((0, 4096), (1, 1), (3, 1021), (4095, 1), (17, 2048), (1024, 0), (63, 65)):
        data = bytes(b ^ (offset & 0xFF) for b in PATTERN[:size])
        write(buffer, offset, data)
        shadow[offset : offset + size] = data
        require(read(buffer, 0, 4096) == shadow, f"after writing [{offset}, {offset + size})")
        got = read(buffer, offset, size)
        require(got == shadow[offset : offset + size], f"read of [{offset}, {offset + size})")
    buffer.free()


def fill(device: Device) -> None:
    """Every byte of the range and none beside it."""
    buffer = device.alloc(1000)
    shadow = bytearray(1000)
    for offset, size, value in ((0, 1000, 0x5A), (1, 7, 0), (999, 1, 255), (3, 500, 1), (8, 0, 9)):
        buffer.fill(offset, size, value)
        shadow[offset : offset + size] = bytes([value]) * size
        require(read(buffer, 0, 1000) == shadow, f"after fill({offset}, {size}, {value})")
    buffer.free()


def copy_inside(device: Device) -> None:
    """Overlap is allowed in both directions."""
    for src, dst, size in ((0, 1, 4000), (96, 0, 4000), (7, 2000, 1000), (5, 5, 10)):
        buffer = device.alloc(4096)
        write(buffer, 0, PATTERN)
        shadow = bytearray(PATTERN)
        if buffer.copy_from(buffer, src, dst, size):
            shadow[dst : dst + size] = bytes(shadow[src : src + size])
        require(read(buffer, 0, 4096) == shadow, f"copy of {size} bytes from {src} to {dst}")
        buffer.free()


def copy_between(device: Device) -> None:
    """Between two buffers; one that declines must not touch anything."""
    a, b = device.alloc(4096), device.alloc(2048)
    write(a, 0, PATTERN)
    b.fill(0, 2048, 7)
    done = b.copy_from(a, 33, 1, 1001)
    want = b"\7" + PATTERN[33:1034] + b"\7" * 1046 if done else b"\7" * 2048
    require(read(b, 0, 2048) == want, f"copy between buffers answered {done}")
    require(read(a, 0, 4096) == PATTERN, "the source of a copy changed")
    a.free()
    b.free()


def alloc_size(device: Device) -> None:
    """Never below the bytes of the tensor."""
    b = Inputs()
    for t in (b.rand("F32", 33), b.rand("Q4_0", 32, 3), b.rand("Q8_0", 544, 2)):
        size = device.alloc_size(t, [])
        require(size >= t.nbytes, f"alloc_size of {t!r} is {size}, expected at least {t.nbytes}")


def zero_nodes(device: Device) -> None:
    """A graph of nothing runs."""
    _run(device, Graph([]))


def empty_tensors(device: Device) -> None:
    """Nodes with an extent of 0 are skipped."""
    _outputs(device, lambda b: b.add(b.rand("F32", 8, 0), b.rand("F32", 8, 1)))


def values_now(device: Device) -> None:
    """An executable computes with what is in the buffers when it runs."""
    loaded, x = _scale_graph(device)
    executable = device.prepare(loaded.graph)
    for value in (1.0, 5.0, -2.0):
        write(x.buffer, x.offset, np.full(64, value, np.float32))
        executable.run(lambda: False)
        device.synchronize()
        _require_values(loaded.outputs[0], value * 3)
    loaded.buffer.free()


def in_order(device: Device) -> None:
    """Runs that are still on their way when the next begins end in the right result."""
    loaded, x = _scale_graph(device)
    write(x.buffer, x.offset, np.full(64, 4.0, np.float32))
    executable = device.prepare(loaded.graph)
    for _ in range(8):
        executable.run(lambda: False)
    device.synchronize()
    _require_values(loaded.outputs[0], 12.0)
    loaded.buffer.free()


def plan_of_a_freed_buffer(device: Device) -> None:
    """New buffers in the place of freed ones get a plan of their own."""
    for value in (1.0, 2.0, 3.0):
        loaded, x = _scale_graph(device, factor=value)
        write(x.buffer, x.offset, np.full(64, 10.0, np.float32))
        _run(device, loaded.graph)
        _require_values(loaded.outputs[0], 10.0 * value)
        loaded.buffer.free()


def freed_buffers_are_let_go(device: Device) -> None:
    """Nothing of the device keeps a freed buffer alive through a plan."""
    loaded, _ = _scale_graph(device)
    _run(device, loaded.graph)
    try:
        alive = weakref.ref(loaded.buffer)
    except TypeError:
        return  # cannot be watched
    loaded.buffer.free()
    del loaded, _
    gc.collect()
    require(alive() is None, "a buffer is still referenced after free()")


def two_graphs(device: Device) -> None:
    """Executables do not disturb each other."""
    first, x = _scale_graph(device, factor=2.0)
    second, y = _scale_graph(device, factor=5.0)
    one, two = device.prepare(first.graph), device.prepare(second.graph)
    for value in (1.0, 3.0):
        write(x.buffer, x.offset, np.full(64, value, np.float32))
        write(y.buffer, y.offset, np.full(64, value, np.float32))
        two.run(lambda: False)
        one.run(lambda: False)
        device.synchronize()
        _require_values(first.outputs[0], 2.0 * value)
        _require_values(second.outputs[0], 5.0 * value)
    first.buffer.free()
    second.buffer.free()


def node_without_compute_flag(device: Device) -> None:
    """Nodes without FLAG_COMPUTE are not run."""
    loaded, x = _scale_graph(device)
    write(x.buffer, x.offset, np.full(64, 4.0, np.float32))
    output = loaded.outputs[0]
    output.flags = 0
    before = read(output.buffer, output.offset, output.nbytes)
    _run(device, Graph(loaded.graph.nodes, b"without the flag"))
    after = read(output.buffer, output.offset, output.nbytes)
    require(before == after, "a node without FLAG_COMPUTE was computed")
    loaded.buffer.free()


def weights_stay_what_was_written(device: Device) -> None:
    """Also after graphs ran that may have repacked them: read, copied and filled as bytes."""
    for t in WEIGHTS:
        loaded = Loaded(_product(t, 40), device)
        w = loaded.outputs[0].src[0]
        assert w is not None
        written = read(w.buffer, w.offset, w.nbytes)
        loaded.run()
        require(read(w.buffer, w.offset, w.nbytes) == written, f"{t} weights after a run")
        part = read(w.buffer, w.offset + 5, 77)
        require(part == written[5:82], f"a part of {t} weights after a run")
        other = device.alloc(w.nbytes)
        if other.copy_from(w.buffer, w.offset, 0, w.nbytes):
            require(read(other, 0, w.nbytes) == written, f"a copy of {t} weights after a run")
        other.free()
        loaded.buffer.free()


def weights_change_between_runs(device: Device) -> None:
    """A part of the weights is written, or filled, after a graph has used them."""
    for t in WEIGHTS:
        for n in (1, 40):
            case = _product(t, n)
            loaded, reference = Loaded(case, device), Loaded(case, ReferenceDevice())
            block = TYPES[t].type_size
            for step in ("as uploaded", "one block written", "a row filled"):
                for side in (loaded, reference):
                    w = side.outputs[0].src[0]
                    assert w is not None
                    if step == "one block written":
                        source = read(w.buffer, w.offset, block)
                        write(w.buffer, w.offset + w.nb[1] * 3 + block, source)
                    elif step == "a row filled":
                        w.buffer.fill(w.offset + w.nb[1] * 5, w.nb[1], 0)
                    side.run()
                want = [values_of(o, reference.bytes()) for o in reference.outputs]
                try:
                    compare(case, loaded.outputs, want, loaded.bytes())
                except CaseFailed as exc:
                    raise CaseFailed(f"{t} weights, n={n}, {step}: {exc}") from None
            loaded.buffer.free()


def _product(ggml_type: str, n: int) -> Case:
    """A MUL_MAT of 20 rows of weights."""
    return Case(
        f"CHECK/{ggml_type} {n}",
        lambda b: b.mul_mat(b.rand(ggml_type, 256, 20), b.rand("F32", 256, n)),
        PRODUCT.get(ggml_type, QUANT_PRODUCT),
    )


def impossible_op(device: Device) -> None:
    """What nobody can run is refused when the graph is prepared."""
    loaded, _ = _scale_graph(device)
    loaded.outputs[0].op = "MAP_CUSTOM1"
    try:
        device.prepare(Graph(loaded.graph.nodes, b"impossible"))
    except UnsupportedOp:
        return
    finally:
        loaded.buffer.free()
    raise CaseFailed("prepare took MAP_CUSTOM1, expected UnsupportedOp")


def should_stop(device: Device) -> None:
    """GraphStopped when should_stop answers True from the start."""
    loaded, _ = _scale_graph(device)
    try:
        device.prepare(loaded.graph).run(lambda: True)
        device.synchronize()
    except GraphStopped:
        return
    finally:
        loaded.buffer.free()
    raise CaseFailed("a run with should_stop True ended well, expected GraphStopped")


def after_a_stop(device: Device) -> None:
    """The device computes again after a stopped run."""
    loaded, x = _scale_graph(device)
    write(x.buffer, x.offset, np.full(64, 4.0, np.float32))
    executable = device.prepare(loaded.graph)
    try:
        executable.run(lambda: True)
        device.synchronize()
    except GraphStopped:
        pass
    executable.run(lambda: False)
    device.synchronize()
    _require_values(loaded.outputs[0], 12.0)
    loaded.buffer.free()


def bad_ids(device: Device) -> None:
    """Ids in tensor data that are out of range: OutOfBounds, and the device goes on."""
    ids = {"too large": 9, "far too large": 1 << 30, "negative": -1}
    for what, bad in ids.items():
        listed = np.array([0, bad, 1], np.int32)

        def get_rows(b: Inputs, listed: np.ndarray = listed) -> Tensor:
            return b.get_rows(b.rand("F32", 64, 9), b.given("I32", listed))

        def set_rows(b: Inputs, listed: np.ndarray = listed) -> Tensor:
            return b.set_rows(b.rand("F16", 64, 9), b.rand("F32", 64, 3), b.given("I64", listed))

        def mul_mat_id(b: Inputs, listed: np.ndarray = listed) -> Tensor:
            experts = b.rand("Q4_0", 64, 8, 9)
            return b.mul_mat_id(experts, b.rand("F32", 64, 1, 1), b.given("I32", listed[None]))

        for build in (get_rows, set_rows, mul_mat_id):
            try:
                _outputs(device, build)
            except OutOfBounds:
                continue
            raise CaseFailed(
                f"{build.__name__} with an id {what} ({bad}) ran, expected OutOfBounds"
            )
    run_case(all_cases()["GET_ROWS/F32"], device)


def synchronize_alone(device: Device) -> None:
    """With nothing to wait for."""
    device.synchronize()
    device.synchronize()


def _run(device: Device, graph: Graph) -> None:
    device.prepare(graph).run(lambda: False)
    device.synchronize()


def _outputs(device: Device, build: Callable[[Inputs], Tensor]) -> None:
    """Run a graph for its faults only."""
    loaded = Loaded(Case("CHECK/graph", build, EXACT), device)
    try:
        loaded.run()
    finally:
        loaded.buffer.free()


def _scale_graph(device: Device, factor: float = 3.0) -> tuple[Loaded, Tensor]:
    """y = x * factor over 64 floats, and x."""
    loaded = Loaded(
        Case("CHECK/scale", lambda b: b.scale(b.rand("F32", 64), factor), EXACT), device
    )
    x = loaded.outputs[0].src[0]
    assert x is not None
    return loaded, x


def _require_values(tensor: Tensor, value: float) -> None:
    buffer: Buffer = tensor.buffer
    got = np.frombuffer(read(buffer, tensor.offset, tensor.nbytes), np.float32)
    require(bool((got == np.float32(value)).all()), f"result is {got[0]}, expected {value}")
