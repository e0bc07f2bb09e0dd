"""Names, places and notes of cache files."""

import os
from pathlib import Path

import pytest

from ggmlrpc_core.server.cache_files import CacheFiles, Note, default_directory

NAME = "0123456789abcdef"


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"LLAMA_CACHE": "/c", "HOME": "/h"}, "linux", "/c/rpc"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "linux", "/x/llama.cpp/rpc"),
        ({"HOME": "/h"}, "linux", "/h/.cache/llama.cpp/rpc"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "darwin", "/h/Library/Caches/llama.cpp/rpc"),
        ({"LOCALAPPDATA": "/l", "HOME": "/h"}, "win32", "/l/llama.cpp/rpc"),
    ],
)
def test_the_directory_is_that_of_the_stock_server(environ, platform, expected):
    assert default_directory(environ, platform) == Path(expected)


def test_a_note_comes_back(tmp_path):
    files = CacheFiles(tmp_path)
    assert files.read_note(NAME) is None
    for note in (Note("ab", 5, frozenset({"10.0.0.2", "10.0.0.1"})), Note("cd", 6, None)):
        files.write_note(NAME, note)
        assert files.read_note(NAME) == note
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{NAME}.json"]


def test_one_more_peer():
    note = Note("ab", 5, frozenset({"10.0.0.1"}))
    assert note.with_peer("10.0.0.2").peers == {"10.0.0.1", "10.0.0.2"}
    assert Note("ab", 5, None).with_peer("10.0.0.2").peers is None


@pytest.mark.parametrize("text", ["{", "[]", '{"blake2b": 1}'])
def test_a_note_that_is_not_ours(tmp_path, text):
    (tmp_path / f"{NAME}.json").write_text(text)
    with pytest.raises(ValueError):
        CacheFiles(tmp_path).read_note(NAME)


def test_only_what_clients_sent_is_listed_for_removal(tmp_path):
    files = CacheFiles(tmp_path)
    for name, peers in ((NAME, frozenset({"a"})), ("f" * 16, None)):
        files.data_path(name).write_bytes(b"12345")
        files.write_note(name, Note("ab", 5, peers))
    files.data_path("e" * 16).write_bytes(b"of a stock server")
    (tmp_path / "README").write_text("not ours")
    assert [(name, size) for _, name, size in files.sent()] == [(NAME, 5)]


def test_temporary_files_of_the_dead_are_removed(tmp_path):
    files = CacheFiles(tmp_path)
    old, new = files.temporary(), files.temporary()
    assert old != new
    for path, age in ((old, 1000), (new, 3000)):
        path.write_bytes(b"")
        os.utime(path, (age, age))
    files.remove_abandoned(before=2000)
    assert list(tmp_path.iterdir()) == [new]
