"""The line and the bar of `serve --warm`."""

from ggmlrpc_core.cli.warm import warm
from ggmlrpc_core.device import DeviceInfo


class Pretended:
    """Two devices, of which one has two things to make."""

    def choose(self, names):
        return [DeviceInfo(name, "") for name in names]

    def warm(self, name):
        if name == "COLD":
            yield 1, 2, "ADD"
            yield 2, 2, "MUL"


def test_a_line_per_device(capsys):
    warm(Pretended(), ["COLD", "HOT", "COLD"])
    assert capsys.readouterr().err.splitlines() == ["COLD: 2 kernels compiled", "HOT: warm"]
