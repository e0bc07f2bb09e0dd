"""Metal kernels on a machine without Metal: the source that MLX generates is compiled by clang and run on fibers.

`EmulatedMetal.metal_kernel` stands in for `mx.fast.metal_kernel`: same arguments, same results, so that code that
calls kernels runs unchanged. Every source is compiled twice: once with real address spaces, to find pointers into the
wrong one, and once to be run.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from emulation.guarded import Guarded, guarded_span

HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-nostdlib++", "-nostdinc++", f"-I{HERE}"]
# Attributes of Metal, such as [[buffer(0)]], mean nothing to a C++ compiler.
WARNINGS = ["-Wall", "-Werror", "-Wno-unknown-attributes", "-Wno-ignored-attributes", "-Wno-unused"]
# What zig adds by itself.
ZIG = ["-Wno-unused-command-line-argument", "-fno-sanitize=undefined"]
FAULTS = {
    1: "some lanes of a simdgroup did not reach simd_sum",
    2: "memory outside of an array, or an argument was written",
}
"""What run_* of metal_run.h answers."""

FENCED = re.compile(r"```\n(.*?)\n```", re.DOTALL)
SIGNATURE = re.compile(r"\[\[kernel\]\] void (\w+)\((.*?)\) \{\n", re.DOTALL)
INSTANCE = re.compile(
    r"\ntemplate \[\[host_name\(.*?\)\]\] \[\[kernel\]\] decltype\((.*?)\) .*?;\n", re.DOTALL
)
PARAMETER = re.compile(r"^\s*(.*?)\s*(\w+) \[\[(\w+)(?:\(\d+\))?\]\]$")


class KernelFailed(AssertionError):
    """A kernel does not compile, or did what Metal leaves open."""


def find_clang() -> list[str] | None:
    """The command of a clang for C++: that of the ziglang package, else one on the path."""
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "c++"]
    found = shutil.which("clang++")
    return None if found is None else [found]


@contextmanager
def _native_output() -> Iterator[Callable[[], str]]:
    """Catch what C++ prints; the function that is given reads it."""
    flush = ctypes.CDLL(None).fflush
    with tempfile.TemporaryFile() as caught:
        flush(None)
        saved = os.dup(1)
        os.dup2(caught.fileno(), 1)
        try:

            def read() -> str:
                flush(None)
                caught.seek(0)
                return caught.read().decode()

            yield read
        finally:
            flush(None)
            os.dup2(saved, 1)
            os.close(saved)


def generated_source(kernel: Any, inputs: Sequence[Any], call: dict[str, Any]) -> str:
    """The Metal source that MLX makes of a call of a kernel; exporting traces it, so that nothing is run."""

    def traced(*arrays: Any) -> Any:
        return kernel(inputs=list(arrays), **{**call, "verbose": True})

    with tempfile.TemporaryDirectory() as folder, _native_output() as printed:
        mx.export_function(str(Path(folder) / "call.mlxfn"), traced, *inputs)
        text = printed()
    found = FENCED.search(text)
    if found is None:
        raise KernelFailed(f"MLX printed no source, but {text!r}")
    return found[1]


def _parameters(source: str) -> list[tuple[str, str, str]]:
    """(type, name, attribute) of each parameter of a kernel."""
    signature = SIGNATURE.search(source)
    if signature is None:
        raise KernelFailed(f"no kernel in {source!r}")
    found = [PARAMETER.match(part) for part in signature[2].split(",\n")]
    return [(m[1], m[2], m[3]) for m in found if m]


def _as_cpp(source: str, space: str, *, run: bool) -> str:
    """A kernel in a namespace of its own, with a function that calls it from an array of pointers."""
    name = SIGNATURE.search(source)[1]  # type: ignore[index]
    instance = INSTANCE.search(source)
    text = source if instance is None else source[: instance.start()]
    called = name if instance is None else instance[1]
    if not run:
        # Naming the instance makes the compiler check it.
        return f"namespace {space} {{\n{text}\nauto instance = &{called};\n}}\n"
    arguments = []
    for at, (kind, parameter, attribute) in enumerate(_parameters(source)):
        buffer = attribute == "buffer"
        arguments.append(f"({kind})p[{at}]" if buffer else f"emulation::{parameter}()")
    call = f"{called}({', '.join(arguments)})"
    return (
        f"namespace {space} {{\n{text}\nstatic void call(void** p) {{ {call}; }}\n}}\n"
        f'extern "C" int run_{space}(void** p, const uint* grid, const uint* group) '
        f"{{ return emulation::launch({space}::call, p, grid, group); }}\n"
    )


class RealMetal:
    """Apple's Metal, where tests run on a GPU."""

    def __init__(self) -> None:
        self.metal_kernel = mx.fast.metal_kernel

    def gather(self) -> AbstractContextManager[None]:
        """Nothing is compiled ahead."""
        return nullcontext()


