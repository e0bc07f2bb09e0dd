"""Graphs as clients of different ages build them for a language model: what numberings are told apart by."""

from ggmlrpc_core.graph.build import GraphBuilder, allocate

EMBD, HEADS, HEAD, FF, CACHE, TOKENS = 64, 4, 16, 96, 32, 2
MASK_ROWS = 64
"""Kernels before 2025-12-03 read the mask of attention in groups of rows."""


def llama(device, *, flash=False, set_rows=False, glu=False, layers=2):
    """A small Llama, allocated on a device: attention over a cache, feed forward, logits."""
    b = GraphBuilder()
    ids = b.new_tensor("I32", TOKENS, name="inp_tokens")
    positions = b.new_tensor("I32", TOKENS, name="inp_pos")
    rows = MASK_ROWS if flash else TOKENS
    mask = b.new_tensor("F16" if flash else "F32", CACHE, rows, name="KQ_mask")
    x = b.get_rows(b.new_tensor("F16", EMBD, 50, name="token_embd.weight"), ids)
    written = []
    for i in range(layers):
        x, more = _attention(b, x, positions, mask, layer=i, flash=flash, set_rows=set_rows)
        written += more
        x = _feed_forward(b, x, layer=i, glu=glu)
    x = b.mul(b.rms_norm(x, eps=1e-5), b.new_tensor("F32", EMBD, name="output_norm.weight"))
    logits = b.mul_mat(b.new_tensor("Q8_0", EMBD, 50, name="output.weight"), x)
    allocate([*written, logits], device)
    return b.graph(*written, logits)


def _attention(b, x, positions, mask, *, layer, flash, set_rows):
    name = f"blk.{layer}."
    norm = b.mul(b.rms_norm(x, eps=1e-5), b.new_tensor("F32", EMBD, name=name + "attn_norm.weight"))
    q, k, v = (
        b.mul_mat(b.new_tensor("Q4_0", EMBD, EMBD, name=name + f"attn_{which}.weight"), norm)
        for which in "qkv"
    )
    q = b.rope_ext(b.reshape(q, HEAD, HEADS, TOKENS), positions, n_dims=HEAD)
    k = b.rope_ext(b.reshape(k, HEAD, HEADS, TOKENS), positions, n_dims=HEAD)
    cache_k, cache_v = (b.new_tensor("F16", EMBD, CACHE, name=f"cache_{w}_l{layer}") for w in "kv")
    if set_rows:
        where = b.new_tensor("I64", TOKENS, name="kv_idxs")
        written = [
            b.set_rows(cache_k, b.reshape(k, EMBD, TOKENS), where),
            b.set_rows(cache_v, v, where),
        ]
    else:
        written = [
            b.cpy(b.reshape(k, EMBD, TOKENS), b.view(cache_k, EMBD, TOKENS)),
            b.cpy(v, b.view(cache_v, EMBD, TOKENS)),
        ]
    keys, values = (
        b.permute(b.reshape(c, HEAD, HEADS, CACHE), 0, 2, 1, 3) for c in (cache_k, cache_v)
    )
    queries = b.permute(q, 0, 2, 1, 3)
    if flash:
        out = b.flash_attn_ext(queries, keys, values, mask, scale=0.25)
    else:
        weights = b.soft_max_ext(b.mul_mat(keys, queries), mask, scale=0.25)
        out = b.mul_mat(b.cont(b.transpose(values)), weights)
        out = b.cont(b.permute(out, 0, 2, 1, 3))
    out = b.reshape(out, EMBD, TOKENS)
    out = b.mul_mat(b.new_tensor("Q4_0", EMBD, EMBD, name=name + "attn_output.weight"), out)
    return b.add(out, x), written


def _feed_forward(b, x, *, layer, glu):
    name = f"blk.{layer}.ffn_"
    norm = b.mul(b.rms_norm(x, eps=1e-5), b.new_tensor("F32", EMBD, name=name + "norm.weight"))
    gate = b.mul_mat(b.new_tensor("Q4_0", EMBD, FF, name=name + "gate.weight"), norm)
    up = b.mul_mat(b.new_tensor("Q4_0", EMBD, FF, name=name + "up.weight"), norm)
    inner = b.swiglu(gate, b=up) if glu else b.mul(b.silu(gate), up)
    return b.add(b.mul_mat(b.new_tensor("Q4_0", FF, EMBD, name=name + "down.weight"), inner), x)
