"""Accounts of memory."""

from ipaddress import ip_network

import pytest

from ggmlrpc_core.server.limits import Budget, ServerLimits


def test_a_budget_is_kept():
    budget = Budget(100)
    assert budget.take(60)
    assert not budget.take(41)
    assert budget.used == 60
    assert budget.take(40)
    budget.give_back(60)
    assert budget.figures(1000, 2000) == (60, 100)
    assert budget.figures(10, 20) == (10, 20)


def test_no_bound_takes_all():
    budget = Budget()
    assert budget.take(1 << 60)
    assert budget.figures(5, 7) == (5, 7)


def test_a_budget_in_debt_shows_no_free_memory():
    assert Budget(10, used=20).figures(5, 7) == (0, 7)


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("192.168.1.7", True),
        ("192.168.2.7", False),
        ("::ffff:192.168.1.7", True),
        ("fd00::1%eth0", True),
        ("2001:db8::1", False),
        ("unix", True),
    ],
)
def test_networks_that_may_connect(peer, allowed):
    limits = ServerLimits(allow=(ip_network("192.168.1.0/24"), ip_network("fd00::/8")))
    assert limits.allows(peer) is allowed
    assert ServerLimits().allows(peer)


def test_silence_is_the_shorter_of_the_two():
    assert ServerLimits().silence == 60.0
    assert ServerLimits(idle_timeout=5.0).silence == 5.0
    assert ServerLimits(idle_timeout=90.0).silence == 60.0


def test_bounds_for_the_banner():
    assert str(ServerLimits()) == (
        "64 clients, any memory in all, any memory per client, messages of 128 MiB, "
        "1e+17 operations a graph, idle clients stay"
    )
    narrow = ServerLimits(
        memory_total=1 << 30, idle_timeout=90.0, allow=(ip_network("10.0.0.0/8"),)
    )
    assert "1024 MiB in all" in str(narrow)
    assert str(narrow).endswith("90 s idle, from 10.0.0.0/8")
