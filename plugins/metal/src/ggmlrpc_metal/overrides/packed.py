"""MUL_MAT and MUL_MAT_ID by MLX's own quantized product, for types whose blocks are nearly what it takes.

MLX wants the codes of a row without scales between them, and neighbouring elements in one byte. A block has its scales
first, and byte j of a group of codes holds elements j and j + half a group. So the codes are copied without the scales
while a graph runs, and never kept; and the columns of x are put in the order of the bytes instead of the codes.

| type | MLX | scale, bias |
|---|---|---|
| Q4_0, Q4_1 | affine, 4 bits, groups of 32 | d, -8 d; d, m |
| MXFP4 | mxfp4 | the code of the block |
| NVFP4 | nvfp4 | the code of the block, 0x7f as 0 |

Decoded values are the same bits as the type's own decoding, but for scale codes that no quantizer writes: 255 of
MXFP4 and 0xff of NVFP4 are NaN to MLX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import floats, present
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import core
from ggmlrpc_metal.overrides.mul_mat_id import FEW_PAIRS, n_pairs, x_rows

Split = Callable[[Any, Any], tuple[Any, list[Any]]]


@dataclass(frozen=True, slots=True)
class Packing:
    """How the blocks of a type become what mx.quantized_matmul takes.

    Attributes:
        split: from (mx, blocks [..., n, items of a block]) to (codes [..., n, any], scales and, where there are any,
            biases, [..., groups] each).
        shared: elements whose codes share bytes: byte j holds elements j and j + shared / 2. They share a scale too.
        mode: of MLX.
    """

    split: Split
    shared: int
    mode: str = "affine"

    def pack(self, mx: Any, rows: Any, *, type_size: int) -> tuple[Any, ...]:
        """(words of codes, scales, and biases where there are any) of rows of blocks, uint8 [..., bytes]."""
        # Blocks of even size are copied in items of two bytes, which takes half the time.
        item = mx.uint8 if type_size % 2 else mx.uint16
        rest = rows.shape[:-1]
        codes, scales = self.split(mx, rows.view(item).reshape(*rest, -1, type_size // item.size))
        return mx.contiguous(codes).reshape(*rest, -1).view(mx.uint32), *scales

    def order(self, x: Any) -> Any:
        """The columns of x in the order of the codes."""
        k = x.shape[-1]
        parts = x.reshape(*x.shape[:-1], k // self.shared, 2, self.shared // 2)
        return parts.swapaxes(-1, -2).reshape(x.shape)

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of MLX's products."""
        return {"transpose": True, "group_size": self.shared, "bits": 4, "mode": self.mode}


def _half(mx: Any, blocks: Any, at: int) -> Any:
    """The float16 at an item of every block, as f32."""
    return mx.contiguous(blocks[..., at]).view(mx.float16).astype(mx.float32)


def _q4_0(mx: Any, blocks: Any) -> tuple[Any, list[Any]]:
    d = _half(mx, blocks, 0)
    return blocks[..., 1:], [d, d * -8.0]


def _q4_1(mx: Any, blocks: Any) -> tuple[Any, list[Any]]:
    return blocks[..., 2:], [_half(mx, blocks, 0), _half(mx, blocks, 1)]


def _mxfp4(mx: Any, blocks: Any) -> tuple[Any, list[Any]]:
    return blocks[..., 1:], [mx.contiguous(blocks[..., 0])]


def _nvfp4(mx: Any, blocks: Any) -> tuple[Any, list[Any]]:
    codes = mx.contiguous(blocks[..., :2])
    codes = codes.reshape(*blocks.shape[:-2], -1).view(mx.uint8)
    return blocks[..., 2:], [mx.where(codes == 0x7F, 0, codes & 0x7F).astype(mx.uint8)]


def packings() -> dict[str, Packing]:
    """By type name."""
    return {
        "Q4_0": Packing(_q4_0, 32),
        "Q4_1": Packing(_q4_1, 32),
        "MXFP4": Packing(_mxfp4, 32, "mxfp4"),
        "NVFP4": Packing(_nvfp4, 16, "nvfp4"),
    }


def _packable(node: Tensor) -> bool:
    a = present(node.src[0])
    return a.type.name in packings() and a.nb[0] == a.type.type_size


def _one_matrix(node: Tensor) -> bool:
    a = present(node.src[0])
    return _packable(node) and a.ne[2] == a.ne[3] == 1


def _mul_mat(node: Tensor, a: Any, b: Any, **_: int) -> Any:
    mx = core()
    kind = present(node.src[0]).type
    packing = packings()[kind.name]
    x = floats(mx, b, node.src[1])
    x = packing.order(x.reshape(-1, x.shape[-1]))
    packed = packing.pack(mx, a[0, 0], type_size=kind.type_size)
    return mx.quantized_matmul(x, *packed, **packing.options).reshape(node.shape)


def _many_pairs(node: Tensor) -> bool:
    return _packable(node) and n_pairs(node) > FEW_PAIRS


def _mul_mat_id(node: Tensor, experts: Any, b: Any, ids: Any, **_: int) -> Any:
    mx = core()
    kind = present(node.src[0]).type
    packing = packings()[kind.name]
    x = floats(mx, b, node.src[1])
    x = packing.order(x.reshape(-1, 1, x.shape[-1]))[mx.array(x_rows(node))]
    words, *scales = packing.pack(mx, experts[0], type_size=kind.type_size)
    found = mx.gather_qmm(x, words, *scales, rhs_indices=ids.reshape(-1), **packing.options)
    return found.reshape(node.shape)


MUL_MAT = Override("MUL_MAT", _one_matrix, _mul_mat)
MUL_MAT_ID = Override("MUL_MAT_ID", _many_pairs, _mul_mat_id)
