"""`serve --metrics`: what a server counts, over HTTP on a port of its own.

/metrics is text for Prometheus, /status JSON for programs (server/status.py), /healthz says ok while devices work.
A page of a browser must not read it through a name that it made point here: a request whose Host is neither an
address nor localhost is refused.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.server.counters import GRAPH_SECONDS
from ggmlrpc_core.server.status import Status

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger("ggmlrpc.server")

REQUEST_SECONDS = 5.0
"""How long a client of the page may take to ask."""


class StatusCollector:
    """Metrics of a status, made when they are asked for.

    Args:
        look: gives the status now.
    """

    def __init__(self, look: Callable[[], Status]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Every metric of the server."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        status = self._look()
        gauges = {
            "clients": ("Connections now.", len(status.clients)),
            "memory_bytes": ("Bytes of all buffers.", status.memory),
        }
        if status.memory_limit is not None:
            gauges["memory_limit_bytes"] = ("Bound of all buffers.", status.memory_limit)
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"ggmlrpc_{name}", text, value)
        counts = {
            "connections": ("Connections accepted.", status.connections),
            "refused": ("Connections closed before they were served.", status.refused),
            "faults": ("Connections closed by a fault.", status.faults),
            "received_bytes": ("Payload bytes of requests.", status.received),
            "sent_bytes": ("Payload bytes of replies.", status.sent),
        }
        for name, (text, value) in counts.items():
            yield CounterMetricFamily(f"ggmlrpc_{name}", text, value)
        commands = CounterMetricFamily("ggmlrpc_commands", "Requests.", labels=["command"])
        for command, n in sorted(status.commands.items()):
            commands.add_metric([command], n)
        yield commands
        queue = GaugeMetricFamily("ggmlrpc_device_queue", "Jobs that wait.", labels=["device"])
        busy = CounterMetricFamily(
            "ggmlrpc_device_busy_seconds", "Time that a device's thread worked.", labels=["device"]
        )
        graphs = HistogramMetricFamily(
            "ggmlrpc_graph_seconds", "Times of graphs.", labels=["device"]
        )
        for device in status.devices:
            queue.add_metric([device.name], device.queue)
            busy.add_metric([device.name], device.busy_seconds)
            below, buckets = 0, []
            for bound, n in zip((*map(str, GRAPH_SECONDS), "+Inf"), device.graphs):
                below += n
                buckets.append((bound, below))
            graphs.add_metric([device.name], buckets, device.graph_seconds)
        yield from (queue, busy, graphs)


class MetricsServer:
    """An HTTP server on a thread of its own.

    Args:
        endpoint: TCP; port 0 takes a free one.
        look: gives the status now.
        healthy: what is wrong, "" for nothing.

    Attributes:
        endpoint: where it listens.

    Raises:
        OSError: the address is not ours or is taken.
    """

    def __init__(
        self, endpoint: Endpoint, look: Callable[[], Status], *, healthy: Callable[[], str]
    ) -> None:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        registry = CollectorRegistry(auto_describe=False)
        registry.register(StatusCollector(look))  # type: ignore[arg-type]

        def metrics() -> tuple[int, str, bytes]:
            return 200, CONTENT_TYPE_LATEST, generate_latest(registry)

        def status() -> tuple[int, str, bytes]:
            return 200, "application/json", json.dumps(asdict(look())).encode()

        def health() -> tuple[int, str, bytes]:
            problem = healthy()
            return 503 if problem else 200, "text/plain", (problem or "ok").encode() + b"\n"

        pages = {"/metrics": metrics, "/status": status, "/healthz": health}

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_SECONDS

            def do_GET(self) -> None:
                if not is_own_name(self.headers.get("Host", "")):
                    answer = 403, "text/plain", b"the Host header is a name, expected an address\n"
                elif (page := pages.get(self.path.partition("?")[0])) is None:
                    answer = 404, "text/plain", " ".join(pages).encode() + b"\n"
                else:
                    answer = page()
                code, kind, body = answer
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass  # scrapes come every few seconds

        class Site(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET

            def handle_error(self, request: Any, client_address: Any) -> None:
                # Mostly somebody who left before the answer: no traceback on stderr for each of them.
                log.debug("metrics: a request of %s failed", client_address[0], exc_info=True)

        self._http = Site((endpoint.host, endpoint.port), Handler)
        self.endpoint = Endpoint(endpoint.host, self._http.server_address[1])
        self._thread = threading.Thread(
            target=self._http.serve_forever, name="ggmlrpc metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def is_own_name(host: str) -> bool:
    """Whether a Host header is an address or localhost: what no stranger's name server can answer for."""
    name = host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdigit() else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name.casefold() == "localhost"
    return True
