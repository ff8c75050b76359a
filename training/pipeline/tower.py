"""Gemma 3's image tower in plain JAX: SigLIP blocks over patches, average pooling, RMSNorm and a projection.

The recipe of Gemma 3 at any size: pixels in [-1, 1], patches in row order (channel, y, x), learnt positions, pre-LayerNorm blocks with
biases and tanh-GELU, a last LayerNorm, pooling of `pool` x `pool` patches, then the soft tokens. Names are llama.cpp's; `mm.soft_emb_norm`
is kept without the 1 that the file carries.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pipeline.model import Params


Product = Callable[[jax.Array, jax.Array], jax.Array]  # ([..., inputs], [outputs, inputs]) to [..., outputs]


def exact(x: jax.Array, weight: jax.Array) -> jax.Array:
    return x @ weight.T


@dataclass(frozen=True)
class TowerConfig:
    """Shape of the tower; names follow the `clip.vision` keys."""

    image_size: int = 256
    patch_size: int = 16
    embedding_length: int = 128
    block_count: int = 6
    head_count: int = 4
    feed_forward_length: int = 512
    pool: int = 2
    epsilon: float = 1e-6

    @property
    def side(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        return (self.side // self.pool) ** 2

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "TowerConfig":
        return cls(**json.loads(path.read_text()))


POSITION_SCALE = 6.0  # of a row's or column's code, beside contents of about 1 in each dimension
SHARPNESS = 1.2  # of queries and keys that look for a place
SHARPER = 1.6  # in a block that is added to a trained tower, where the places are only fitted
# Where the heads of each block look at first, in patches (down, right): along a word, around, and at the neighbours of a box in a graph; in the
# last block from the place of an edge at the names of those neighbours.
LOOKS = (((0, 1), (0, 2), (0, 3), (0, -1)), ((0, 1), (0, -1), (1, 0), (-1, 0)), ((0, 2), (0, -2), (2, 0), (-2, 0)),
         ((0, 4), (0, -4), (4, 0), (-4, 0)), ((4, 4), (4, -4), (-4, 4), (-4, -4)), ((0, 2), (0, -6), (4, -2), (-4, -2)))


def codes(side: int) -> np.ndarray:
    """Orthonormal codes of the places along a side, [side, side]: cosines of growing frequency."""
    place, frequency = np.arange(side)[:, None], np.arange(side)[None, :]
    wave = np.cos(np.pi * (place + 0.5) * frequency / side)
    return (wave / np.linalg.norm(wave, axis=0)).astype(np.float32)


def positions(side: int, width: int) -> np.ndarray:
    """Codes of row and column in the last dimensions, [side * side, width]: where the learnt positions begin."""
    code = codes(side) * POSITION_SCALE
    result = np.zeros((side * side, width), np.float32)
    result[:, -2 * side:-side], result[:, -side:] = np.repeat(code, side, axis=0), np.tile(code, (side, 1))
    return result


def look(side: int, width: int, size: int, offset: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Query and key matrices [size, width] of a head that looks `offset` patches away; `size` is at least twice `side`."""
    code = codes(side)
    query, key = np.zeros((size, width), np.float32), np.zeros((size, width), np.float32)
    for axis, step in enumerate(offset):
        at, to = slice(axis * side, (axis + 1) * side), slice(width - (2 - axis) * side, width - (1 - axis) * side or None)
        query[at, to] = SHARPNESS * code.T @ np.eye(side, k=-step, dtype=np.float32) @ code
        key[at, to] = SHARPNESS * np.eye(side)
    return query, key


def patches(config: TowerConfig, pixels: jax.Array) -> jax.Array:
    """[batch, height, width, 3] bytes to [batch, patches, 3 * patch * patch] in [-1, 1]."""
    side, patch = config.side, config.patch_size
    x = (pixels.astype(jnp.float32) / 255.0 - 0.5) / 0.5
    x = x.reshape(-1, side, patch, side, patch, 3).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(-1, side * side, 3 * patch * patch)


def init(config: TowerConfig, key: jax.Array, text_width: int, sample: np.ndarray) -> Params:
    """Random weights; the patch embedding begins as the whitened principal components of `sample` (bytes, as `patches` takes them).

    Dimensions are kept free for positions, and where heads are large enough those of the first blocks look at places (LOOKS), as the
    kernels of a convolution do: the pictures at hand are few.
    """
    width, hidden = config.embedding_length, config.feed_forward_length
    values = np.asarray(patches(config, jnp.asarray(sample))).reshape(-1, 3 * config.patch_size**2)
    mean = values.mean(axis=0)
    strength, axes = np.linalg.eigh(np.cov(values - mean, rowvar=False))
    free = width - 2 * config.side
    kernel = np.zeros((width, values.shape[1]), np.float32)
    kernel[:free] = (axes[:, ::-1][:, :free] / np.sqrt(np.maximum(strength[::-1][:free], 1e-3 * strength[-1]))).T
    keys = iter(jax.random.split(key, 1 + config.block_count))
    params: Params = {"v.patch_embd.weight": jnp.asarray(kernel, jnp.float32), "v.patch_embd.bias": jnp.asarray(-kernel @ mean, jnp.float32),
                      "v.position_embd.weight": jnp.asarray(positions(config.side, width))}
    for layer in range(config.block_count):
        params |= new_block(config, next(keys), layer, np.eye(width, dtype=np.float32)[-2 * config.side:])
    params |= {"v.post_ln.weight": jnp.ones(width), "v.post_ln.bias": jnp.zeros(width), "mm.soft_emb_norm.weight": jnp.zeros(width)}
    params["mm.input_projection.weight"] = jax.random.normal(next(keys), (width, text_width)) * width**-0.5
    return params


