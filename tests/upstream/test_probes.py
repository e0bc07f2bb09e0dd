"""Every pair of op and operands that the client may send to guess a numbering, on the stock server.

A pair that ends a server, or gives something else than the reference, must not be on the list.
"""

from __future__ import annotations

from upstream.build_stock import Stock
from upstream.servers import Server

from ggmlrpc_core.client import connect
from ggmlrpc_core.client.guess import CPU_ALIGNMENT, CPU_MAX_SIZE, SCRATCH, run_probe
from ggmlrpc_core.client.probes import ON_CPU, OPERANDS, Probe, equal, reading

TIMEOUT = 60.0


def test_every_pair_runs_and_gives_what_the_reference_gives(stock: Stock) -> None:
    wrong, ran = [], set()
    with Server("stock", stock=stock) as server, connect(server.endpoint, TIMEOUT) as connection:
        numbering = connection.dialect.numbering
        handle = connection.call("ALLOC_BUFFER", size=SCRATCH)["remote_ptr"]
        base = connection.call("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]
        for name in sorted(ON_CPU):
            for operands in (o for o in OPERANDS if name in o.ops):
                functions = [(k,) for k in numbering.unary.values()] if name == "UNARY" else []
                for params in functions or [operands.params]:
                    probe = Probe(numbering.ops[name], params, operands)
                    read = reading(probe, connection.dialect, ON_CPU)
                    if read is None:
                        continue
                    ran.add(name)
                    got = run_probe(connection, probe, handle, base=base)
                    if got is None or not equal(got, read[1]):
                        wrong.append((read[0], operands.name, params))
    assert wrong == []
    assert ran == ON_CPU


def test_the_cpu_is_known_by_what_it_answers(stock: Stock) -> None:
    with Server("stock", stock=stock) as server, connect(server.endpoint, TIMEOUT) as connection:
        assert connection.call("GET_ALIGNMENT")["alignment"] == CPU_ALIGNMENT
        assert connection.call("GET_MAX_SIZE")["max_size"] == CPU_MAX_SIZE
