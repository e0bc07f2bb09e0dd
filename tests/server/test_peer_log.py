"""Lines about one peer are bounded, and what is left out is counted."""

import logging

import pytest

from ggmlrpc_core.server import peer_log as module
from ggmlrpc_core.server.peer_log import PeerLog, network_of


@pytest.fixture
def lines(caplog, monkeypatch):
    """Write a line about a peer at a time; gives what the log has."""
    monkeypatch.setattr(module, "BURST", 2)
    caplog.set_level(logging.INFO, "test")
    now = [0.0]
    log = PeerLog(logging.getLogger("test"), clock=lambda: now[0])

    def write(peer, at):
        now[0] = at
        log.write(logging.WARNING, peer, "[%s] closed", peer)
        return [record.getMessage() for record in caplog.records]

    return write


def test_a_flood_is_cut_and_counted(lines):
    for _ in range(5):
        found = lines("a", 0.0)
    assert found == ["[a] closed"] * 2
    assert lines("b", 0.0)[2:] == ["[b] closed"]
    assert lines("a", 0.6)[3:] == ["[a] closed (3 lines about this address left out)"]
    assert len(lines("a", 0.6)) == 4


def test_few_addresses_are_remembered(lines, monkeypatch):
    monkeypatch.setattr(module, "MOST_PEERS", 1)
    lines("a", 0.0)
    lines("a", 0.0)
    lines("b", 0.0)
    assert len(lines("a", 0.0)) == 4


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
    ],
)
def test_a_site_of_ipv6_counts_as_one(peer, network):
    assert network_of(peer) == network
