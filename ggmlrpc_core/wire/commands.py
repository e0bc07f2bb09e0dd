"""The command table: number, request, reply and its history, in one place.

`NO_REPLY` (nothing is sent) and `EMPTY` (a reply of length 0) are different things.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import construct

from ggmlrpc_core.wire import schema as s
from ggmlrpc_core.wire.version import ERA_A, ERA_D, ERA_E, ByVersion, ProtocolVersion, V

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


def _number(values: dict[ProtocolVersion, int]) -> ByVersion[int]:
    return ByVersion(values)


_EMPTY_UNTIL_6 = ByVersion[construct.Struct | None]({ERA_A: s.EMPTY, V(6, 0): NO_REPLY})

# Sources of the boundaries: llama.cpp#12943 (2.0, SET_TENSOR), #16276 (3.0, devices), #17405-era 3.5
# (GRAPH_COMPUTE unanswered), #18626 (6.0, four answers dropped); numbers: docs/reference/protocol.
COMMANDS: MappingProxyType[str, Command] = MappingProxyType(
    {
        command.name: command
        for command in (
            Command("ALLOC_BUFFER", _number({ERA_A: 0}), s.alloc_buffer_req, _always(s.alloc_buffer_rsp)),
            Command("GET_ALIGNMENT", _number({ERA_A: 1}), s.device_req, _always(s.get_alignment_rsp)),
            Command("GET_MAX_SIZE", _number({ERA_A: 2}), s.device_req, _always(s.get_max_size_rsp)),
            Command("BUFFER_GET_BASE", _number({ERA_A: 3}), s.buffer_req, _always(s.buffer_get_base_rsp)),
            Command("FREE_BUFFER", _number({ERA_A: 4}), s.buffer_req, _EMPTY_UNTIL_6),
            Command("BUFFER_CLEAR", _number({ERA_A: 5}), s.buffer_clear_req, _EMPTY_UNTIL_6),
            Command("SET_TENSOR", _number({ERA_A: 6}), s.set_tensor_req, ByVersion({ERA_A: s.EMPTY, V(2, 0): NO_REPLY})),
            Command("SET_TENSOR_HASH", _number({ERA_E: 7}), s.set_tensor_hash_req, _always(s.set_tensor_hash_rsp)),
            Command("GET_TENSOR", _number({ERA_A: 7, ERA_E: 8}), s.get_tensor_req, _always(s.get_tensor_rsp)),
            Command("COPY_TENSOR", _number({ERA_A: 8, ERA_E: 9}), s.copy_tensor_req, _always(s.copy_tensor_rsp)),
            Command("GRAPH_COMPUTE", _number({ERA_A: 9, ERA_E: 10}), s.graph_compute_req, ByVersion({ERA_A: s.graph_compute_rsp, V(3, 5): NO_REPLY})),
            Command("GET_DEVICE_MEMORY", _number({ERA_A: 10, ERA_E: 11}), s.device_req, _always(s.get_device_memory_rsp)),
            Command("INIT_TENSOR", _number({ERA_D: 11, ERA_E: 12}), s.init_tensor_req, _EMPTY_UNTIL_6),
            Command("GET_ALLOC_SIZE", _number({ERA_D: 12, ERA_E: 13}), s.get_alloc_size_req, _always(s.get_alloc_size_rsp)),
            Command("HELLO", _number({V(1, 0): 14}), s.hello_req, _always(s.hello_rsp)),
            Command("DEVICE_COUNT", _number({V(3, 0): 15}), s.EMPTY, _always(s.device_count_rsp)),
            Command("GRAPH_RECOMPUTE", _number({V(3, 5): 16}), s.device_req, _always(NO_REPLY)),
            Command("MEMSET_TENSOR", _number({V(5, 0): 17}), s.memset_tensor_req, ByVersion({ERA_A: s.EMPTY, V(6, 0): NO_REPLY})),
        )
    }
)  # fmt: skip
"""Every command that was ever shipped upstream, in order of its newest number."""
