"""Accounts of memory."""

from ggmlrpc_core.server.limits import Budget


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
