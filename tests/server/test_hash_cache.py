"""The hash cache: what is kept, what is verified, who is served."""

import os
import stat
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from ggmlrpc_core.ggml.fnv import fnv1a_64
from ggmlrpc_core.server import hash_cache as module
from ggmlrpc_core.server.hash_cache import HashCache

DATA = bytes(range(256)) * 5
DIGEST = fnv1a_64(DATA)
NAME = f"{DIGEST:016x}"


@pytest.fixture
def said():
    return []


@pytest.fixture
def make(tmp_path, said):
    """Open caches on one directory; closed with the test."""
    caches = []

    def begin(**options):
        caches.append(HashCache(tmp_path / "rpc", report=said.append, **options))
        return caches[-1]

    yield begin
    for cache in caches:
        cache.close()


def put(cache, data=DATA, peer="10.0.0.1"):
    with cache.writer(len(data), peer) as copy:
        copy.write(memoryview(data)[:100])
        copy.write(memoryview(data)[100:])
    cache.flush()


def get(cache, digest=DIGEST, peer="10.0.0.1"):
    entry = cache.find(digest, peer)
    if entry is None:
        return None
    with entry:
        into = bytearray(entry.size)
        entry.fill(memoryview(into)[:7])
        entry.fill(memoryview(into)[7:])
        assert entry.intact()
    return bytes(into)


def test_an_upload_comes_back(make, said):
    cache = make()
    assert get(cache) is None
    put(cache)
    assert get(cache) == DATA
    assert (cache.directory / NAME).read_bytes() == DATA
    assert sorted(p.name for p in cache.directory.iterdir()) == [NAME, f"{NAME}.json"]
    assert said == []


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_nobody_else_can_read_it(make):
    cache = make()
    put(cache)
    modes = [p.stat().st_mode for p in (cache.directory, *cache.directory.iterdir())]
    assert [stat.S_IMODE(mode) for mode in modes] == [0o700, 0o600, 0o600]


def test_only_senders_are_served(make):
    cache = make()
    put(cache, peer="10.0.0.1")
    assert get(cache, peer="10.0.0.2") is None
    put(cache, peer="10.0.0.2")
    assert get(cache, peer="10.0.0.2") == get(cache, peer="10.0.0.1") == DATA
    assert get(cache, peer="10.0.0.3") is None


def test_shared_serves_all(make):
    put(make(), peer="10.0.0.1")
    assert get(make(shared=True), peer="10.0.0.2") == DATA


def test_files_of_the_operator_are_served_to_all(make, tmp_path):
    cache = make()
    (cache.directory / NAME).write_bytes(DATA)
    assert get(cache, peer="10.0.0.1") == get(cache, peer="10.0.0.2") == DATA
    put(cache, peer="10.0.0.1")
    assert get(cache, peer="10.0.0.3") == DATA


@pytest.mark.parametrize("spoiled", [DATA[:-1], DATA + b"x", b"", b"\1" + DATA[1:]])
@pytest.mark.parametrize("sent", [True, False])
def test_corrupt_files_are_no_hit_and_go(make, said, spoiled, sent):
    cache = make()
    if sent:
        put(cache)
    (cache.directory / NAME).write_bytes(spoiled)
    assert get(cache) is None
    assert said == [f"hash cache: {NAME} holds other bytes than its name says"]
    assert not (cache.directory / NAME).exists()
    assert (len(list(cache.directory.iterdir())) == 1) is sent  # the note stays


def test_an_upload_that_is_looked_at_between_its_note_and_its_name_stays_its_own(make, monkeypatch):
    """Two uploads of one hash: what is found half way must not become a file of the operator."""
    cache = make()
    put(cache)
    monkeypatch.setattr(module, "fnv1a_64", lambda data, state: DIGEST)  # a collision
    replace, found = os.replace, []

    def look_first(source, target):
        if Path(target).name == NAME:
            found.append(cache.find(DIGEST, "10.0.0.1"))
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", look_first)
    put(cache, data=b"forged" * 300)
    assert found == [None]
    monkeypatch.undo()
    assert get(cache, peer="10.0.0.9") is None
    assert get(cache) == b"forged" * 300


def test_an_upload_whose_note_was_evicted_meanwhile_is_not_kept(make, monkeypatch):
    cache = make()
    replace = os.replace

    def evict(source, target):
        replace(source, target)
        if Path(target).name == NAME:
            for path in cache.directory.iterdir():
                if path.name != NAME:
                    path.unlink()

    monkeypatch.setattr(module.os, "replace", evict)
    put(cache)
    assert get(cache) is None
    assert list(cache.directory.iterdir()) == []


def test_a_forged_file_is_replaced_by_the_next_upload(make, monkeypatch):
    cache = make()
    monkeypatch.setattr(module, "fnv1a_64", lambda data, state: DIGEST)  # a collision
    put(cache, b"forged" * 300, peer="10.6.6.6")
    assert get(cache, peer="10.0.0.1") is None
    put(cache, DATA, peer="10.0.0.1")
    assert get(cache, peer="10.0.0.1") == DATA
    assert get(cache, peer="10.6.6.6") is None


def test_read_only_writes_nothing(make, tmp_path):
    put(make())
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "rpc").iterdir()}
    cache = make(read_only=True)
    assert get(cache) == DATA
    put(cache, b"other" * 100)
    (tmp_path / "rpc" / NAME).write_bytes(b"spoiled")
    assert get(cache) is None
    assert set(before) == {p.name for p in (tmp_path / "rpc").iterdir()}


