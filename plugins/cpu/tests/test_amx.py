"""Whether AMX is used is decided by a trial in a child process, once."""

from __future__ import annotations

import subprocess
import types

import pytest
from ggmlrpc_cpu import amx, compile


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A CPU that claims AMX, an empty cache folder, no earlier answer."""
    from llvmlite import binding

    claims = dict.fromkeys(("amx-tile", "amx-bf16", "avx512bf16"), True)
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: claims)
    monkeypatch.setattr(compile, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(amx, "isa", lambda: "avx512vnni")
    monkeypatch.setattr(amx, "request_permission", lambda: True)
    monkeypatch.delenv(amx.AMX_VARIABLE, raising=False)
    return amx.amx_works.__wrapped__


def child(monkeypatch, returncode: int) -> list[object]:
    calls: list[object] = []

    def run(command, **options):
        calls.append(command)
        return types.SimpleNamespace(returncode=returncode)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


@pytest.mark.parametrize(("returncode", "works"), [(0, True), (1, False), (-4, False)])
def test_the_verdict_of_the_child_is_remembered(fresh, monkeypatch, returncode, works):
    calls = child(monkeypatch, returncode)
    assert [fresh(), fresh()] == [works, works]
    assert len(calls) == 1


def test_no_child_where_the_isa_is_forced(fresh, monkeypatch):
    calls = child(monkeypatch, 0)
    monkeypatch.setattr(amx, "isa", lambda: "avx2")
    assert not fresh()
    assert not calls


def test_it_can_be_turned_off(fresh, monkeypatch):
    child(monkeypatch, 0)
    monkeypatch.setenv(amx.AMX_VARIABLE, "0")
    assert not fresh()


def test_a_child_that_hangs_counts_as_failed(fresh, monkeypatch):
    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    assert not fresh()


def test_tile_configuration():
    config = amx.tile_config()
    assert len(config) == 64
    assert config[0] == 1
    assert config[16:32] == b"\x40\x00" * 8
    assert config[48:56] == bytes([16] * 8)
