"""Loading MLX: what is said when that fails, and no fusing on the CPU backend."""

from importlib import metadata

import pytest
from ggmlrpc_metal import library
from ggmlrpc_metal.library import choose_backend, load_mlx

from ggmlrpc_core.errors import PluginError


def test_a_missing_mlx_is_named_with_what_to_do(monkeypatch):
    def gone(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", gone)
    with pytest.raises(
        PluginError, match=r"mlx is not installed, expected version .*hint: pip install"
    ):
        load_mlx()


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "0.99.1")
    with pytest.raises(PluginError, match=r"mlx is 0\.99\.1, expected version"):
        load_mlx()


def test_an_mlx_that_does_not_load_gives_the_reason(monkeypatch):
    def broken(name):
        raise ImportError("libmlx.so: cannot open shared object file\nmore")

    monkeypatch.setattr(library, "import_module", broken)
    with pytest.raises(PluginError, match=r"not loaded \(libmlx.so: cannot open shared object"):
        load_mlx()


def test_a_gpu_that_is_not_there():
    mx = load_mlx()
    if mx.metal.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(PluginError, match="Metal is not available, expected an Apple GPU"):
        choose_backend(mx, gpu=True)


def test_without_the_switch_functions_are_not_compiled(monkeypatch):
    mx = load_mlx()
    calls = []
    monkeypatch.setattr(library, "_SET_COMPILE_MODE", "no_such_symbol")
    monkeypatch.setattr(mx, "disable_compile", lambda: calls.append(1))
    choose_backend(mx, gpu=False)
    assert calls == [1]


def test_nothing_is_fused_on_the_cpu_backend(gpu, tmp_path):
    if gpu:
        pytest.skip("Metal fuses")
    mx = load_mlx()
    choose_backend(mx, gpu=False)
    function = mx.compile(lambda a: mx.exp(a * 2.0) - 1.0)
    drawn = tmp_path / "graph.dot"
    mx.export_to_dot(str(drawn), function(mx.ones((4,))))
    text = drawn.read_text()
    assert all(f'"{name}"' in text for name in ("Multiply", "Exp", "Subtract"))