def test_read_only_needs_no_directory(tmp_path):
    assert HashCache(tmp_path / "none", read_only=True).find(DIGEST, "10.0.0.1") is None


def test_the_least_recently_used_goes_first(make):
    cache = make(max_size=3000)
    uploads = [bytes([i]) * 1000 for i in range(4)]
    digests = [fnv1a_64(data) for data in uploads]
    for i, data in enumerate(uploads[:3]):
        put(cache, data)
        os.utime(cache.directory / f"{digests[i]:016x}.json", (i, i))
    assert get(cache, digests[0]) == uploads[0]  # used now
    put(cache, uploads[3])
    assert [get(cache, d) is not None for d in digests] == [True, False, True, True]


def test_what_is_larger_than_the_cache_is_not_kept(make):
    cache = make(max_size=len(DATA) - 1)
    put(cache)
    assert list(cache.directory.iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(make):
    cache = make()
    with pytest.raises(ConnectionError), cache.writer(len(DATA), "10.0.0.1") as copy:
        copy.write(memoryview(DATA)[:100])
        raise ConnectionError
    cache.flush()
    assert list(cache.directory.iterdir()) == []


def test_a_full_disk_is_told_and_costs_nothing(make, said, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(1, 1, module.KEEP_FREE))
    cache = make()
    put(cache)
    assert list(cache.directory.iterdir()) == []
    assert said == [f"hash cache: an upload of {len(DATA)} bytes is not kept: the disk is full"]


def test_a_disk_that_fails_is_told_and_costs_nothing(make, said, monkeypatch):
    cache = make()
    with cache.writer(len(DATA), "10.0.0.1") as copy:
        copy.write(memoryview(DATA)[:100])

        def fail(data):
            raise OSError(28, "No space left on device")

        copy._file.close()
        copy._file = type("Broken", (), {"write": staticmethod(fail), "close": lambda self: None})()
        copy.write(memoryview(DATA)[100:])
    cache.flush()
    assert list(cache.directory.iterdir()) == []
    assert said == ["hash cache: an upload is not kept: [Errno 28] No space left on device"]


def test_a_file_cut_while_it_is_read_is_noticed(make):
    cache = make()
    put(cache)
    with cache.find(DIGEST, "10.0.0.1") as entry:
        os.truncate(cache.directory / NAME, 10)
        entry.fill(memoryview(bytearray(entry.size)))
        assert not entry.intact()


def test_uploads_above_the_threshold_are_wanted(make):
    cache = make()
    assert not cache.wants(10 * 1024 * 1024)
    assert cache.wants(10 * 1024 * 1024 + 1)


# --- through a server


def test_through_a_server(start, peer, tensor, make):
    cache = make()
    server = start(cache=cache)
    one = peer(server)
    handle, base = one.alloc(2000)
    record = tensor(handle, base, len(DATA) // 4)
    assert one.ask("SET_TENSOR_HASH", tensor=record, offset=0, hash=DIGEST) == {"result": 0}
    one.tell("SET_TENSOR", DATA, tensor=record, offset=0, cache_flag=1)
    one.tell("SET_TENSOR", bytes(len(DATA)), tensor=record, offset=0, cache_flag=0)
    one.ask("DEVICE_COUNT")
    cache.flush()
    assert [p.name for p in cache.directory.iterdir() if not p.suffix] == [NAME]
    assert one.ask("SET_TENSOR_HASH", tensor=record, offset=0, hash=DIGEST) == {"result": 1}
    assert one.get(record, 0, len(DATA)) == DATA


def test_a_hit_that_does_not_fit_the_tensor_is_a_miss(start, peer, tensor, make, log):
    cache = make()
    one = peer(start(cache=cache))
    handle, base = one.alloc(2000)
    one.tell("BUFFER_CLEAR", remote_ptr=handle, value=3)
    put(cache, peer="127.0.0.1")
    small = tensor(handle, base, len(DATA) // 4 - 1)
    assert one.ask("SET_TENSOR_HASH", tensor=small, offset=0, hash=DIGEST) == {"result": 0}
    whole = tensor(handle, base, len(DATA) // 4)
    assert one.ask("SET_TENSOR_HASH", tensor=whole, offset=1, hash=DIGEST) == {"result": 0}
    assert one.get(whole, 0, len(DATA)) == b"\3" * len(DATA)
    one.tell("SET_TENSOR_HASH", tensor=tensor(0, 0, 4), offset=0, hash=DIGEST)
    assert one.is_closed()
    assert len(list(log)) == 1


def test_a_miss_looks_at_nothing_else(start, peer, tensor, make):
    one = peer(start(cache=make()))
    nowhere = tensor(7, 7, 4)
    assert one.ask("SET_TENSOR_HASH", tensor=nowhere, offset=0, hash=1) == {"result": 0}


def test_the_file_is_what_was_sent_even_when_the_buffer_changes_at_once(start, peer, tensor, make):
    cache = make()
    one = peer(start(cache=cache))
    handle, base = one.alloc(2000)
    one.tell("SET_TENSOR", DATA, tensor=tensor(handle, base, 320), offset=0, cache_flag=1)
    one.tell("BUFFER_CLEAR", remote_ptr=handle, value=0)
    one.ask("DEVICE_COUNT")
    cache.flush()
    assert Path(cache.directory / NAME).read_bytes() == DATA
