"""The example of the package docstring runs as it stands."""

from __future__ import annotations

import textwrap

import ggmlrpc_core.client
from ggmlrpc_core.server import Server
from ggmlrpc_core.testing import ReferenceDevice


def test_docstring(capsys):
    doc = ggmlrpc_core.client.__doc__ or ""
    code = textwrap.dedent(doc.partition("\n\n")[2])
    assert code.count("127.0.0.1:50052") == 1
    with Server([lambda: ReferenceDevice()], endpoint="127.0.0.1:0") as server:
        exec(code.replace("127.0.0.1:50052", str(server.endpoint)), {})
    printed = capsys.readouterr().out
    assert printed.startswith("[[[[") and printed.count(" ") > 10
