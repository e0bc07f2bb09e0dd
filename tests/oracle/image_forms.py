"""A random node of each op of images; see forms.py."""

from __future__ import annotations

from collections.abc import Callable

from oracle.shapes import Draw, Form, Source, extents

from ggmlrpc_core.ops.declare import FLOATS

Drawn = Callable[[Draw], Form]


def _slide(d: Draw, size: int, k: int) -> tuple[int, int, int, int]:
    """Stride, padding, dilation and places of a window; at least one place."""
    s, p, dil = d.int(1, 3), d.int(0, 3), d.int(1, 2)
    while (n := (size + 2 * p - dil * (k - 1) - 1) // s + 1) < 1:
        p += 1
    return s, p, dil, n


def _windows(d: Draw, sizes: list[int], taps: list[int]) -> tuple[list[int], list[int]]:
    """op_params (strides, paddings, dilations) and places."""
    drawn = [_slide(d, n, k) for n, k in zip(sizes, taps)]
    s, p, dil, out = (list(column) for column in zip(*drawn))
    return [*s, *p, *dil], out


def image(name: str) -> Drawn:
    """CONV_2D, CONV_2D_DW, IM2COL and IM2COL_BACK."""

    def form(d: Draw) -> Form:
        taps, sizes = [d.int(1, 3), d.int(1, 3)], [d.int(1, 6), d.int(1, 5)]
        channels, n, out_channels = d.int(1, 3), d.int(1, 2), d.int(1, 3)
        kind = d.pick("F32", "F16")
        params, out = _windows(d, sizes, taps)
        data = (*sizes, channels, n)
        if name == "CONV_2D_DW":
            src = [Source(kind, (*taps, 1, channels), special=False), Source("F32", data)]
            return Form(name, "F32", (*out, channels, n), src, dict(enumerate(params)))
        kernel = (*taps, channels, out_channels)
        if name == "CONV_2D":
            src = [Source(kind, kernel, special=False), Source("F32", data)]
            return Form(name, "F32", (*out, out_channels, n), src, dict(enumerate(params)))
        columns = (channels * taps[0] * taps[1], *out, n)
        if two := d.int(0, 1):
            slots = dict(enumerate([*params, 1]))
        else:
            kernel, data, columns = (
                (taps[0], channels, out_channels),
                (sizes[0], channels, n),
                (channels * taps[0], out[0], n),
            )
            slots = {0: params[0], 1: 0, 2: params[2], 3: 0, 4: params[4], 5: 0, 6: two}
        if name == "IM2COL":
            y = d.pick("F32", "F16")
            return Form(name, y, columns, [Source(kind, kernel), Source("F32", data)], slots)
        return Form(name, "F32", data, [Source("F32", columns), Source(kind, kernel)], slots)

    return form


def volume(name: str) -> Drawn:
    """CONV_3D and IM2COL_3D."""

    def form(d: Draw) -> Form:
        taps, sizes = [d.int(1, 2) for _ in range(3)], [d.int(1, 4) for _ in range(3)]
        channels, n, out_channels = d.int(1, 2), d.int(1, 2), d.int(1, 2)
        params, out = _windows(d, sizes, taps)
        src = [
            Source("F16", (*taps, channels * out_channels), special=False),
            Source("F32", (*sizes, channels * n)),
        ]
        slots = dict(enumerate([*params, channels]))
        if name == "CONV_3D":
            return Form(
                name, "F32", (*out, out_channels * n), src, slots | {10: n, 11: out_channels}
            )
        columns = (channels * taps[0] * taps[1] * taps[2], out[0], out[1], out[2] * n)
        return Form(name, d.pick("F32", "F16"), columns, src, slots)

    return form


def col2im(d: Draw) -> Form:
    stride, channels, taps, n = d.int(1, 3), d.int(1, 3), d.int(2, 4), d.int(1, 4)
    crop = d.int(0, ((n - 1) * stride + taps - 1) // 2)
    length = (n - 1) * stride + taps - 2 * crop
    kind = d.pick(*FLOATS)
    return Form(
        "COL2IM_1D",
        kind,
        (length, channels),
        [Source(kind, (taps * channels, n))],
        {0: stride, 1: channels, 2: crop},
    )


def conv_transpose_1d(d: Draw) -> Form:
    k, out, channels, n, stride = (d.int(1, 4) for _ in range(5))
    src = [
        Source(d.pick("F32", "F16"), (k, out, channels), special=False),
        Source("F32", (n, channels), special=False),
    ]
    return Form(
        "CONV_TRANSPOSE_1D", "F32", ((n - 1) * stride + k, out), src, {0: stride, 1: 0, 2: 1}
    )


def conv_transpose_2d(d: Draw) -> Form:
    kw, kh, out, channels, w, h, n, stride = (d.int(1, 3) for _ in range(8))
    src = [
        Source("F16", (kw, kh, out, channels), special=False),
        Source("F32", (w, h, channels, n), special=False),
    ]
    y = ((w - 1) * stride + kw, (h - 1) * stride + kh, out, n)
    return Form("CONV_TRANSPOSE_2D", "F32", y, src, {0: stride})


def pool(name: str) -> Drawn:
    """Maximum and average."""

    def form(d: Draw) -> Form:
        a, kind = extents(d, 6), d.int(0, 1)
        n = 1 if name == "POOL_1D" else 2
        k = [d.int(1, 3) for _ in range(n)]
        s, p = [d.int(1, 3) for _ in range(n)], [d.int(0, i // 2) for i in k]
        p = [max(b, -((a[i] - k[i]) // 2)) for i, b in enumerate(p)]
        y = [(a[i] + 2 * p[i] - k[i]) // s[i] + 1 for i in range(n)]
        params = dict(enumerate([kind, *k, *s, *p]))
        ne = (*y, *a[n:])
        type = "F32" if name == "POOL_2D_BACK" else d.pick("F32", "F16")
        x = Source(type, a, special=False)
        if name == "POOL_2D_BACK":
            return Form(name, "F32", a, [Source("F32", ne, special=False), x], params)
        return Form(name, "F32", ne, [x], params)

    return form


def upscale(d: Draw) -> Form:
    a, mode = extents(d, 4), d.pick(0, 1, 2, 257, 258, 513, 256)
    y = [n * d.int(1, 3) for n in a]
    if mode in (1, 2, 513):
        y[:2] = [d.int(1, 8), d.int(1, 8)]
    return Form("UPSCALE", "F32", tuple(y), [Source("F32", a, special=False)], {0: mode}, nmse=1e-8)


def win_part(d: Draw) -> Form:
    c, w, h, window = d.int(1, 4), d.int(1, 7), d.int(1, 7), d.int(1, 4)
    parts = -(-w // window), -(-h // window)
    ne = (c, window, window, parts[0] * parts[1])
    return Form(
        "WIN_PART",
        "F32",
        ne,
        [Source("F32", (c, w, h))],
        {0: parts[0], 1: parts[1], 2: window},
        nmse=0.0,
    )


def win_unpart(d: Draw) -> Form:
    back = win_part(d)
    return Form(
        "WIN_UNPART", "F32", back.src[0].ne, [Source("F32", back.ne)], {0: back.params[2]}, nmse=0.0
    )


def get_rel_pos(d: Draw) -> Form:
    c, n = d.int(1, 4), d.int(1, 5)
    return Form("GET_REL_POS", "F16", (c, n, n), [Source("F16", (c, 2 * n - 1))], nmse=0.0)


def add_rel_pos(d: Draw) -> Form:
    k, w, h, s = (d.int(1, 3) for _ in range(4))
    ne, part = (k * k, w * h, s), (k, w, h, s)
    src = [Source("F32", ne), Source("F32", part), Source("F32", part)]
    return Form("ADD_REL_POS", "F32", ne, src, {0: 0}, inplace=True)


IMAGE_FORMS: dict[str, Drawn] = {
    **{name: image(name) for name in ("CONV_2D", "CONV_2D_DW", "IM2COL", "IM2COL_BACK")},
    **{name: volume(name) for name in ("CONV_3D", "IM2COL_3D")},
    **{name: pool(name) for name in ("POOL_1D", "POOL_2D", "POOL_2D_BACK")},
    "COL2IM_1D": col2im, "CONV_TRANSPOSE_1D": conv_transpose_1d, "CONV_TRANSPOSE_2D": conv_transpose_2d,
    "UPSCALE": upscale, "WIN_PART": win_part, "WIN_UNPART": win_unpart, "GET_REL_POS": get_rel_pos,
    "ADD_REL_POS": add_rel_pos,
}  # fmt: skip
