"""Answers of a server judged by what a recorded one answered: equal where they must be, possible where they may differ.

Handles, addresses and sizes of memory are the server's own; what a client builds on them is checked. Knows no socket.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.errors import clip
from ggmlrpc_core.recording.messages import Message
from ggmlrpc_core.recording.rewrite import handle_of
from ggmlrpc_core.recording.space import Rebinder
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import Dialect, WireCommand
from ggmlrpc_core.wire.handshake import stock_client_accepts
from ggmlrpc_core.wire.version import ProtocolVersion


class Replies:
    """Judges the fixed answers of one replay and learns the server's handles and addresses from them.

    Args:
        dialect: of the recording.
        rebinder: learns.
        alignment: that the recorded client was told.
    """

    def __init__(self, dialect: Dialect, rebinder: Rebinder, *, alignment: int) -> None:
        self._dialect, self._rebinder, self._alignment = dialect, rebinder, alignment

    def fault(self, wire: WireCommand, message: Message, reply: bytes) -> str:
        """What is wrong with an answer, "" when a client could go on with it.

        Args:
            wire: the command.
            message: as recorded, with its answer.
            reply: of this server.
        """
        assert wire.reply is not None and message.reply is not None
        if len(message.reply) != wire.reply.size:
            equal = reply == message.reply
            return (
                ""
                if equal
                else f"reply is {clip(reply.hex())}, expected {clip(message.reply.hex())}"
            )
        if len(reply) != wire.reply.size:
            return f"reply_size is {len(reply)} bytes, expected {wire.reply.size}"
        got, recorded = wire.reply.unpack(reply), wire.reply.unpack(message.reply)
        judge = getattr(self, f"_{wire.name.lower()}", None)
        if judge is not None:
            return str(judge(wire, message, got, recorded))
        return "" if got == recorded else f"reply is {got}, expected {recorded}"

    def _hello(self, wire: Any, message: Message, got: Any, recorded: Any) -> str:
        theirs = ProtocolVersion(got["major"], got["minor"], got["patch"])
        ours = self._dialect.version
        if stock_client_accepts(ours, theirs):
            return ""
        return f"server version is {theirs}, expected {ours.major}.0 to {ours.major}.{ours.minor}"

    def _alloc_buffer(self, wire: WireCommand, message: Message, got: Any, recorded: Any) -> str:
        if not recorded["remote_ptr"]:
            return "" if not got["remote_ptr"] else "a buffer was given, expected none as recorded"
        if not got["remote_ptr"]:
            return "remote_ptr is 0, expected a buffer"
        size = codec.decode_head(self._dialect, wire, message.payload)["size"]
        self._rebinder.bind_handle(recorded["remote_ptr"], got["remote_ptr"])
        if got["remote_size"] < size:
            return f"remote_size is {got['remote_size']}, expected at least {size}"
        return ""

    def _buffer_get_base(self, wire: WireCommand, message: Message, got: Any, recorded: Any) -> str:
        if not recorded["base_ptr"]:
            return ""
        if not got["base_ptr"]:
            return "base_ptr is 0, expected an address"
        handle = handle_of(wire, message.payload)
        if self._rebinder.space.has(handle):
            self._rebinder.bind_base(handle, got["base_ptr"])
        return ""

    def _get_alignment(self, wire: Any, message: Any, got: Any, recorded: Any) -> str:
        alignment = got["alignment"]
        if alignment and self._alignment % alignment == 0:
            return ""
        return f"alignment is {alignment}, expected one that divides {self._alignment}"

    def _get_max_size(self, wire: Any, message: Any, got: Any, recorded: Any) -> str:
        return "" if got["max_size"] else "max_size is 0, expected more"

    def _get_device_memory(self, wire: Any, message: Any, got: Any, recorded: Any) -> str:
        free, total = got["free_mem"], got["total_mem"]
        return "" if free <= total else f"free_mem is {free}, expected at most total_mem, {total}"

    def _get_alloc_size(self, wire: Any, message: Any, got: Any, recorded: Any) -> str:
        room, wanted = recorded["alloc_size"], got["alloc_size"]
        if wanted <= room:
            return ""
        return f"alloc_size is {wanted}, expected at most {room}, what the recorded client left room for"

    def _device_count(self, wire: Any, message: Any, got: Any, recorded: Any) -> str:
        if got["device_count"] >= recorded["device_count"]:
            return ""
        return (
            f"device_count is {got['device_count']}, expected at least {recorded['device_count']}"
        )

    def _set_tensor_hash(self, wire: Any, message: Any, got: Any, recorded: Any) -> str:
        return "" if got["result"] in (0, 1) else f"result is {got['result']}, expected 0 or 1"

    def _copy_tensor(self, wire: Any, message: Any, got: Any, recorded: Any) -> str:
        return self._set_tensor_hash(wire, message, got, recorded)