class EmulatedMetal:
    """Kernels by clang.

    Args:
        clang: command of the compiler.
        folder: for sources and libraries.
    """

    def __init__(self, clang: Sequence[str], folder: Path) -> None:
        self._clang = list(clang)
        self._define = mx.fast.metal_kernel  # kept: tests put this object in its place
        self._folder = folder
        self._runners: dict[str, Any] = {}
        self._wanted: list[str] | None = None
        self._count = 0
        self.launches = 0

    def metal_kernel(self, *, name: str, **definition: Any) -> Callable[..., list[Any]]:
        """Stands in for mx.fast.metal_kernel."""
        kernel = self._define(name=name, **definition)

        def call(*, inputs: Sequence[Any], verbose: bool = False, **call: Any) -> list[Any]:
            source = generated_source(kernel, inputs, call)
            if self._wanted is not None:
                self._wanted.append(source)
                pairs = zip(call["output_shapes"], call["output_dtypes"])
                return [mx.zeros(shape, dtype=dtype) for shape, dtype in pairs]
            return self._launch(source, inputs, call)

        return call

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Calls within only name the kernels that they need; at the end all are compiled at once."""
        self._wanted = []
        try:
            yield
            wanted = self._wanted
        finally:
            self._wanted = None
        self.compile(wanted)

    def compile(self, sources: Sequence[str]) -> None:
        """Check and build kernels that are not there yet.

        Raises:
            KernelFailed: with what the compiler said.
        """
        new = [s for s in dict.fromkeys(sources) if s not in self._runners]
        if not new:
            return
        self._count += 1
        spaces = [f"k{self._count}_{i}" for i in range(len(new))]
        checked = "".join(_as_cpp(s, at, run=False) for s, at in zip(new, spaces))
        built = "".join(_as_cpp(s, at, run=True) for s, at in zip(new, spaces))
        self._compiler(
            "check",
            '#include "metal_check.h"\n' + checked,
            ["-O0", "-c", "-o", str(self._folder / "check.o")],
        )
        path = self._folder / f"run{self._count}.so"
        self._compiler(
            "run", '#include "metal_run.h"\n' + built, ["-shared", "-fPIC", "-o", str(path)]
        )
        library = ctypes.CDLL(str(path))
        for source, at in zip(new, spaces):
            self._runners[source] = getattr(library, f"run_{at}")

    def _compiler(self, kind: str, text: str, flags: Sequence[str]) -> None:
        path = self._folder / f"{kind}{self._count}.cpp"
        path.write_text(text, encoding="utf-8")
        command = [*self._clang, *FLAGS, *WARNINGS, *ZIG, *flags, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise KernelFailed(done.stderr[:4000])

    def _launch(self, source: str, inputs: Sequence[Any], call: dict[str, Any]) -> list[Any]:
        """Run a kernel over the memory of its inputs, strided or not."""
        self.compile([source])
        self.launches += 1
        memory = [np.asarray(a) for a in inputs]
        pairs = list(zip(call["output_shapes"], call["output_dtypes"]))
        assert all(dtype == mx.float32 for _, dtype in pairs)
        # Every byte is 0xff, which is NaN: what a kernel leaves out is seen.
        results = [
            Guarded(np.full(4 * int(np.prod(shape)), 0xFF, np.uint8), read_only=False)
            for shape, _ in pairs
        ]
        names = [n for _, n, attribute in _parameters(source) if attribute == "buffer"]
        plain = [n for n in names if not n.endswith(("_shape", "_strides", "_ndim"))]
        spans = [guarded_span(array) for array in memory]
        address = dict(zip(plain, [one.address for one in (*spans, *results)], strict=True))
        keep = []
        for n, array in zip(plain, memory):
            steps = [s // array.itemsize for s in array.strides]
            facts = {
                "shape": np.array(array.shape, np.int32),
                "strides": np.array(steps, np.int64),
                "ndim": np.array([array.ndim], np.int32),
            }
            keep.append(facts)
            address |= {f"{n}_{what}": values.ctypes.data for what, values in facts.items()}
        parameters = [address.get(n, 0) for _, n, _ in _parameters(source)]
        status = self._runners[source](
            (ctypes.c_void_p * len(parameters))(*parameters),
            (ctypes.c_uint * 3)(*call["grid"]),
            (ctypes.c_uint * 3)(*call["threadgroup"]),
        )
        if status:
            raise KernelFailed(FAULTS[status])
        return [
            mx.array(one.bytes.view(np.float32).reshape(shape))
            for one, (shape, _) in zip(results, pairs)
        ]
