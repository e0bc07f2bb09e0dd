"""Every message of every dialect, declared once with construct.

One Struct per C struct, same names, same order, packed, little-endian. The layouts of older and newer versions
are the same declaration with `since` and `until`. Bulk parsing (layout.py), the protocol pages of the docs and the
fuzzers are derived from it; construct itself is not on the path of a token.

Source: ggml-rpc.cpp at each version, as collected in docs/reference/protocol.
"""

from __future__ import annotations

from construct import Array, Bytes, GreedyBytes, Int8ul, Int32sl, Int32ul, Int64ul, Struct, this

from ggmlrpc_core.wire.fields import max_name, max_src, since, until
from ggmlrpc_core.wire.version import ERA_B, ERA_C, V

MAX_DIMS = 4
N_OP_PARAMS = 16
CONN_CAPS_SIZE = 24

rpc_tensor = Struct(
    "id" / Int64ul,  # the client's name of the tensor; 0 is none
    "type" / Int32ul,
    "gap" / until(ERA_B, Bytes(4)),  # alignment of the first, unpacked struct
    "buffer" / Int64ul,  # handle from ALLOC_BUFFER; 0 is none
    "ne" / Array(MAX_DIMS, Int32ul),
    "nb" / Array(MAX_DIMS, Int32ul),  # bytes
    "op" / Int32ul,
    "op_params" / Array(N_OP_PARAMS, Int32sl),
    "flags" / Int32sl,
    "src" / Array(max_src, Int64ul),  # ids; 0 is none
    "view_src" / Int64ul,
    "view_offs" / Int64ul,  # bytes
    "data" / Int64ul,  # absolute address on the server
    "name" / Bytes(max_name),
    "padding" / since(ERA_C, until(V(5, 1), Bytes(4))),
    "use_count" / since(V(5, 1), Int32sl),  # readers in the client's graph
)

EMPTY = Struct()
"""A message of length 0. Not the same as no message, which is None in the command table."""

hello_req = Struct("conn_caps" / since(V(4, 0), Bytes(CONN_CAPS_SIZE)))
hello_rsp = Struct(
    "major" / Int8ul,
    "minor" / Int8ul,
    "patch" / Int8ul,
    "pad" / since(V(4, 0), Int8ul),
    "conn_caps" / since(V(4, 0), Bytes(CONN_CAPS_SIZE)),
)

device_count_rsp = Struct("device_count" / Int32ul)

device_req = Struct("device" / since(V(3, 0), Int32ul))  # index into the server's devices
alloc_buffer_req = Struct(
    "device" / since(V(3, 0), Int32ul),
    "size" / Int64ul,  # bytes
)
alloc_buffer_rsp = Struct(
    "remote_ptr" / Int64ul,  # handle; 0 when the allocation failed
    "remote_size" / Int64ul,  # bytes
)
get_alignment_rsp = Struct("alignment" / Int64ul)  # bytes
get_max_size_rsp = Struct("max_size" / Int64ul)  # bytes
get_device_memory_rsp = Struct("free_mem" / Int64ul, "total_mem" / Int64ul)  # bytes
get_alloc_size_req = Struct(
    "device" / since(V(3, 0), Int32ul),
    "tensor" / rpc_tensor,
    "srcs" / since(V(3, 6), Array(max_src, rpc_tensor)),  # all bytes zero where absent
)
get_alloc_size_rsp = Struct("alloc_size" / Int64ul)  # bytes

buffer_req = Struct("remote_ptr" / Int64ul)
buffer_get_base_rsp = Struct("base_ptr" / Int64ul)
buffer_clear_req = Struct("remote_ptr" / Int64ul, "value" / Int8ul)

init_tensor_req = Struct("tensor" / rpc_tensor)
set_tensor_req = Struct(
    "tensor" / rpc_tensor,
    "cache_flag" / since(V(7, 0), Int8ul),  # not 0: the server may save the data in its cache
    "offset" / Int64ul,  # bytes from the tensor's first
    "data" / GreedyBytes,
)
set_tensor_hash_req = Struct(
    "tensor" / rpc_tensor,
    "offset" / Int64ul,
    "hash" / Int64ul,  # FNV-1a, 64 bit
)
set_tensor_hash_rsp = Struct("result" / Int8ul)  # 1 when the data came from the cache
get_tensor_req = Struct("tensor" / rpc_tensor, "offset" / Int64ul, "size" / Int64ul)
get_tensor_rsp = Struct("data" / GreedyBytes)
copy_tensor_req = Struct("src" / rpc_tensor, "dst" / rpc_tensor)
copy_tensor_rsp = Struct("result" / Int8ul)  # 1 when the server copied
memset_tensor_req = Struct(
    "tensor" / rpc_tensor, "offset" / Int64ul, "size" / Int64ul, "value" / Int8ul
)

graph_compute_req = Struct(
    "device" / since(V(3, 0), Int32ul),
    "n_nodes" / Int32ul,
    "nodes" / Array(this.n_nodes, Int64ul),  # ids in compute order
    "n_tensors" / Int32ul,
    "tensors" / Array(this.n_tensors, rpc_tensor),
)
graph_compute_rsp = Struct("result" / Int8ul)  # ggml_status cut to a byte
