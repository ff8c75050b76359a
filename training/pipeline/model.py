"""The Gemma 3 text architecture in plain JAX, for training: [batch, length] tokens to logits.

Norm weights are stored as in the Hugging Face checkpoints (the factor is 1 + weight); export bakes the 1 in.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

Params = dict[str, jax.Array]
Linear = Callable[[Params, str, jax.Array], jax.Array]  # (parameters, name of the matrix, inputs) to outputs
QUERY_BLOCK = 256  # queries whose scores are held at once; keys after the block are never computed
IMAGE_ROWS = 64  # the longest image, whose rows see each other both ways


@dataclass(frozen=True)
class Config:
    """Shape of the model; names follow the GGUF keys."""

    vocabulary: int = 4096
    embedding_length: int = 192
    block_count: int = 6
    head_count: int = 3
    head_count_kv: int = 1
    key_length: int = 64
    feed_forward_length: int = 576
    sliding_window: int = 1024
    sliding_pattern: int = 6
    context_length: int = 2048
    rope_base_global: float = 1e6
    rope_base_local: float = 1e4
    rms_epsilon: float = 1e-6
    rope_factor_global: float = 1.0  # positions of global layers are divided by it
    query_pre_attn_scalar: float = 0.0  # scores are divided by its root; 0 means key_length
    global_layers: tuple[int, ...] | None = None  # where they are not one in sliding_pattern

    def is_global(self, layer: int) -> bool:
        return (layer + 1) % self.sliding_pattern == 0 if self.global_layers is None else layer in self.global_layers

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Config":
        values = json.loads(path.read_text())
        layers = values.get("global_layers")
        return cls(**{**values, "global_layers": None if layers is None else tuple(layers)})


def linear_shapes(config: Config) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of the linear layers of one block, by GGUF name."""
    d, f = config.embedding_length, config.feed_forward_length
    q, kv = config.head_count * config.key_length, config.head_count_kv * config.key_length
    return {"attn_q": (q, d), "attn_k": (kv, d), "attn_v": (kv, d), "attn_output": (d, q), "ffn_gate": (f, d), "ffn_up": (f, d), "ffn_down": (d, f)}


def init(config: Config, key: jax.Array) -> Params:
    """Random parameters by GGUF tensor name; matrices are [outputs, inputs]."""
    d = config.embedding_length
    keys = iter(jax.random.split(key, 1 + 7 * config.block_count))
    params: Params = {"token_embd": jax.random.normal(next(keys), (config.vocabulary, d)) * d**-0.5, "output_norm": jnp.zeros(d)}
    for layer in range(config.block_count):
        for name, (outputs, inputs) in linear_shapes(config).items():
            scale = 0.2 if name in ("attn_output", "ffn_down") else 1.0
            params[f"blk.{layer}.{name}"] = jax.random.normal(next(keys), (outputs, inputs)) * (scale * inputs**-0.5)
        for name in ("attn_norm", "ffn_norm"):
            params[f"blk.{layer}.{name}"] = jnp.zeros(d)
        for name in ("post_attention_norm", "post_ffw_norm"):
            params[f"blk.{layer}.{name}"] = jnp.full(d, -0.6)
        for name in ("attn_q_norm", "attn_k_norm"):
            params[f"blk.{layer}.{name}"] = jnp.zeros(config.key_length)
    return params


def is_linear(name: str) -> bool:
    """True for the matrices that are stored as Q4_0 (all but the embedding)."""
    return name.startswith("blk.") and not name.endswith("_norm")


def rms_norm(x: jax.Array, weight: jax.Array, epsilon: float) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon) * (1.0 + weight)


def plain(params: Params, name: str, x: jax.Array) -> jax.Array:
    return x @ params[name].T


@jax.custom_vjp
def half_product(x: jax.Array, weight: jax.Array) -> jax.Array:
    """[..., inputs] by [outputs, inputs] in BF16 with F32 sums; so is the gradient of `x`. That of `weight`, a sum over all tokens, stays F32."""
    return half_product_forward(x, weight)[0]


def half_product_forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    half = weight.astype(jnp.bfloat16)
    return jnp.einsum("...i,oi->...o", x.astype(jnp.bfloat16), half, preferred_element_type=jnp.float32), (x, half)


def half_product_backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, half = kept
    outputs, inputs = half.shape
    of_weight = jnp.einsum("to,ti->oi", gradient.reshape(-1, outputs), x.reshape(-1, inputs))
    return jnp.einsum("...o,oi->...i", gradient.astype(jnp.bfloat16), half, preferred_element_type=jnp.float32), of_weight


half_product.defvjp(half_product_forward, half_product_backward)


def half(params: Params, name: str, x: jax.Array) -> jax.Array:
    """For training from F32 parameters: 1.8 times the speed of `plain` in the forward pass where the processor has BF16 products."""
    return half_product(x, params[name])


