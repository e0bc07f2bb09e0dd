"""SIMD vectors as Numba values: types and conversions, memory, lanes, arithmetic, byte dot products."""

from ggmlrpc_cpu.simd.arith import *  # noqa: F403
from ggmlrpc_cpu.simd.dot import *  # noqa: F403
from ggmlrpc_cpu.simd.lanes import *  # noqa: F403
from ggmlrpc_cpu.simd.memory import *  # noqa: F403
from ggmlrpc_cpu.simd.types import *  # noqa: F403
