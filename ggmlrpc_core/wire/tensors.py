"""Tensors on the wire: one as a record, many as a structured array.

A TensorRecord holds canonical numbers; `from_wire` and `to_wire` translate from and to a dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ggmlrpc_core.ggml.types import TYPES, GgmlType
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.layout import dtype_of
from ggmlrpc_core.wire.translate import UNKNOWN, translation

TYPE_BY_ID: dict[int, GgmlType] = {t.id: t for t in TYPES.values()}

NO_SRC = (0,) * 10
NO_PARAMS = (0,) * 16


class TensorRecord(NamedTuple):
    """One rpc_tensor with canonical numbers (UNKNOWN where the newest state has none).

    Fields are those of the wire: `type` and `op` are numbers of ggml.numbering.NEWEST, `name` is bytes cut at the
    first zero, `wire_type` what the peer sent, for error messages: a name where its dialect has one, else the number.
    """

    id: int
    type: int
    ne: tuple[int, int, int, int]
    nb: tuple[int, int, int, int]
    buffer: int = 0
    op: int = 0
    op_params: tuple[int, ...] = NO_PARAMS
    flags: int = 0
    src: tuple[int, ...] = NO_SRC
    view_src: int = 0
    view_offs: int = 0
    data: int = 0
    name: bytes = b""
    use_count: int = 0
    wire_type: int | str = -1

    @property
    def ggml_type(self) -> GgmlType | None:
        """The type, None when it is not a live one."""
        return TYPE_BY_ID.get(self.type)

    @property
    def text_name(self) -> str:
        """The name for people; bytes that are not UTF-8 are replaced."""
        return decode_name(self.name)


def decode_name(name: bytes) -> str:
    """The text of a name field: cut at the first zero byte, undecodable bytes replaced."""
    return name.partition(b"\0")[0].decode("utf-8", errors="replace")


def tensor_dtype(dialect: Dialect) -> np.dtype:
    """The structured dtype of one rpc_tensor of a dialect."""
    return dtype_of(dialect.tensor.fields)


def from_wire(dialect: Dialect, fields: Mapping[str, Any]) -> TensorRecord:
    """Make a record of the unpacked fields of one rpc_tensor."""
    wire_type = fields["type"]
    tables = translation(dialect)
    ggml_type, op, op_params = tables.one(wire_type, fields["op"], fields["op_params"])
    if ggml_type == UNKNOWN:
        wire_type = tables.type_name(wire_type)
    return TensorRecord(
        id=fields["id"],
        type=ggml_type,
        ne=fields["ne"],
        nb=fields["nb"],
        buffer=fields["buffer"],
        op=op,
        op_params=op_params,
        flags=fields["flags"],
        src=fields["src"],
        view_src=fields["view_src"],
        view_offs=fields["view_offs"],
        data=fields["data"],
        name=fields["name"].partition(b"\0")[0],
        use_count=fields.get("use_count", 0),
        wire_type=wire_type,
    )


def to_wire(dialect: Dialect, records: list[TensorRecord]) -> np.ndarray:
    """A structured array of the dialect's rpc_tensor, ready for tobytes().

    Raises:
        KeyError: the dialect lacks an op, function or type that is used.
        OverflowError: an extent or stride does not fit in 32 bits.
    """
    dtype = tensor_dtype(dialect)
    array = np.zeros(len(records), dtype)
    if records:
        pad = dialect.max_src - len(NO_SRC)
        for name in (
            "id",
            "type",
            "buffer",
            "ne",
            "nb",
            "op",
            "op_params",
            "flags",
            "view_src",
            "view_offs",
            "data",
        ):
            array[name] = [getattr(r, name) for r in records]
        array["src"] = [r.src + (0,) * pad if pad > 0 else r.src for r in records]
        array["name"] = [r.name[: dialect.max_name - 1] for r in records]
        if "use_count" in (dtype.names or ()):
            array["use_count"] = [r.use_count for r in records]
        translation(dialect).to_dialect(array)
    return array
