"""Rounding as the shipped file and the engine's kernels do it, in blocks of 32 along the inputs, with straight-through gradients.

Q4_0 and Q8_0 are ggml's weight formats; activations are rounded to int8 before every product with weights.
"""

import jax
import jax.numpy as jnp

BLOCK = 32
SCALE_BITS = 5  # kept of the scale of 32 activations


def round_q4_0(weight: jax.Array) -> jax.Array:
    """The nearest value that Q4_0 stores: scale = (value of largest magnitude) / -8, levels -8 to 7."""
    blocks = weight.reshape(-1, BLOCK)
    extreme = jnp.take_along_axis(blocks, jnp.argmax(jnp.abs(blocks), axis=1, keepdims=True), axis=1)
    scale = extreme / -8.0
    inverse = jnp.where(scale == 0, 0.0, 1.0 / jnp.where(scale == 0, 1.0, scale))
    level = jnp.clip(jnp.floor(blocks * inverse + 8.5), 0, 15) - 8
    stored = scale.astype(jnp.float16).astype(jnp.float32)
    return (level * stored).reshape(weight.shape)


def fake_q4_0(weight: jax.Array) -> jax.Array:
    """Rounded value forward, identity gradient backward (straight-through)."""
    return weight + jax.lax.stop_gradient(round_q4_0(weight) - weight)


def round_int8(x: jax.Array, stored_scale: bool) -> jax.Array:
    """Blocks of 32 to int8 and back: scale = absmax / 127, ties to even. Q8_0 files store the scale as F16; of activations' scales
    the kernels keep five significant bits, rounded up (`kernels/quantize_block.h`)."""
    blocks = x.reshape(*x.shape[:-1], -1, BLOCK)
    scale = jnp.max(jnp.abs(blocks), axis=-1, keepdims=True) / 127.0
    if not stored_scale:
        scale = round_up(scale)
    level = jnp.round(blocks / jnp.where(scale == 0, 1.0, scale))
    used = scale.astype(jnp.float16).astype(jnp.float32) if stored_scale else scale
    return (level * used).reshape(x.shape)





def round_up(x: jax.Array) -> jax.Array:
    """Non-negative F32 to `SCALE_BITS` significant bits, never down: a carry goes on into the exponent."""
    tail = jnp.uint32((1 << (24 - SCALE_BITS)) - 1)
    return jax.lax.bitcast_convert_type((jax.lax.bitcast_convert_type(x, jnp.uint32) + tail) & ~tail, jnp.float32)


def fake_int8(x: jax.Array) -> jax.Array:
    """Activations [..., features] as the kernels round them, identity gradient backward."""
    return x + jax.lax.stop_gradient(round_int8(x, stored_scale=False) - x)


def fake_q8_0(weight: jax.Array) -> jax.Array:
    """Weights as a Q8_0 tensor stores them, identity gradient backward."""
    return weight + jax.lax.stop_gradient(round_int8(weight, stored_scale=True) - weight)
