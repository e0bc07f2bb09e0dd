"""Running cases over the protocol."""

from __future__ import annotations

import pytest

from ggmlrpc_core.client import rpc_init
from ggmlrpc_core.server import Server
from ggmlrpc_core.testing import CaseFailed, NullDevice, ReferenceDevice, all_cases, run_remote_case


def test_right_and_wrong_servers():
    devices = [lambda: ReferenceDevice(), lambda: NullDevice()]
    case = all_cases()["ADD/F32 inplace"]
    with Server(devices, endpoint="127.0.0.1:0") as server, rpc_init(str(server.endpoint)) as right:
        assert run_remote_case(case, right) == 0.0
        wrong = right.server.device(1)
        with pytest.raises(CaseFailed, match="expected at most"):
            run_remote_case(case, wrong)
        assert wrong.memory()[0] == wrong.memory()[1]
