import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pipeline import model
from pipeline.grow import with_blocks, with_heads
from pipeline.model import Config

CONFIG = Config(vocabulary=64, embedding_length=32, block_count=2, head_count=4, key_length=32, feed_forward_length=64, sliding_window=8, sliding_pattern=2)


def scores(config, params):
    tokens = jax.random.randint(jax.random.key(1), (1, 24), 0, 64)
    return np.asarray(model.logits(config, params, tokens, jnp.ones_like(tokens)))


def test_repeated_key_value_heads_change_nothing():
    params = model.init(CONFIG, jax.random.key(0))
    config, grown = with_heads(CONFIG, params, 2)
    assert grown["blk.0.attn_k"].shape == (64, 32)
    np.testing.assert_allclose(scores(config, grown), scores(CONFIG, params), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="3 key/value heads"):
        with_heads(CONFIG, params, 3)


def test_new_blocks_are_almost_silent():
    params = model.init(CONFIG, jax.random.key(0))
    config, grown = with_blocks(CONFIG, params, 3)
    before, after = scores(CONFIG, params), scores(config, grown)
    assert set(grown) == set(model.init(config, jax.random.key(0)))
    assert 0 < np.abs(after - before).mean() < 0.3 * np.abs(before).mean()
