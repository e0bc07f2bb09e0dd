"""Results of peers, kept one file each, so that a page has all whoever was run last."""

from __future__ import annotations

import json
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interop.build_peers import Built
from interop.measure import Result, measure
from interop.peers import Peer
from upstream.build_stock import compiler_of

RESULT = "interop.json"


def run_peer(built: Built, folder: Path) -> dict[str, Any]:
    """Measure one peer and keep the result with date and versions."""
    start = time.monotonic()
    result = measure(built, folder)
    kept = {
        "date": datetime.now(UTC).date().isoformat(),
        "ggmlrpc": version("ggmlrpc"),
        "compiler": compiler_of(built.root),
        "machine": f"{platform.system()} {platform.machine()}",
        "seconds": round(time.monotonic() - start),
        **result.as_dict(),
    }
    (built.root / RESULT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return kept


def kept_result(folder: Path, one: Peer) -> dict[str, Any] | None:
    """The result of a peer's last run, None when it never ran."""
    path = folder / one.version / RESULT
    return json.loads(path.read_text()) if path.exists() else None


def as_result(kept: dict[str, Any]) -> Result:
    """The measured part of a kept result."""
    return Result(**{name: kept[name] for name in Result.__dataclass_fields__})
