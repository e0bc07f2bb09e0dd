"""Upkeep of a hash cache: what is listed, found wrong, removed and seeded."""

import os
import stat
import sys

import numpy as np
import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.fnv import fnv1a_64
from ggmlrpc_core.server.cache_files import CacheFiles, Note
from ggmlrpc_core.server.cache_upkeep import list_files, prune, seed, verify
from ggmlrpc_core.server.hash_cache import HashCache


def put(directory, data, *, used, peer=None):
    """A file of a stock server, or of a client of ours."""
    directory.mkdir(exist_ok=True)
    name = f"{fnv1a_64(data):016x}"
    (directory / name).write_bytes(data)
    os.utime(directory / name, (used, used))
    if peer:
        CacheFiles(directory).write_note(name, Note("", len(data), frozenset({peer})))
        os.utime(directory / f"{name}.json", (used, used))
    return name


def test_list_shows_ours_and_the_stock_servers_files(tmp_path):
    old = put(tmp_path, b"stock", used=1000)
    new = put(tmp_path, b"ours, longer", used=2000, peer="10.0.0.1")
    (tmp_path / ".tmp-1-2").write_bytes(b"being written")
    found = [(file.name, file.size, file.used, file.peers) for file in list_files(tmp_path)]
    assert found == [(new, 12, 2000.0, ("10.0.0.1",)), (old, 5, 1000.0, None)]


def test_a_strange_note_hides_nothing(tmp_path):
    name = put(tmp_path, b"data", used=1000)
    (tmp_path / f"{name}.json").write_text("[]")
    assert [file.name for file in list_files(tmp_path)] == [name]


def test_verify(tmp_path):
    good, cut = put(tmp_path, b"good", used=1), put(tmp_path, b"was longer", used=1)
    (tmp_path / cut).write_bytes(b"was")
    assert verify(tmp_path, good) is True
    assert verify(tmp_path, cut) is False
    assert verify(tmp_path, "0" * 16) is None


def test_a_note_does_not_make_other_bytes_right(tmp_path):
    name = put(tmp_path, b"good", used=1)
    with HashCache(tmp_path).find(int(name, 16), "x"):  # writes the note
        pass
    assert verify(tmp_path, name) is True
    (tmp_path / name).write_bytes(b"evil")
    assert verify(tmp_path, name) is False


@pytest.mark.parametrize(
    ("bounds", "left"),
    [
        ({"max_size": 12, "max_age": None}, [b"newest", b"middle"]),
        (
            {"max_size": 11, "max_age": None},
            [b"newest", b"old"],
        ),  # what is too large goes, what fits stays
        ({"max_size": None, "max_age": 3600.0}, [b"newest"]),
        ({"max_size": 0, "max_age": None}, []),
    ],
)
def test_prune(tmp_path, monkeypatch, bounds, left):
    monkeypatch.setattr("time.time", lambda: 10_000.0)
    put(tmp_path, b"newest", used=9_000, peer="a")
    put(tmp_path, b"middle", used=5_000)
    put(tmp_path, b"old", used=1_000)
    files = list_files(tmp_path)
    removed = list(prune(tmp_path, files, **bounds))
    names = {f"{fnv1a_64(data):016x}" for data in left}
    assert {file.name for file in list_files(tmp_path)} == names
    assert {file.name for file in files} - {file.name for file in removed} == names


@pytest.fixture
def model(tmp_path):
    """A GGUF file with a large, a small and a quantized tensor."""
    from gguf import GGMLQuantizationType, GGUFWriter

    rng = np.random.default_rng(3)
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("large", rng.standard_normal((40, 64), dtype=np.float32))
    writer.add_tensor("small", np.ones(8, np.float32))
    raw = rng.integers(0, 256, (32, 34 * 8), dtype=np.uint8)
    writer.add_tensor("quantized", raw, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "model.gguf", raw.tobytes()


def test_seed_writes_what_clients_ask_for(tmp_path, model):
    path, raw = model
    cache = tmp_path / "rpc"
    seeded = list(seed(cache, path, above=4096))
    assert [(one.tensor, one.size, one.new) for one in seeded] == [
        ("large", 40 * 64 * 4, True),
        ("quantized", len(raw), True),
    ]
    entry = HashCache(cache).find(fnv1a_64(raw), "any client")
    with entry:
        assert b"".join(map(bytes, entry.chunks())) == raw
    assert [one.new for one in seed(cache, path, above=4096)] == [False, False]
    assert not list(cache.glob(".tmp-*"))


def test_seed_replaces_a_truncated_file(tmp_path, model):
    path, raw = model
    cache = tmp_path / "rpc"
    [*_, one] = seed(cache, path, above=4096)
    (cache / one.name).write_bytes(raw[:100])
    assert [one.new for one in seed(cache, path, above=4096)] == [False, True]
    assert (cache / one.name).read_bytes() == raw


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_seed_makes_a_private_directory(tmp_path, model):
    list(seed(tmp_path / "rpc", model[0]))
    assert stat.S_IMODE((tmp_path / "rpc").stat().st_mode) == 0o700


def test_seed_wants_a_gguf(tmp_path):
    (tmp_path / "x").write_bytes(b"no model in here, only text that is long enough")
    with pytest.raises(LocalProtocolError, match="expected a GGUF file"):
        list(seed(tmp_path / "rpc", tmp_path / "x"))
