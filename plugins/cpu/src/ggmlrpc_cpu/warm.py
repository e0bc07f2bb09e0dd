"""`python -m ggmlrpc_cpu.warm NAME...`: compile kernels into the cache folder and end.

Compiling holds the interpreter lock, so a server lets a process of its own do it. Without names: every kernel.
Prints the name of each when it is there. Ends with status 1 when a kernel could not be compiled; the others are there.
"""

from __future__ import annotations

import os
import sys
import traceback

from ggmlrpc_cpu.compile import REGISTRY, Kernels, import_kernels


def main(names: list[str]) -> int:
    """Compile kernels in the order given."""
    if hasattr(os, "nice"):
        os.nice(5)  # the server that waits for us is busy with the same work, only slower
    import_kernels()
    kernels = Kernels()
    failed = 0
    for name in names or sorted(REGISTRY):
        try:
            kernels.load(name)
        except Exception:
            traceback.print_exc()
            failed += 1
        else:
            print(name, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
