"""Whether this process may use AMX tiles: asked from the system, then tried in a child process.

The feature flags alone are not enough: on some virtual machines the first tile instruction ends the process. So a
child runs a small product once; its verdict is kept beside the compiled kernels, for this CPU and these sources.
GGMLRPC_CPU_AMX=0 turns AMX off.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

from ggmlrpc_cpu.isa import isa

AMX_VARIABLE = "GGMLRPC_CPU_AMX"
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
"""Linux x86-64: the system call, its request for large register state, the state of the tiles."""

PROBE_SECONDS = 60.0

TILE_ROWS, TILE_BYTES = 16, 64


def tile_config() -> bytes:
    """The 64 bytes of ldtilecfg: palette 1, eight tiles of 16 rows of 64 bytes."""
    return b"".join(
        (
            bytes([1, *[0] * 15]),
            TILE_BYTES.to_bytes(2, "little") * 8,
            bytes(16),
            bytes([TILE_ROWS] * 8),
            bytes(8),
        )
    )


def request_permission() -> bool:
    """Ask Linux for the tile state; it holds for all threads of the process."""
    if not sys.platform.startswith("linux"):
        return False
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0


def probe() -> bool:
    """Multiply two small matrices in tiles and compare. Run in a child: it may die of an illegal instruction."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    declarations = "\n".join(
        (
            "declare void @llvm.x86.ldtilecfg(ptr)",
            "declare void @llvm.x86.tilezero(i8)",
            "declare void @llvm.x86.tileloadd64(i8, ptr, i64)",
            "declare void @llvm.x86.tilestored64(i8, ptr, i64)",
            "declare void @llvm.x86.tdpbf16ps(i8, i8, i8)",
            "declare void @llvm.x86.tilerelease()",
        )
    )
    body = "\n".join(
        (
            "define void @try(ptr %config, ptr %x, ptr %out) {",
            "call void @llvm.x86.ldtilecfg(ptr %config)",
            "call void @llvm.x86.tilezero(i8 0)",
            "call void @llvm.x86.tileloadd64(i8 1, ptr %x, i64 64)",
            "call void @llvm.x86.tileloadd64(i8 2, ptr %x, i64 64)",
            "call void @llvm.x86.tdpbf16ps(i8 0, i8 1, i8 2)",
            "call void @llvm.x86.tilestored64(i8 0, ptr %out, i64 64)",
            "call void @llvm.x86.tilerelease()",
            "ret void",
            "}",
        )
    )
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten()
    )
    engine = binding.create_mcjit_compiler(
        binding.parse_assembly(f"{declarations}\n{body}"), machine
    )
    engine.finalize_object()
    ones = (ctypes.c_uint16 * 512)(*[0x3F80] * 512)  # bf16 1.0
    out, config = (ctypes.c_float * 256)(), ctypes.create_string_buffer(tile_config(), 64)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(engine.get_function_address("try"))
    run(ctypes.addressof(config), ctypes.addressof(ones), ctypes.addressof(out))
    return list(out) == [32.0] * 256


def _probe_in_child() -> bool:
    code = "import sys; from ggmlrpc_cpu import amx; sys.exit(0 if amx.request_permission() and amx.probe() else 1)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@cache
def amx_works() -> bool:
    """Whether kernels of this process may use AMX tiles with bf16; asks for the permission on the way."""
    if find_spec("llvmlite") is None:
        return False  # NumPy only: nothing is compiled
    if os.environ.get(AMX_VARIABLE) == "0" or isa() != "avx512vnni":
        return False
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if not all(features.get(f) for f in ("amx-tile", "amx-bf16", "avx512bf16")):
        return False
    from ggmlrpc_cpu.compile import cache_folder

    verdict = cache_folder() / "amx.txt"
    if not verdict.exists():
        text = "works" if _probe_in_child() else "fails"
        part = verdict.with_suffix(f".{os.getpid()}")
        part.write_text(text, encoding="ascii")
        part.replace(verdict)
    return verdict.read_text(encoding="ascii") == "works" and request_permission()
