import os
import zipfile
import zlib

import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.blobs import (
    BlobWriter,
    Folder,
    Zip,
    open_container,
    pack,
    read_blob,
    store_blob,
)

DATA = bytes(range(256)) * 40


def stored(root, data=DATA):
    return store_blob(root, data, packed=zlib.compress(data))


def test_stored_and_streamed_data_have_the_same_name(tmp_path):
    writer = BlobWriter(tmp_path)
    for at in range(0, len(DATA), 1000):
        writer.write(DATA[at : at + 1000])
    name = writer.keep()
    assert stored(tmp_path) == name
    assert b"".join(read_blob(Folder(tmp_path), name, len(DATA))) == DATA
    assert [p.name for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == [name[2:]]


def test_what_is_dropped_leaves_nothing(tmp_path):
    writer = BlobWriter(tmp_path)
    writer.write(DATA)
    writer.drop()
    assert list((tmp_path / "blobs").iterdir()) == []


def test_a_zip_holds_the_same_and_is_always_the_same_bytes(tmp_path):
    folder = tmp_path / "x"
    name = stored(folder)
    incompressible = os.urandom(5000)
    other = stored(folder, incompressible)
    (folder / "session.jsonl").write_text("{}\n")
    for target in ("a.zip", "b.zip"):
        pack(folder, tmp_path / target)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    container = open_container(tmp_path / "a.zip")
    assert b"".join(read_blob(container, name, len(DATA))) == DATA
    assert b"".join(read_blob(container, other, 5000)) == incompressible
    with container.open_lines() as lines:
        assert lines.read() == b"{}\n"
    container.close()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a" * 31, "A" * 32, "g" * 32, "/" * 32])
def test_a_name_is_never_a_path(tmp_path, name):
    with pytest.raises(RecordingError, match="expected 32 hex digits"):
        list(read_blob(Folder(tmp_path), name, 1))


def test_nothing_of_wrong_content_is_handed_out(tmp_path):
    name = stored(tmp_path)
    place = tmp_path / "blobs" / name[:2] / (name[2:] + ".z")
    place.write_bytes(zlib.compress(DATA[:-1] + b"x"))
    with pytest.raises(RecordingError, match="with the hash of its name"):
        next(read_blob(Folder(tmp_path), name, len(DATA)))


def test_another_size_and_no_file_are_refused(tmp_path):
    name = stored(tmp_path)
    with pytest.raises(RecordingError, match="10240 bytes"):
        next(read_blob(Folder(tmp_path), name, len(DATA) + 1))
    with pytest.raises(RecordingError, match="absent, expected a file"):
        next(read_blob(Folder(tmp_path), "0" * 32, 1))


def test_a_bomb_is_read_no_further_than_it_says(tmp_path):
    name = "ab" + "0" * 30
    place = tmp_path / "blobs" / "ab" / ("0" * 30 + ".z")
    place.parent.mkdir(parents=True)
    place.write_bytes(zlib.compress(bytes(1 << 26)))
    with pytest.raises(RecordingError, match="101 bytes with hash"):
        next(read_blob(Folder(tmp_path), name, 100))


def test_links_and_devices_are_refused(tmp_path):
    name = stored(tmp_path / "real")
    source = tmp_path / "real" / "blobs" / name[:2] / (name[2:] + ".z")
    folder = tmp_path / "x" / "blobs" / name[:2]
    folder.mkdir(parents=True)
    place = folder / source.name
    place.symlink_to(source)
    with pytest.raises(RecordingError, match="expected a plain file"):
        next(read_blob(Folder(tmp_path / "x"), name, len(DATA)))
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(RecordingError, match="a folder or a device"):
        next(read_blob(Folder(tmp_path / "x"), name, len(DATA)))
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "blobs").symlink_to(tmp_path / "real" / "blobs")
    with pytest.raises(RecordingError, match=r"blobs is a link"):
        next(read_blob(Folder(tmp_path / "y"), name, len(DATA)))


def test_what_is_no_recording_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(RecordingError, match="a folder or a zip file"):
        open_container(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as out:
        out.writestr("other", "x")
    for container in (Folder(tmp_path), Zip(tmp_path / "y.zip")):
        with pytest.raises(RecordingError, match=r"session.jsonl is absent"):
            container.open_lines()
        container.close()
