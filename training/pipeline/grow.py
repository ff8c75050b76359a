"""A larger shape that starts from a trained checkpoint: more key/value heads, then more blocks at the end.

Key/value heads are said again, which changes nothing until training tells them apart. A new block is a copy of a trained one whose output is
scaled down, so that the grown model answers almost as before.
"""

from dataclasses import replace

import jax.numpy as jnp

from pipeline.model import Config, Params

QUIET = -0.9  # weight of a new block's output norms: factor 1 + weight


def with_heads(config: Config, params: Params, head_count_kv: int) -> tuple[Config, Params]:
    """The same function with every key/value head repeated."""
    times, rest = divmod(head_count_kv, config.head_count_kv)
    if rest or config.head_count % head_count_kv:
        raise ValueError(f"{head_count_kv} key/value heads are no multiple of {config.head_count_kv} that divides {config.head_count} heads")
    grown = dict(params)
    for name, value in params.items():
        if name.endswith((".attn_k", ".attn_v")):
            heads = value.reshape(config.head_count_kv, config.key_length, -1)
            grown[name] = jnp.repeat(heads, times, axis=0).reshape(head_count_kv * config.key_length, -1)
    return replace(config, head_count_kv=head_count_kv), grown


def with_blocks(config: Config, params: Params, block_count: int) -> tuple[Config, Params]:
    """More blocks at the end: copies of every second one from block 1 on, almost silent at first."""
    grown = dict(params)
    for extra in range(block_count - config.block_count):
        source, target = f"blk.{(1 + 2 * extra) % config.block_count}.", f"blk.{config.block_count + extra}."
        for name, value in params.items():
            if name.startswith(source):
                quiet = name.endswith(("post_attention_norm", "post_ffw_norm"))
                grown[target + name.removeprefix(source)] = jnp.full_like(value, QUIET) if quiet else value
    return replace(config, block_count=block_count), grown
