"""Which devices are offered where."""

import pytest
from ggmlrpc_metal import discover
from ggmlrpc_metal.discover import devices


def offered(monkeypatch: pytest.MonkeyPatch, *, platform: str, machine: str, mlx: bool):
    monkeypatch.setattr(discover.sys, "platform", platform)
    monkeypatch.setattr(discover.platform, "machine", lambda: machine)
    monkeypatch.setattr(discover, "find_spec", lambda name: object() if mlx else None)
    monkeypatch.setattr(discover, "_chip", lambda: "Apple M9")
    return [(d.name, d.accelerator, d.on_request, d.aliases) for d in devices()]


METAL = ("Metal", True, False, ("MTL0",))
CPU = ("MLX-CPU", False, True, ())


@pytest.mark.parametrize(
    ("platform", "machine", "mlx", "found"),
    [
        ("darwin", "arm64", True, [METAL, CPU]),
        ("darwin", "arm64", False, [("Metal", True, True, ("MTL0",))]),
        ("darwin", "x86_64", True, [CPU]),
        ("linux", "x86_64", True, [CPU]),
        ("linux", "x86_64", False, []),
    ],
)
def test_metal_on_apple_silicon_and_the_cpu_backend_on_request(
    monkeypatch, platform, machine, mlx, found
):
    assert offered(monkeypatch, platform=platform, machine=machine, mlx=mlx) == found


def test_mlx_is_not_imported_to_list_devices():
    import subprocess
    import sys

    code = "import sys, ggmlrpc_metal; ggmlrpc_metal.ggmlrpc_devices(); print('mlx.core' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_descriptions_name_the_chip(monkeypatch):
    monkeypatch.setattr(discover, "_chip", lambda: "Apple M9")
    assert discover.describe("Metal") == "Apple M9"
    assert discover.describe("MLX-CPU") == "Apple M9 (MLX on the CPU)"


def test_a_broken_parent_package_is_no_mlx(monkeypatch):
    def broken(name):
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(discover, "find_spec", broken)
    assert not discover.has_mlx()
