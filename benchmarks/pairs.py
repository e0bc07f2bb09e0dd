"""Two servers measured in turn: the stock one and ours, and what comes out of it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from upstream.build_stock import Stock
from upstream.servers import Server


@dataclass(frozen=True)
class Row:
    """One measured thing.

    Attributes:
        name: what was measured.
        unit: of both values, "tokens/s", "GB/s", "us", "MB".
        stock: value of the stock server.
        ours: value of our server.
        higher_is_better: speeds; False for times and memory.
        samples: every value, by server; empty for values that were read once.
    """

    name: str
    unit: str
    stock: float
    ours: float
    higher_is_better: bool = True
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Ours over stock, in the unit."""
        return self.ours / self.stock

    def as_json(self) -> dict[str, Any]:
        """For the file of --json."""
        return {**asdict(self), "ratio": self.ratio}


@dataclass(frozen=True)
class Setup:
    """What all measurements share.

    Attributes:
        stock: the build.
        ours: kind of the server in the column "ours"; "stock" measures the stock server twice, which shows the noise.
        threads: of each server.
        repeat: samples of each value; the median counts.
    """

    stock: Stock
    ours: str
    threads: int
    repeat: int

    @contextmanager
    def servers(self) -> Iterator[dict[str, Server]]:
        """Both servers, running, as users start them."""
        options = {"stock": self.stock, "threads": self.threads, "wait_policy": None}
        with Server("stock", **options) as stock, Server(self.ours, **options) as ours:
            yield {"stock": stock, "ours": ours}

    def samples(self, measure: Callable[[str, int], float]) -> dict[str, list[float]]:
        """Values of `measure(server, number)`, taken A B A B."""
        found: dict[str, list[float]] = {"stock": [], "ours": []}
        for number in range(self.repeat):
            for server, values in found.items():
                gc.collect()
                values.append(measure(server, number))
        return found

    def row(self, name: str, unit: str, samples: dict[str, list[float]], *, speed: bool) -> Row:
        """A row of medians."""
        middle = {server: median(values) for server, values in samples.items()}
        return Row(
            name, unit, middle["stock"], middle["ours"], higher_is_better=speed, samples=samples
        )
