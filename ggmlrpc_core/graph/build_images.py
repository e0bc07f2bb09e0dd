"""Images as methods of the graph builder: convolutions, pooling, scaling, windows.

Names, argument order and result shapes are ggml's; extents are written ne[0] first.
"""

from __future__ import annotations

from ggmlrpc_core.ggml.types import GgmlType
from ggmlrpc_core.graph.build_base import BuilderBase, need
from ggmlrpc_core.graph.tensor import Tensor

Triple = tuple[int, int, int]


def conv_extent(size: int, kernel: int, *, stride: int, pad: int, dilation: int) -> int:
    """Output extent of a convolution: (size + 2 pad - dilation (kernel - 1) - 1) / stride + 1."""
    return (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1


def pool_extent(size: int, kernel: int, *, stride: int, pad: float) -> int:
    """Output extent of a pooling; a fractional padding counts here though the wire cuts it."""
    return int((size + 2 * pad - kernel) / stride + 1)


def _volume(
    kernel: Tensor, data: Tensor, stride: Triple, pad: Triple, dilation: Triple
) -> tuple[int, int, int]:
    """Output extents of dimensions 0 to 2."""
    o = [
        conv_extent(data.ne[d], kernel.ne[d], stride=stride[d], pad=pad[d], dilation=dilation[d])
        for d in range(3)
    ]
    return o[0], o[1], o[2]


class ImageOps(BuilderBase):
    """Convolutions, pooling, scaling, windows."""

    def pad_reflect_1d(self, a: Tensor, left: int, right: int) -> Tensor:
        """PAD_REFLECT_1D along dimension 0."""
        ne = (a.ne[0] + left + right, *a.ne[1:])
        return self.node("PAD_REFLECT_1D", a.type, ne, src=[a], params={0: left, 1: right})

    def upscale(self, a: Tensor, *ne: int, mode: int = 0) -> Tensor:
        """UPSCALE to extents `ne`.

        mode: 0 nearest, 1 bilinear, 2 bicubic; + 256 align corners, + 512 antialias.
        """
        return self.node("UPSCALE", a.type, ne, src=[a], params={0: mode})

    def im2col(
        self,
        kernel: Tensor,
        data: Tensor,
        *,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        is_2d: bool = True,
        ggml_type: str | GgmlType = "F16",
    ) -> Tensor:
        """IM2COL: columns of `data` for `kernel`, whose values do not matter."""
        params = dict(enumerate((*stride, *pad, *dilation, int(is_2d))))
        o0 = conv_extent(
            data.ne[0], kernel.ne[0], stride=stride[0], pad=pad[0], dilation=dilation[0]
        )
        if is_2d:
            o1 = conv_extent(
                data.ne[1], kernel.ne[1], stride=stride[1], pad=pad[1], dilation=dilation[1]
            )
            ne = (kernel.ne[0] * kernel.ne[1] * kernel.ne[2], o0, o1, data.ne[3])
        else:
            ne = (kernel.ne[0] * kernel.ne[1], o0, data.ne[2], 1)
        return self.node("IM2COL", ggml_type, ne, src=[kernel, data], params=params)

    def conv_2d(
        self,
        kernel: Tensor,
        data: Tensor,
        *,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        depthwise: bool = False,
    ) -> Tensor:
        """CONV_2D (ggml_conv_2d_direct), or CONV_2D_DW with one filter per channel.

        kernel [KW, KH, IC, OC] ([KW, KH, 1, C] depthwise), data [W, H, IC, N]: [OW, OH, OC, N].
        Depthwise over data whose channels are contiguous, the result's channels are contiguous too.
        """
        out = [
            conv_extent(
                data.ne[d], kernel.ne[d], stride=stride[d], pad=pad[d], dilation=dilation[d]
            )
            for d in (0, 1)
        ]
        ne = (*out, data.ne[2] if depthwise else kernel.ne[3], data.ne[3])
        op = "CONV_2D_DW" if depthwise else "CONV_2D"
        filters, slot = (kernel.ne[3], 3) if depthwise else (kernel.ne[2], 2)
        need(filters == data.ne[2], op, f"kernel.ne[{slot}]", filters, expected=str(data.ne[2]))
        nb = None
        size = data.type.type_size
        if depthwise and data.nb[2] == size and data.nb[0] > data.nb[2] and data.nb[1] > data.nb[0]:
            nb = (ne[2] * size, ne[0] * ne[2] * size, size, ne[0] * ne[1] * ne[2] * size)
        params = dict(enumerate((*stride, *pad, *dilation)))
        return self.node(op, data.type, ne, src=[kernel, data], params=params, nb=nb)

    def conv_transpose_1d(self, kernel: Tensor, data: Tensor, *, stride: int) -> Tensor:
        """CONV_TRANSPOSE_1D: kernel [K, OC, IC], data [L, IC]; F32 [(L - 1) stride + K, OC]."""
        ne = ((data.ne[0] - 1) * stride + kernel.ne[0], kernel.ne[1])
        params = {0: stride, 1: 0, 2: 1}
        return self.node("CONV_TRANSPOSE_1D", "F32", ne, src=[kernel, data], params=params)

    def conv_transpose_2d(self, kernel: Tensor, data: Tensor, *, stride: int) -> Tensor:
        """CONV_TRANSPOSE_2D: kernel [KW, KH, OC, IC], data [W, H, IC, N]."""
        out = [(data.ne[d] - 1) * stride + kernel.ne[d] for d in (0, 1)]
        ne = (*out, kernel.ne[2], data.ne[3])
        return self.node("CONV_TRANSPOSE_2D", "F32", ne, src=[kernel, data], params={0: stride})

    def col2im_1d(self, a: Tensor, *, stride: int, channels: int, crop: int = 0) -> Tensor:
        """COL2IM_1D of columns [K * OC, T]: [(T - 1) stride + K - 2 crop, OC]."""
        kernel = a.ne[0] // channels
        ne = ((a.ne[1] - 1) * stride + kernel - 2 * crop, channels)
        params = {0: stride, 1: channels, 2: crop}
        return self.node("COL2IM_1D", a.type, ne, src=[a], params=params)

    def pool_1d(self, a: Tensor, kind: int, *, k: int, stride: int, pad: int) -> Tensor:
        """POOL_1D along dimension 0: kind 0 maximum, 1 average."""
        ne = (pool_extent(a.ne[0], k, stride=stride, pad=pad), *a.ne[1:])
        return self.node("POOL_1D", "F32", ne, src=[a], params={0: kind, 1: k, 2: stride, 3: pad})

    def pool_2d(
        self,
        a: Tensor,
        kind: int,
        *,
        k: tuple[int, int],
        stride: tuple[int, int],
        pad: tuple[float, float] = (0, 0),
    ) -> Tensor:
        """POOL_2D over dimensions 0 and 1: kind 0 maximum, 1 average."""
        out = [pool_extent(a.ne[d], k[d], stride=stride[d], pad=pad[d]) for d in (0, 1)]
        params = dict(enumerate((kind, *k, *stride, int(pad[0]), int(pad[1]))))
        return self.node("POOL_2D", "F32", (*out, *a.ne[2:]), src=[a], params=params)

    def im2col_back(
        self,
        grad: Tensor,
        kernel: Tensor,
        *ne: int,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        is_2d: bool = True,
    ) -> Tensor:
        """IM2COL_BACK: the gradient of columns back to an image of extents `ne`."""
        params = dict(enumerate((*stride, *pad, *dilation, int(is_2d))))
        return self.node("IM2COL_BACK", "F32", ne, src=[grad, kernel], params=params)

    def im2col_3d(
        self,
        kernel: Tensor,
        data: Tensor,
        channels: int,
        *,
        stride: Triple = (1, 1, 1),
        pad: Triple = (0, 0, 0),
        dilation: Triple = (1, 1, 1),
        ggml_type: str | GgmlType = "F16",
    ) -> Tensor:
        """IM2COL_3D: kernel [KW, KH, KD, OC * IC], data [W, H, D, N * IC]."""
        o0, o1, o2 = _volume(kernel, data, stride, pad, dilation)
        columns = kernel.ne[0] * kernel.ne[1] * kernel.ne[2] * channels
        ne = (columns, o0, o1, o2 * (data.ne[3] // channels))
        params = dict(enumerate((*stride, *pad, *dilation, channels)))
        return self.node("IM2COL_3D", ggml_type, ne, src=[kernel, data], params=params)

    def conv_3d(
        self,
        kernel: Tensor,
        data: Tensor,
        channels: int,
        *,
        stride: Triple = (1, 1, 1),
        pad: Triple = (0, 0, 0),
        dilation: Triple = (1, 1, 1),
    ) -> Tensor:
        """CONV_3D (ggml_conv_3d_direct): kernel [KW, KH, KD, IC * OC], data [W, H, D, IC * N]."""
        for slot, t in enumerate((kernel, data)):
            rule = f"a multiple of {channels}"
            need(t.ne[3] % channels == 0, "CONV_3D", f"src[{slot}].ne[3]", t.ne[3], expected=rule)
        n, oc = data.ne[3] // channels, kernel.ne[3] // channels
        ne = (*_volume(kernel, data, stride, pad, dilation), oc * n)
        params = dict(enumerate((*stride, *pad, *dilation, channels, n, oc)))
        return self.node("CONV_3D", "F32", ne, src=[kernel, data], params=params)

    def pool_2d_back(
        self,
        grad: Tensor,
        forward: Tensor,
        kind: int,
        *,
        k: tuple[int, int],
        stride: tuple[int, int],
        pad: tuple[float, float] = (0, 0),
    ) -> Tensor:
        """POOL_2D_BACK: the gradient back to the extents of the forward input."""
        params = dict(enumerate((kind, *k, *stride, int(pad[0]), int(pad[1]))))
        return self.node("POOL_2D_BACK", "F32", forward.ne, src=[grad, forward], params=params)

    def win_part(self, a: Tensor, window: int) -> Tensor:
        """WIN_PART of [c, w, h]: [c, window, window, parts]."""
        npx, npy = -(-a.ne[1] // window), -(-a.ne[2] // window)
        params = {0: npx, 1: npy, 2: window}
        return self.node(
            "WIN_PART", "F32", (a.ne[0], window, window, npx * npy), src=[a], params=params
        )

    def win_unpart(self, a: Tensor, w0: int, h0: int, window: int) -> Tensor:
        """WIN_UNPART: back to [c, w0, h0]."""
        return self.node("WIN_UNPART", "F32", (a.ne[0], w0, h0), src=[a], params={0: window})

    def get_rel_pos(self, a: Tensor, qh: int, kh: int) -> Tensor:
        """GET_REL_POS: F16 [c, kh, qh]."""
        need(2 * max(qh, kh) - 1 == a.ne[1], "GET_REL_POS", "ne[1]", a.ne[1], expected="2 n - 1")
        return self.node("GET_REL_POS", "F16", (a.ne[0], kh, qh), src=[a])

    def add_rel_pos(self, a: Tensor, pw: Tensor, ph: Tensor, *, inplace: bool = False) -> Tensor:
        """ADD_REL_POS: decomposed relative position bias."""
        op = "ADD_REL_POS"
        need(pw.ne == ph.ne, op, "ph.ne", list(ph.ne), expected=str(list(pw.ne)))
        area = (pw.ne[0] * pw.ne[0], pw.ne[1] * pw.ne[2], pw.ne[3])
        need(
            area == a.ne[:3], op, "extents covered by pw", list(area), expected=str(list(a.ne[:3]))
        )
        params = {0: int(inplace)}
        return self.like(a, "ADD_REL_POS", [a, pw, ph], params=params, inplace=inplace)