def rope(x: jax.Array, base: float, factor: float = 1.0) -> jax.Array:
    """Rotary embedding in NeoX pairing; x is [batch, length, heads, key_length], positions are divided by `factor`."""
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] / factor * base ** (-jnp.arange(half) / half)[None, :]
    cos, sin = jnp.cos(angle)[None, :, None, :], jnp.sin(angle)[None, :, None, :]
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention(config: Config, params: Params, layer: int, x: jax.Array, mask: jax.Array, ahead: int = 0,
              linear: Linear = plain) -> jax.Array:
    """Grouped-query attention with QK-norm; mask is [batch, length, length], True where allowed, at most `ahead` after the diagonal."""
    batch, length, _ = x.shape
    heads, kv_heads, size = config.head_count, config.head_count_kv, config.key_length
    base, factor = (config.rope_base_global, config.rope_factor_global) if config.is_global(layer) else (config.rope_base_local, 1.0)
    q = linear(params, f"blk.{layer}.attn_q", x).reshape(batch, length, heads, size)
    k = linear(params, f"blk.{layer}.attn_k", x).reshape(batch, length, kv_heads, size)
    v = linear(params, f"blk.{layer}.attn_v", x).reshape(batch, length, kv_heads, size)
    scale = (config.query_pre_attn_scalar or size) ** -0.5
    q = rope(rms_norm(q, params[f"blk.{layer}.attn_q_norm"], config.rms_epsilon), base, factor) * scale
    k = rope(rms_norm(k, params[f"blk.{layer}.attn_k_norm"], config.rms_epsilon), base, factor)
    # Heads first and keys already transposed: XLA's products on the CPU take half the time, gradients included.
    q = q.reshape(batch, length, kv_heads, heads // kv_heads, size).transpose(0, 2, 3, 1, 4)
    k, v = k.transpose(0, 2, 3, 1), v.transpose(0, 2, 1, 3)
    reach = length if config.is_global(layer) else config.sliding_window
    parts = []
    for begin in range(0, length, QUERY_BLOCK):
        rows = slice(begin, begin + QUERY_BLOCK)
        columns = slice(max(0, begin - reach + 1), min(length, begin + QUERY_BLOCK + ahead))
        scores = jnp.einsum("bkgth,bkhs->bkgts", q[:, :, :, rows], k[..., columns])
        probabilities = jax.nn.softmax(scores + jnp.where(mask[:, None, None, rows, columns], 0.0, -1e9), axis=-1)
        parts.append(jnp.einsum("bkgts,bksh->bkgth", probabilities, v[:, :, columns]))
    mixed = jnp.concatenate(parts, axis=3).transpose(0, 3, 1, 2, 4).reshape(batch, length, heads * size)
    return linear(params, f"blk.{layer}.attn_output", mixed)


def block(config: Config, layer: int, ahead: int, linear: Linear, params: Params, x: jax.Array, mask: jax.Array) -> jax.Array:
    """One transformer block, residuals included."""
    epsilon, name = config.rms_epsilon, f"blk.{layer}."
    mixed = attention(config, params, layer, rms_norm(x, params[name + "attn_norm"], epsilon), mask, ahead, linear)
    x = x + rms_norm(mixed, params[name + "post_attention_norm"], epsilon)
    h = rms_norm(x, params[name + "ffn_norm"], epsilon)
    h = jax.nn.gelu(linear(params, name + "ffn_gate", h), approximate=True) * linear(params, name + "ffn_up", h)
    return x + rms_norm(linear(params, name + "ffn_down", h), params[name + "post_ffw_norm"], epsilon)


def hidden_states(config: Config, params: Params, tokens: jax.Array, segments: jax.Array, images: jax.Array | None = None,
                  soft: jax.Array | None = None, linear: Linear = plain, again: bool = False) -> jax.Array:
    """Final normalised states [batch, length, embedding_length]. Tokens attend within their segment only.

    `images` [batch, length] numbers the rows of images (0: text); rows of one image, at most IMAGE_ROWS, see each other both ways. `soft`
    [batch, length, embedding_length] replaces the scaled embeddings of those rows; without it their tokens' own stand for them.
    `again` computes each block a second time for its gradient instead of keeping what is inside it.
    """
    position = jnp.arange(tokens.shape[1])
    causal = position[:, None] >= position[None, :]
    near = position[:, None] - position[None, :] < config.sliding_window
    same = segments[:, :, None] == segments[:, None, :]
    x = params["token_embd"][tokens].astype(jnp.float32) * config.embedding_length**0.5
    together, ahead = jnp.zeros((), bool), 0
    if images is not None:
        together, ahead = same & (images[:, :, None] == images[:, None, :]) & (images > 0)[:, :, None], IMAGE_ROWS
        if soft is not None:
            x = jnp.where((images > 0)[:, :, None], soft, x)
    for layer in range(config.block_count):
        mask = (same & causal if config.is_global(layer) else same & causal & near) | together
        step = partial(block, config, layer, ahead, linear)
        x = (jax.checkpoint(step) if again else step)(params, x, mask)
    return rms_norm(x, params["output_norm"], config.rms_epsilon)


def logits(config: Config, params: Params, tokens: jax.Array, segments: jax.Array, images: jax.Array | None = None,
           soft: jax.Array | None = None, linear: Linear = plain) -> jax.Array:
    return linear(params, "token_embd", hidden_states(config, params, tokens, segments, images, soft, linear))


def loss(config: Config, params: Params, batch: dict[str, jax.Array], linear: Linear = plain) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted mean cross-entropy in nats, with the means over answers and over context apart."""
    scores = logits(config, params, batch["tokens"], batch["segments"], batch.get("images"), batch.get("soft"), linear)[:, :-1]
    targets, weights = batch["tokens"][:, 1:], batch["weights"][:, 1:]
    normaliser = jax.nn.logsumexp(scores, axis=-1)
    score = jnp.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    nats = normaliser - score
    answer = weights == 1.0
    context = (weights > 0) & ~answer

    def mean(value: jax.Array, chosen: jax.Array) -> jax.Array:
        return jnp.sum(value * chosen) / jnp.maximum(jnp.sum(chosen), 1.0)

    total = jnp.sum((nats + 1e-4 * normaliser**2) * weights) / jnp.maximum(jnp.sum(weights), 1.0)
    right = score == jnp.max(scores, axis=-1)
    return total, {"answers": mean(nats, answer), "right": mean(right, answer), "context": mean(nats, context)}
