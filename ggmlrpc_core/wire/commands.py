"""The command table: number, request, reply and its history, in one place.

`NO_REPLY` (nothing is sent) and `EMPTY` (a reply of length 0) are different things.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import construct

from ggmlrpc_core.wire import schema as s
from ggmlrpc_core.wire.version import ERA_A, ERA_D, ERA_E, ByVersion, V

NO_REPLY = None
HELLO = "HELLO"


@dataclass(frozen=True, slots=True)
class Command:
    """One rpc_cmd over all versions.

    Attributes:
        name: without prefix.
        number: the command byte by version; absent before the first entry.
        request: schema of the payload.
        reply: schema by version; NO_REPLY where nothing is sent.
    """

    name: str
    number: ByVersion[int]
    request: construct.Struct
    reply: ByVersion[construct.Struct | None]


def _always(value: construct.Struct | None) -> ByVersion[construct.Struct | None]:
    return ByVersion({ERA_A: value})


def _at(**numbers: int) -> ByVersion[int]:
    """Command numbers by era: A is the first, D and E inserted one command each, vM_N are versions."""
    eras = {"A": ERA_A, "D": ERA_D, "E": ERA_E}
    return ByVersion(
        {
            eras.get(k) or V(*(int(part) for part in k[1:].split("_"))): number
            for k, number in numbers.items()
        }
    )


# Where answers were dropped: llama.cpp#12943 (2.0, SET_TENSOR), 3.5 (GRAPH_COMPUTE), #18626 (6.0, four empty ones).
_UPLOAD_REPLY = ByVersion[construct.Struct | None]({ERA_A: s.EMPTY, V(2, 0): NO_REPLY})
_GRAPH_REPLY = ByVersion[construct.Struct | None]({ERA_A: s.graph_compute_rsp, V(3, 5): NO_REPLY})
_EMPTY_UNTIL_6 = ByVersion[construct.Struct | None]({ERA_A: s.EMPTY, V(6, 0): NO_REPLY})

COMMANDS: MappingProxyType[str, Command] = MappingProxyType(
    {
        command.name: command
        for command in (
            Command("ALLOC_BUFFER", _at(A=0), s.alloc_buffer_req, _always(s.alloc_buffer_rsp)),
            Command("GET_ALIGNMENT", _at(A=1), s.device_req, _always(s.get_alignment_rsp)),
            Command("GET_MAX_SIZE", _at(A=2), s.device_req, _always(s.get_max_size_rsp)),
            Command("BUFFER_GET_BASE", _at(A=3), s.buffer_req, _always(s.buffer_get_base_rsp)),
            Command("FREE_BUFFER", _at(A=4), s.buffer_req, _EMPTY_UNTIL_6),
            Command("BUFFER_CLEAR", _at(A=5), s.buffer_clear_req, _EMPTY_UNTIL_6),
            Command("SET_TENSOR", _at(A=6), s.set_tensor_req, _UPLOAD_REPLY),
            Command("SET_TENSOR_HASH", _at(E=7), s.set_tensor_hash_req, _always(s.set_tensor_hash_rsp)),
            Command("GET_TENSOR", _at(A=7, E=8), s.get_tensor_req, _always(s.get_tensor_rsp)),
            Command("COPY_TENSOR", _at(A=8, E=9), s.copy_tensor_req, _always(s.copy_tensor_rsp)),
            Command("GRAPH_COMPUTE", _at(A=9, E=10), s.graph_compute_req, _GRAPH_REPLY),
            Command("GET_DEVICE_MEMORY", _at(A=10, E=11), s.device_req, _always(s.get_device_memory_rsp)),
            Command("INIT_TENSOR", _at(D=11, E=12), s.init_tensor_req, _EMPTY_UNTIL_6),
            Command("GET_ALLOC_SIZE", _at(D=12, E=13), s.get_alloc_size_req, _always(s.get_alloc_size_rsp)),
            Command("HELLO", _at(v1_0=14), s.hello_req, _always(s.hello_rsp)),
            Command("DEVICE_COUNT", _at(v3_0=15), s.EMPTY, _always(s.device_count_rsp)),
            Command("GRAPH_RECOMPUTE", _at(v3_5=16), s.device_req, _always(NO_REPLY)),
            Command("MEMSET_TENSOR", _at(v5_0=17), s.memset_tensor_req, _EMPTY_UNTIL_6),
        )
    }
)  # fmt: skip
"""Every command that was ever shipped upstream, in order of its newest number."""
