import jax
import jax.numpy as jnp
import numpy as np

from pipeline import model
from pipeline.model import Config

CONFIG = Config(vocabulary=64, embedding_length=32, block_count=2, head_count=2, key_length=32, feed_forward_length=64, sliding_window=8, sliding_pattern=2)


def ids(seed: int, length: int = 24) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), (1, length), 0, 64)


def test_blocks_of_queries_change_nothing(monkeypatch):
    params = model.init(CONFIG, jax.random.key(0))
    tokens = ids(1)
    whole = model.logits(CONFIG, params, tokens, jnp.ones_like(tokens))
    monkeypatch.setattr(model, "QUERY_BLOCK", 5)
    blocked = model.logits(CONFIG, params, tokens, jnp.ones_like(tokens))
    np.testing.assert_allclose(whole, blocked, rtol=2e-4, atol=2e-4)


def test_segments_and_the_future_are_invisible():
    params = model.init(CONFIG, jax.random.key(0))
    tokens = ids(2)
    segments = jnp.where(jnp.arange(24) < 10, 1, 2)[None]
    before = model.logits(CONFIG, params, tokens, segments)
    changed = tokens.at[0, 0].set((tokens[0, 0] + 1) % 64).at[0, 23].set((tokens[0, 23] + 1) % 64)
    after = model.logits(CONFIG, params, changed, segments)
    np.testing.assert_allclose(before[0, 10:23], after[0, 10:23], rtol=1e-5, atol=1e-5)
    assert not np.allclose(before[0, 1:10], after[0, 1:10])


def test_a_local_layer_sees_its_window_only():
    local = Config(**{**CONFIG.__dict__, "sliding_pattern": 99, "block_count": 1})
    params = model.init(local, jax.random.key(0))
    tokens = ids(3)
    changed = tokens.at[0, 4].set((tokens[0, 4] + 1) % 64)
    before, after = (model.logits(local, params, t, jnp.ones_like(t)) for t in (tokens, changed))
    assert not np.allclose(before[0, 11], after[0, 11])
    np.testing.assert_allclose(before[0, 12:], after[0, 12:], rtol=1e-5, atol=1e-5)


def test_products_in_bf16_keep_the_loss_and_its_gradients():
    params = model.init(CONFIG, jax.random.key(0))
    tokens = ids(4)
    batch = {"tokens": tokens, "segments": jnp.ones_like(tokens), "weights": jnp.ones(tokens.shape)}
    (exact, _), gradients = jax.value_and_grad(lambda p: model.loss(CONFIG, p, batch), has_aux=True)(params)
    (half, _), rounded = jax.value_and_grad(lambda p: model.loss(CONFIG, p, batch, model.half), has_aux=True)(params)
    assert exact != half
    np.testing.assert_allclose(exact, half, rtol=0.01)
    for name in ("blk.0.ffn_up", "blk.1.attn_k", "token_embd"):
        assert float(jnp.linalg.norm(gradients[name] - rounded[name]) / jnp.linalg.norm(gradients[name])) < 0.05, name
