"""Low-rank adapters: each chosen matrix W of a frozen model reads as W + (alpha / rank) B A, of which only A and B are trained."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from pipeline import model
from pipeline.model import Config, Linear, Params
from pipeline.quant import fake_int8, fake_q4_0

TARGETS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def init(config: Config, rank: int, key: jax.Array, targets: Sequence[str] = TARGETS) -> Params:
    """`NAME.lora_a` [rank, inputs], random, and `NAME.lora_b` [outputs, rank], zero: the model begins unchanged."""
    shapes = model.linear_shapes(config)
    keys = iter(jax.random.split(key, config.block_count * len(targets)))
    adapters: Params = {}
    for layer in range(config.block_count):
        for name in targets:
            outputs, inputs = shapes[name]
            adapters[f"blk.{layer}.{name}.lora_a"] = jax.random.normal(next(keys), (rank, inputs)) * inputs**-0.5
            adapters[f"blk.{layer}.{name}.lora_b"] = jnp.zeros((outputs, rank))
    return adapters


def merged(params: Params, name: str, scale: float) -> jax.Array:
    """The matrix in F32 with its adapter added."""
    weight = params[name].astype(jnp.float32)
    if f"{name}.lora_a" not in params:
        return weight
    return weight + scale * (params[f"{name}.lora_b"] @ params[f"{name}.lora_a"])


def adapted(scale: float) -> Linear:
    """The frozen matrix and its adapter apart, so that no gradient of the size of the matrix is made."""

    def linear(params: Params, name: str, x: jax.Array) -> jax.Array:
        y = x @ params[name].T.astype(jnp.float32)
        if f"{name}.lora_a" not in params:
            return y
        return y + scale * ((x @ params[f"{name}.lora_a"].T) @ params[f"{name}.lora_b"].T)

    return linear


def quantised(scale: float) -> Linear:
    """As the exported file computes: Q4_0 weights, int8 activations, gradients straight through."""

    def linear(params: Params, name: str, x: jax.Array) -> jax.Array:
        return fake_int8(x) @ fake_q4_0(merged(params, name, scale)).T

    return linear
