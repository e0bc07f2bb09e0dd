"""Which vector instructions the kernels may name: found once, or forced by GGMLRPC_CPU_ISA.

An ISA decides only which target intrinsics are called; vector types and kernel source are the same for all of
them, and every ISA gives the same bits. `generic` names no target intrinsic at all.
"""

from __future__ import annotations

import os
import platform
from functools import cache

from ggmlrpc_core.errors import PluginError

ISAS = ("avx512vnni", "avxvnni", "avx2", "neon", "generic")
"""Best first; `neon` means with dot products."""

ISA_VARIABLE = "GGMLRPC_CPU_ISA"


@cache
def host_isas() -> tuple[str, ...]:
    """The ISAs that this machine can run, best first; always ends in generic."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    machine = platform.machine().lower()
    has = {"generic": True}
    if machine in ("x86_64", "amd64"):
        has["avx2"] = bool(features.get("avx2"))
        has["avxvnni"] = has["avx2"] and bool(features.get("avxvnni"))
        has["avx512vnni"] = all(features.get(f) for f in ("avx512vnni", "avx512bw", "avx512vl"))
    elif machine in ("arm64", "aarch64"):
        has["neon"] = bool(features.get("dotprod"))
    return tuple(name for name in ISAS if has.get(name))


@cache
def isa() -> str:
    """The ISA in force for this process.

    Raises:
        PluginError: GGMLRPC_CPU_ISA names one that this machine cannot run.
    """
    forced = os.environ.get(ISA_VARIABLE, "")
    if not forced:
        return host_isas()[0]
    if forced not in host_isas():
        raise PluginError("ggmlrpc-cpu", ISA_VARIABLE, forced, f"one of {', '.join(host_isas())}")
    return forced
