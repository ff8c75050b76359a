"""Q4_0 as ggml rounds it: blocks of 32 along the inputs, one F16 scale, 16 levels."""

import jax
import jax.numpy as jnp

BLOCK = 32


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


def fake_int8(x: jax.Array) -> jax.Array:
    """Activations as an int8 kernel reads them: blocks of 32 along the last axis, scale = largest magnitude / 127; straight-through."""
    blocks = x.reshape(*x.shape[:-1], -1, BLOCK)
    scale = jnp.max(jnp.abs(blocks), axis=-1, keepdims=True) / 127.0
    level = jnp.round(blocks / jnp.where(scale == 0, 1.0, scale))
    return x + jax.lax.stop_gradient((level * scale).reshape(x.shape) - x)
