import jax
import jax.numpy as jnp
import pytest

from pipeline import model
from pipeline.copy_init import with_copying_heads
from pipeline.model import Config, Params

CONFIG = Config(vocabulary=512, embedding_length=160, block_count=2, head_count=2, key_length=64, feed_forward_length=64)


def nats_of_repeats(params: Params) -> float:
    """Mean loss on the second half of random pieces said twice."""
    pieces = jax.random.randint(jax.random.key(5), (2, 60), 0, CONFIG.vocabulary)
    tokens = jnp.concatenate([pieces, pieces], axis=1)
    scores = model.logits(CONFIG, params, tokens, jnp.ones_like(tokens))[:, 65:-1]
    return float((jax.nn.logsumexp(scores, axis=-1) - jnp.take_along_axis(scores, tokens[:, 66:, None], axis=-1)[..., 0]).mean())


def test_the_untrained_model_already_copies():
    params = model.init(CONFIG, jax.random.key(1))
    assert nats_of_repeats(with_copying_heads(CONFIG, params)) < nats_of_repeats(params) - 1.5


def test_shapes_without_room_are_refused():
    small = Config(vocabulary=64, embedding_length=64, block_count=2, head_count=2, key_length=32, feed_forward_length=64)
    with pytest.raises(ValueError, match="at least 128"):
        with_copying_heads(small, model.init(small, jax.random.key(1)))
