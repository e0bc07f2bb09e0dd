"""Sources and op_params that changed meaning, as data: which older form each op had, and until when.

One row serves both directions: the form is read from older peers and written to them. A row applies to peers of states
that shipped before its date. Where a state lasts over the date, reading recognises the old form by itself (a slot that
is zero, a source that is missing), so a row never harms a newer peer; writing says what both understand, and refuses
what only one of them does.

Source: docs/reference/protocol, sources and op_params that changed meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.wire.forms import (
    CONCAT_IN_2,
    NEITHER,
    PAD_RIGHT,
    SNAPSHOT_EXTENT,
    UPSCALE_FACTOR,
    Form,
    Rows,
    bits,
    both,
    clear,
    fill,
    keep,
    mask_rows,
    move,
    newer,
    only,
    reorder,
    replace,
    source_type,
    unless_odd,
    with_source,
    without_bit,
    without_source,
)

__all__ = ["F32_PREC", "F32_PREC_OLD", "MEANINGS", "Meaning", "Rows", "bits", "keep"]

F32_PREC_OLD, F32_PREC = 1, 10
_MROPE, _INTERLEAVED = 8, 32  # bits of the mode of ROPE


@dataclass(frozen=True, slots=True)
class Meaning:
    """One change: nodes of `op` of peers from before a date have another form.

    Attributes:
        op: name.
        until: first date of the newer form, YYYY-MM-DD; "" when it never came.
        form: the older one.
        what: how it was, to follow the date in a sentence.
        since: first date of the older form, "" for the first of all.
    """

    op: str
    until: str
    form: Form
    what: str
    since: str = ""

    def applies(self, shipped: str, last: str) -> bool:
        """Whether some peer of a state (first date, first date of the next or "") has the older form."""
        return shipped < self.until and (not last or self.since < last)

    def certain(self, last: str) -> bool:
        """Whether every peer of the state has it."""
        return bool(last) and last <= self.until


_I64, _F16, _BF16 = TYPES["I64"].id, TYPES["F16"].id, TYPES["BF16"].id
_NOT_F16 = [t.id for t in TYPES.values() if t.id != _F16]
_NOT_BF16 = [t.id for t in TYPES.values() if t.id != _BF16]
_NO_BF16 = newer(
    both(source_type(0, _NOT_BF16, "not BF16"), source_type(-1, _NOT_BF16, "not BF16"))
)
_SCALE_OF_1 = Form(fill(0, bits(1.0)).read, both(only(0, bits(1.0)), only(1, 0)))
_FEW_KERNELS = "fewer kernels took BF16"
_TWO_PRECISIONS = "there were two precisions"
_COUNTED = "extent 1 of the state counted snapshots"
_ONE_SNAPSHOT = "the number of snapshots was not sent"

MEANINGS = (
    Meaning("UPSCALE", "2024-05-15", UPSCALE_FACTOR, "slot 0 was an integer factor"),
    Meaning("ROPE", "2024-05-22", newer(without_source(2)), "there were no frequency factors"),
    Meaning("CONCAT", "2024-05-28", CONCAT_IN_2, "the dimension was always 2"),
    Meaning("ROPE", "2024-06-05", clear(3, 11, 12), "slot 3 was n_ctx, 11 and 12 were xpos"),
    Meaning("ROPE_BACK", "2024-06-05", clear(3, 11, 12), "slot 3 was n_ctx, 11 and 12 were xpos"),
    Meaning("GROUP_NORM", "2024-08-06", fill(1, bits(1e-6)), "eps was fixed at 1e-6"),
    Meaning("SSM_CONV", "2024-08-21", NEITHER, "sources and result were reorganised"),
    Meaning("FLASH_ATTN_EXT", "2024-08-24", move(2, 3, (F32_PREC_OLD,)), "slot 2 was the precision, now the softcap"),
    Meaning("ROPE_BACK", "2024-09-03", newer(without_source(2)), "there were no frequency factors"),
    Meaning("OPT_STEP_ADAMW", "2024-11-16", NEITHER, "parameters became a tensor, moments became sources"),
    *(
        Meaning(
            op, "2024-12-14", newer(both(without_bit(2, _MROPE), *(only(slot, 0) for slot in range(11, 15)))),
            "there were no sections",
        )
        for op in ("ROPE", "ROPE_BACK")
    ),
    Meaning("SOFT_MAX_BACK", "2025-01-16", _SCALE_OF_1, "the scale was not sent and was 1"),
    Meaning("SILU_BACK", "2025-01-16", reorder(1, 0), "the gradient came second"),
    Meaning("RMS_NORM_BACK", "2025-01-16", reorder(1, 0), "the gradient came second"),
    Meaning("IM2COL_BACK", "2025-01-16", reorder(1, 0), "the gradient came second"),
    Meaning("CROSS_ENTROPY_LOSS_BACK", "2025-01-16", reorder(2, 0, 1), "the gradient came third"),
    Meaning("UPSCALE", "2025-04-09", newer(only(0, 0)), "there was one mode, the nearest"),
    Meaning("MUL_MAT", "2025-04-28", replace(0, F32_PREC_OLD, F32_PREC), "precision F32 was 1"),
    Meaning("FLASH_ATTN_EXT", "2025-04-28", replace(3, F32_PREC_OLD, F32_PREC), "precision F32 was 1"),
    Meaning("SSM_SCAN", "2025-07-02", NEITHER, "ids became source 6, heads came in"),
    Meaning("SCALE", "2025-07-09", newer(only(1, 0)), "there was no bias"),
    Meaning("SOFT_MAX", "2025-08-05", newer(without_source(2)), "there were no sinks"),
    Meaning("FLASH_ATTN_EXT", "2025-08-05", newer(without_source(4)), "there were no sinks"),
    Meaning("UPSCALE", "2025-08-14", newer(only(0, 0, 1)), "corners could not be aligned"),
    Meaning("PAD", "2025-09-04", PAD_RIGHT, "no paddings were sent, all was on the right"),
    Meaning("TIMESTEP_EMBEDDING", "2025-09-16", unless_odd(0), "an odd dim gave one column more"),
    Meaning("SET_ROWS", "2025-09-22", newer(source_type(1, [_I64], "I64")), "row ids had 64 bits"),
    Meaning("ROPE", "2025-10-30", newer(without_bit(2, _INTERLEAVED)), "sections could not be interleaved"),
    Meaning("FLASH_ATTN_EXT", "2025-12-03", newer(mask_rows(64)), "kernels read the mask in groups of rows"),
    Meaning("PAD", "2025-12-06", newer(only(8, 0)), "padding was never circular"),
    Meaning("UPSCALE", "2026-03-10", newer(only(0, 0, 1, 257)), "there were fewer modes"),
    Meaning("GATED_DELTA_NET", "2026-06-10", fill(0, 1), _ONE_SNAPSHOT),
    Meaning("GATED_DELTA_NET", "2026-06-10", SNAPSHOT_EXTENT, _COUNTED, since="2026-05-16"),
    Meaning("SET_ROWS", "2026-07-08", newer(source_type(0, _NOT_F16, "F32")), "values had 32 bits"),
    Meaning("CONV_2D_DW", "2026-07-29", newer(source_type(0, _NOT_F16, "F32")), "an F16 kernel was read as F32"),
    Meaning("SSM_SCAN", "2026-08-14", fill(0, 1), _ONE_SNAPSHOT),
    Meaning("ROPE", "2026-08-19", newer(only(15, 0)), "the turned elements were the first of each row"),
    Meaning("MUL_MAT", "2026-09-11", newer(both(only(0, 0, F32_PREC), only(3, 0))), _TWO_PRECISIONS),
    Meaning("MUL_MAT_ID", "2026-09-11", newer(both(only(0, 0, F32_PREC), only(3, 0))), _TWO_PRECISIONS),
    Meaning("FLASH_ATTN_EXT", "2026-09-11", newer(only(3, 0, F32_PREC)), _TWO_PRECISIONS),
    Meaning("DSV4_HC_PRE", "2026-09-11", _SCALE_OF_1, "the scale was not sent and was 1"),
    Meaning("DSV4_HC_POST", "2026-09-11", newer(with_source(3)), "source 3 was always there"),
    Meaning("GLU", "2026-09-11", _NO_BF16, _FEW_KERNELS),
    Meaning("UNARY", "2026-09-11", _NO_BF16, _FEW_KERNELS),
    Meaning("SCALE", "2026-09-11", _NO_BF16, _FEW_KERNELS),
)  # fmt: skip
"""Every change of meaning, oldest first.

The dates of CONV_2D_DW and the two later ones of UPSCALE are those of the first states of which a release was seen to
have the newer form.

Not here, because an older peer ignores them and does what it did before: the destination of SET_ROWS as source 2, the
hint of MUL_MAT in slot 1, the bound of FLASH_ATTN_EXT in slot 4, and a CLAMP that is no view.
"""
