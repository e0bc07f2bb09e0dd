"""The base of the graph builder: ids, new tensors, nodes and views.

Shapes and op_params only; no op arithmetic, no device, no socket. The ops are in build_ops.py,
build_images.py and build_rare.py, the graph itself in build.py.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Mapping, Sequence

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.types import TYPES, GgmlType
from ggmlrpc_core.graph.tensor import (
    MAX_DIMS,
    MAX_SRC,
    N_OP_PARAMS,
    NO_PARAMS,
    Tensor,
    contiguous_nb,
    nbytes_of,
)


def pack_params(params: Mapping[int, int | float]) -> tuple[int, ...]:
    """The 16 op_params slots of {slot: value}; a Python float is stored as the bits of an f32."""
    slots = [0] * N_OP_PARAMS
    for slot, value in params.items():
        if isinstance(value, float):
            slots[slot] = struct.unpack("<i", struct.pack("<f", value))[0]
        else:
            slots[slot] = int(value)
    return tuple(slots)


def need(ok: bool, op: str, what: str, got: object, *, expected: str) -> None:
    """Refuse arguments that ggml's own constructor refuses.

    Raises:
        LocalProtocolError: `ok` is false.
    """
    if not ok:
        raise LocalProtocolError(op, what, got, expected)


def padded_ne(ne: Sequence[int]) -> tuple[int, int, int, int]:
    """`ne` with ones up to four dimensions."""
    need(1 <= len(ne) <= MAX_DIMS, "tensor", "number of dimensions", len(ne), expected="1 to 4")
    full = [*(int(n) for n in ne), 1, 1, 1][:MAX_DIMS]
    return (full[0], full[1], full[2], full[3])


class BuilderBase:
    """Makes tensors with ids that are unique among all builders derived from one another.

    Args:
        parent: share its ids, so that tensors of both may meet in one graph (weights of one
            builder, a fresh builder per batch).
    """

    def __init__(self, parent: BuilderBase | None = None) -> None:
        self._ids: Iterator[int] = itertools.count(1) if parent is None else parent._ids

    def new_tensor(
        self, ggml_type: str | GgmlType, *ne: int, name: str = "", flags: int = 0
    ) -> Tensor:
        """A tensor without op: a weight, an input, a cache.

        Args:
            ggml_type: a GgmlType or its name.
            ne: 1 to 4 extents, ne[0] fastest; missing ones are 1.
            name: shown in errors and sent to a server.
            flags: FLAG_* bits.

        Raises:
            LocalProtocolError: an extent is negative, or ne[0] is not a whole number of blocks.
        """
        return self.node("NONE", ggml_type, ne, name=name, flags=flags)

    def node(
        self,
        op: str,
        ggml_type: str | GgmlType,
        ne: Sequence[int],
        *,
        src: Sequence[Tensor | None] = (),
        params: Mapping[int, int | float] | None = None,
        name: str = "",
        flags: int = 0,
        nb: tuple[int, int, int, int] | None = None,
    ) -> Tensor:
        """A node as given, with no rule of its op applied; contiguous unless `nb` is given.

        The other methods end here. Use it to build what they refuse.
        """
        kind = TYPES[ggml_type] if isinstance(ggml_type, str) else ggml_type
        full = padded_ne(ne)
        need(min(full) >= 0, op, "ne", list(full), expected="no negative extent")
        blocks = f"a multiple of {kind.blck_size}, the block size of {kind}"
        need(full[0] % kind.blck_size == 0, op, "ne[0]", full[0], expected=blocks)
        need(len(src) <= MAX_SRC, op, "number of sources", len(src), expected=f"at most {MAX_SRC}")
        sources = list(src)
        while sources and sources[-1] is None:
            sources.pop()
        return Tensor(
            id=next(self._ids),
            type=kind,
            ne=full,
            nb=nb or contiguous_nb(kind, full),
            op=op,
            op_params=pack_params(params) if params else NO_PARAMS,
            flags=flags,
            src=tuple(sources),
            name=name,
        )

    def view_of(
        self,
        a: Tensor,
        op: str = "NONE",
        *,
        ne: Sequence[int] | None = None,
        nb: tuple[int, int, int, int] | None = None,
        offset: int = 0,
        src: Sequence[Tensor | None] = (),
        params: Mapping[int, int | float] | None = None,
        name: str = "",
    ) -> Tensor:
        """A tensor in the memory of `a`, `offset` bytes in; ne and nb of `a` unless given.

        `view_src` is the root: views of views are flattened, as in ggml.

        Raises:
            LocalProtocolError: it does not lie inside the root.
        """
        full = a.ne if ne is None else padded_ne(ne)
        strides = nb or (a.nb if ne is None else contiguous_nb(a.type, full))
        result = self.node(op, a.type, full, src=src, params=params, name=name, nb=strides)
        root = a if a.view_src is None else a.view_src
        offs = offset + (a.view_offs if a.view_src is not None else 0)
        end = offs + nbytes_of(a.type, full, strides)
        need(
            offs >= 0 and end <= root.nbytes,
            op,
            "view",
            f"[{offs}, {end})",
            expected=f"inside [0, {root.nbytes}) of {root.name!r}",
        )
        result.view_src, result.view_offs = root, offs
        if root.buffer is not None:
            result.buffer, result.offset = root.buffer, root.offset + offs
        return result

    def like(
        self,
        a: Tensor,
        op: str,
        src: Sequence[Tensor | None],
        *,
        params: Mapping[int, int | float] | None = None,
        inplace: bool = False,
        ggml_type: GgmlType | str | None = None,
        name: str = "",
    ) -> Tensor:
        """A node of the extents of `a`: a contiguous result, or a view of `a` when `inplace`."""
        if inplace:
            return self.view_of(a, op, src=src, params=params, name=name)
        return self.node(op, ggml_type or a.type, a.ne, src=src, params=params, name=name)
