"""What the host says of its processor."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from pathlib import Path


@cache
def cpu_name() -> str:
    """The model name for people, "CPU" when the host does not tell."""
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Hardware", "cpu model") and value.strip():
                return value.strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return "CPU"
        if found.stdout.strip():
            return found.stdout.strip()
    return platform.processor() or platform.machine() or "CPU"
