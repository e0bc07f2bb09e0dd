"""MUL_MAT by MLX's own quantized product, for types whose blocks are nearly what it takes.

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

Split = Callable[[Any, Any], tuple[Any, list[Any]]]


@dataclass(frozen=True, slots=True)
class Packing:
    """How the blocks of a type become what mx.quantized_matmul takes.

    Attributes:
        split: from (mx, blocks [m, n, items of a block]) to (codes [m, n, any], scales and, where there are any,
            biases, [m, groups] each).
        shared: elements whose codes share bytes: byte j holds elements j and j + shared / 2. They share a scale too.
        mode: of MLX.
    """

    split: Split
    shared: int
    mode: str = "affine"

    def product(self, mx: Any, rows: Any, x: Any, *, type_size: int) -> Any:
        """x f32 [columns, k] times rows of blocks, uint8 [m, bytes]: f32 [columns, m]."""
        # Blocks of even size are copied in items of two bytes, which takes half the time.
        item = mx.uint8 if type_size % 2 else mx.uint16
        blocks = rows.view(item).reshape(rows.shape[0], -1, type_size // item.size)
        codes, scales = self.split(mx, blocks)
        words = mx.contiguous(codes).reshape(rows.shape[0], -1).view(mx.uint32)
        columns, k = x.shape
        x = x.reshape(columns, k // self.shared, 2, -1).swapaxes(2, 3).reshape(columns, k)
        return mx.quantized_matmul(
            x,
            words,
            *scales,
            transpose=True,
            group_size=self.shared,
            bits=4,
            mode=self.mode,
        )


def _half(mx: Any, blocks: Any, at: int) -> Any:
    """The float16 at an item of every block: f32 [m, n]."""
    return mx.contiguous(blocks[:, :, at]).view(mx.float16).astype(mx.float32)


def _q4_0(mx: Any, blocks: Any) -> tuple[Any, list[Any]]:
    d = _half(mx, blocks, 0)
    return blocks[:, :, 1:], [d, d * -8.0]


def _q4_1(mx: Any, blocks: Any) -> tuple[Any, list[Any]]:
    return blocks[:, :, 2:], [_half(mx, blocks, 0), _half(mx, blocks, 1)]


def _mxfp4(mx: Any, blocks: Any) -> tuple[Any, list[Any]]:
    return blocks[:, :, 1:], [mx.contiguous(blocks[:, :, 0])]


def _nvfp4(mx: Any, blocks: Any) -> tuple[Any, list[Any]]:
    m, n, _ = blocks.shape
    codes = mx.contiguous(blocks[:, :, :2]).reshape(m, 2 * n).view(mx.uint8)
    codes = mx.where(codes == 0x7F, 0, codes & 0x7F).astype(mx.uint8)
    return blocks[:, :, 2:], [codes]


def packings() -> dict[str, Packing]:
    """By type name."""
    return {
        "Q4_0": Packing(_q4_0, 32),
        "Q4_1": Packing(_q4_1, 32),
        "MXFP4": Packing(_mxfp4, 32, "mxfp4"),
        "NVFP4": Packing(_nvfp4, 16, "nvfp4"),
    }


def _one_matrix(node: Tensor) -> bool:
    a = present(node.src[0])
    return a.type.name in packings() and a.ne[2] == a.ne[3] == 1 and a.nb[0] == a.type.type_size


def _packed(node: Tensor, a: Any, b: Any, **_: int) -> Any:
    mx = core()
    kind = present(node.src[0]).type
    x = floats(mx, b, node.src[1])
    columns = x.reshape(-1, x.shape[-1])
    found = packings()[kind.name].product(mx, a[0, 0], columns, type_size=kind.type_size)
    return found.reshape(node.shape)


PACKED = Override("MUL_MAT", _one_matrix, _packed)
