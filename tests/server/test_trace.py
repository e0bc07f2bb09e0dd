"""Lines of GGMLRPC_DEBUG."""

import pytest

from ggmlrpc_core.engine.events import Request
from ggmlrpc_core.server.trace import reply_line, request_line, wanted


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"GGMLRPC_DEBUG": "1"}, True),
        ({"GGML_RPC_DEBUG": "1"}, True),
        ({"GGMLRPC_DEBUG": "0"}, False),
        ({"GGML_RPC_DEBUG": ""}, False),
    ],
)
def test_either_variable(environ, expected):
    assert wanted(environ) is expected


def test_an_upload_shows_sizes_name_and_shape(tensor):
    record = tensor(1, 2, 64, 16, name="blk.0.attn_q.weight")
    request = Request("SET_TENSOR", {"tensor": record, "offset": 0, "cache_flag": 1}, 4401, 4096)
    assert request_line(request) == (
        "> SET_TENSOR 305+4096 bytes 'blk.0.attn_q.weight' F32 ne=[64, 16, 1, 1] offset=0 cache_flag=1"
    )


def test_other_requests(tensor):
    assert request_line(Request("FREE_BUFFER", {"remote_ptr": 0xABC}, 8)) == (
        "> FREE_BUFFER 8 bytes remote_ptr=0xabc"
    )
    graph = Request("GRAPH_COMPUTE", {"device": 0, "nodes": [1], "tensors": [1, 2]}, 100)
    assert request_line(graph) == "> GRAPH_COMPUTE 100 bytes device=0 n_nodes=1 n_tensors=2"


def test_a_name_cannot_write_lines_of_its_own(tensor):
    record = tensor(1, 2, 4, name="x\nINFO fake")
    line = request_line(Request("INIT_TENSOR", {"tensor": record}, 296))
    assert "\n" not in line


def test_reply():
    assert reply_line("GET_TENSOR", 4096) == "< GET_TENSOR 4096 bytes"