def new_block(config: TowerConfig, key: jax.Array, layer: int, places: np.ndarray, output: float = 0.3) -> Params:
    """Random weights of a block, those that write into the stream scaled by `output`; its heads look at places where LOOKS knows of any.

    `places` [2 * side, width] takes the codes of row and column from what the block sees.
    """
    width, hidden, block = config.embedding_length, config.feed_forward_length, f"v.blk.{layer}."
    keys = iter(jax.random.split(key, 6))
    params: Params = {}
    for norm in ("ln1", "ln2"):
        params |= {f"{block}{norm}.weight": jnp.ones(width), f"{block}{norm}.bias": jnp.zeros(width)}
    for name, outputs, inputs in (("attn_q", width, width), ("attn_k", width, width), ("attn_v", width, width), ("attn_out", width, width),
                                  ("ffn_up", hidden, width), ("ffn_down", width, hidden)):
        scale = output if name in ("attn_out", "ffn_down") else 1.0
        params[f"{block}{name}.weight"] = jax.random.normal(next(keys), (outputs, inputs)) * (scale * inputs**-0.5)
        params[f"{block}{name}.bias"] = jnp.zeros(outputs)
    size = width // config.head_count
    for head, offset in enumerate(LOOKS[layer][:config.head_count] if layer < len(LOOKS) and size >= 2 * config.side else ()):
        rows = slice(head * size, (head + 1) * size)
        for name, matrix in zip("qk", look(config.side, 2 * config.side, size, offset), strict=True):
            params[f"{block}attn_{name}.weight"] = params[f"{block}attn_{name}.weight"].at[rows].set(matrix @ places)
    return params


def with_blocks(config: TowerConfig, params: Params, count: int, sample: np.ndarray, seed: int = 0) -> tuple[TowerConfig, Params]:
    """The tower with more blocks at its end, which at first change nothing; where they see row and column is fitted to `sample` (bytes)."""
    while config.block_count < count:
        x = stream(config, params, jnp.asarray(sample))
        x = np.asarray(normalised(x, config.epsilon)).reshape(-1, config.embedding_length)
        code = SHARPER * np.tile(positions(config.side, 2 * config.side), (len(sample), 1))
        places = np.linalg.solve(x.T @ x + 1e-3 * len(x) * np.eye(x.shape[1]), x.T @ code).T.astype(np.float32)
        params = {**params, **new_block(config, jax.random.key(seed + config.block_count), config.block_count, places, 0.0)}
        config = replace(config, block_count=config.block_count + 1)
    return config, params


def is_linear(name: str) -> bool:
    """True for the matrices of the blocks."""
    return name.startswith("v.blk.") and name.endswith(".weight") and ".ln" not in name


def normalised(x: jax.Array, epsilon: float) -> jax.Array:
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + epsilon)


def layer_norm(x: jax.Array, params: Params, name: str, epsilon: float) -> jax.Array:
    return normalised(x, epsilon) * params[f"{name}.weight"] + params[f"{name}.bias"]


def linear(x: jax.Array, params: Params, name: str, product: Product = exact) -> jax.Array:
    return product(x, params[f"{name}.weight"]) + params[f"{name}.bias"]


def attention(config: TowerConfig, params: Params, block: str, x: jax.Array, product: Product = exact) -> jax.Array:
    batch, length, width = x.shape
    heads = config.head_count
    q, k, v = (linear(x, params, f"{block}attn_{n}", product).reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3) for n in "qkv")
    probabilities = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) * (width // heads) ** -0.5, axis=-1)
    return linear((probabilities @ v).transpose(0, 2, 1, 3).reshape(batch, length, width), params, f"{block}attn_out", product)


def stream(config: TowerConfig, params: Params, pixels: jax.Array, product: Product = exact) -> jax.Array:
    """What the blocks leave for each patch, [batch, patches, embedding_length], of byte pixels [batch, size, size, 3]."""
    x = linear(patches(config, pixels), params, "v.patch_embd") + params["v.position_embd.weight"]
    for layer in range(config.block_count):
        block = f"v.blk.{layer}."
        x = x + attention(config, params, block, layer_norm(x, params, block + "ln1", config.epsilon), product)
        h = jax.nn.gelu(linear(layer_norm(x, params, block + "ln2", config.epsilon), params, block + "ffn_up", product), approximate=True)
        x = x + linear(h, params, block + "ffn_down", product)
    return x


def pooled(config: TowerConfig, params: Params, pixels: jax.Array, product: Product = exact) -> jax.Array:
    """Normalised pooled states [batch, tokens, embedding_length] of byte pixels [batch, size, size, 3]."""
    x = layer_norm(stream(config, params, pixels, product), params, "v.post_ln", config.epsilon)
    side, pool, width = config.side // config.pool, config.pool, config.embedding_length
    x = x.reshape(-1, side, pool, side, pool, width).mean(axis=(2, 4)).reshape(-1, side * side, width)
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + config.epsilon) * (1.0 + params["mm.soft_emb_norm.weight"])


def soft_tokens(config: TowerConfig, params: Params, pixels: jax.Array) -> jax.Array:
    """What the text model reads in place of embeddings, [batch, tokens, text width]; not scaled further."""
    return pooled(config, params, pixels) @ params["mm.input_projection.weight"]
