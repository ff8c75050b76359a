"""Start the model with heads that already copy, so that little data is enough to use them.

The circuit is the known induction pair. Block 0: two heads look one and two positions back and write what stood there into
dimensions kept free for it. Blocks 1, 3 and the global ones: a head looks for places whose predecessor is the current
token and writes the token found there towards the output. Everything stays trainable; the rest starts at random.
"""

import jax
import jax.numpy as jnp

from pipeline.model import Config, Params

CONSTANT = 4.0  # value of dimension 0 of every scaled embedding: heads that look at positions need a constant
SLOT = 32  # dimensions each for the previous token and for the one before
QUIET = 0.15  # scale of the random part of a structured head
POSITION_PAIRS = 6  # fastest rotary pairs, which tell neighbours apart
SHARP = 0.8  # norm weight of structured heads: attention logits reach key_length**0.5 * (1 + SHARP)**2


def slow_dimensions(config: Config, layer: int) -> list[int]:
    """Dimensions of a head whose rotary pairs turn less than about one radian in 200 positions."""
    half = config.key_length // 2
    base = config.rope_base_global if config.is_global(layer) else config.rope_base_local
    pairs = [i for i in range(half) if base ** (-i / half) < 0.006]
    return [i for i in pairs] + [i + half for i in pairs]


def look_back(config: Config, params: Params) -> Params:
    """Block 0: head 0 attends one position back, head 1 two; values are the first token dimensions."""
    size, half, d = config.key_length, config.key_length // 2, config.embedding_length
    q, k, v, out = (params[f"blk.0.{name}"] for name in ("attn_q", "attn_k", "attn_v", "attn_output"))
    pairs = jnp.arange(POSITION_PAIRS)
    angle = config.rope_base_local ** (-pairs / half)
    k = (k * QUIET).at[pairs, 0].set(1.0)
    v = (v * QUIET).at[jnp.arange(SLOT), 1 + jnp.arange(SLOT)].set(1.0)
    for head in range(2):
        rows = slice(head * size, (head + 1) * size)
        block = (q[rows] * QUIET).at[pairs, 0].set(jnp.cos((head + 1) * angle)).at[pairs + half, 0].set(-jnp.sin((head + 1) * angle))
        q = q.at[rows].set(block)
        free = d - 2 * SLOT + head * SLOT
        out = out.at[:, rows].multiply(QUIET).at[free + jnp.arange(SLOT), head * size + jnp.arange(SLOT)].set(1.0)
    sharp = jnp.full(size, SHARP)
    return {**params, "blk.0.attn_q": q, "blk.0.attn_k": k, "blk.0.attn_v": v, "blk.0.attn_output": out,
            "blk.0.attn_q_norm": sharp, "blk.0.attn_k_norm": sharp}


def look_up(config: Config, params: Params, layer: int) -> Params:
    """Head 0 of a block: query = this token, key = the token before, value and output = the token found."""
    size, d = config.key_length, config.embedding_length
    name = f"blk.{layer}."
    slow = slow_dimensions(config, layer)
    single, double = slow[:min(SLOT, len(slow))], slow[SLOT:2 * SLOT]
    previous = d - 2 * SLOT
    q, k, v, out = (params[name + part] for part in ("attn_q", "attn_k", "attn_v", "attn_output"))
    q0, k, v = q[:size] * QUIET, k * QUIET, v * QUIET
    out0 = out[:, :size] * QUIET
    for index, row in enumerate(single):
        q0, k = q0.at[row, 1 + index].set(1.0), k.at[row, previous + index].set(1.5)
    for index, row in enumerate(double):
        q0, k = q0.at[row, previous + index].set(1.0), k.at[row, previous + SLOT + index].set(1.0)
    copied = jnp.arange(min(size, d - 2 * SLOT - 1))
    v = v.at[copied, 1 + copied].set(1.0)
    out0 = out0.at[1 + copied, copied].set(1.0)
    sharp = jnp.full(size, SHARP)
    return {**params, name + "attn_q": q.at[:size].set(q0), name + "attn_k": k, name + "attn_v": v, name + "attn_output": out.at[:, :size].set(out0),
            name + "attn_q_norm": sharp, name + "attn_k_norm": sharp, name + "post_attention_norm": jnp.zeros(d)}


def with_copying_heads(config: Config, params: Params) -> Params:
    """`params` with the circuit in place; needs two heads and `2 * SLOT` spare dimensions."""
    if config.head_count < 2 or config.embedding_length < 4 * SLOT or config.block_count < 2:
        raise ValueError("copying heads need two heads, two blocks and an embedding of at least 128")
    embedding = params["token_embd"].at[:, config.embedding_length - 2 * SLOT:].multiply(QUIET)
    params = {**params, "token_embd": embedding.at[:, 0].set(CONSTANT * config.embedding_length**-0.5)}
    params = look_back(config, params)
    for layer in range(1, config.block_count):
        if config.is_global(layer) or layer in (1, 3):
            params = look_up(config, params, layer)
    return params


def main() -> None:
    """Print how well the untrained model copies: nats and share right on random pieces said twice."""
    from pipeline import model

    config = Config()
    key = jax.random.key(1)
    pieces = jax.random.randint(key, (4, 100), 400, config.vocabulary)
    tokens = jnp.concatenate([pieces, pieces], axis=1)
    for title, params in (("random", model.init(config, key)), ("copying heads", with_copying_heads(config, model.init(config, key)))):
        scores = model.logits(config, params, tokens, jnp.ones_like(tokens))[:, 105:-1]
        nats = jax.nn.logsumexp(scores, axis=-1) - jnp.take_along_axis(scores, tokens[:, 106:, None], axis=-1)[..., 0]
        rank = (scores > jnp.take_along_axis(scores, tokens[:, 106:, None], axis=-1)).sum(-1)
        print(f"{title}: {nats.mean():.2f} nats, right {(rank == 0).mean():.2f}, median rank {jnp.median(rank)}")


if __name__ == "__main__":
    main()
