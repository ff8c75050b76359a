import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pipeline import tower, train_tower
from pipeline.diagrams import SIDE, draw
from pipeline.pictures import CELLS, GRID, KINDS, compose
from pipeline.tower import TowerConfig

CONFIG = TowerConfig(embedding_length=32, block_count=1, head_count=2, feed_forward_length=64)


@pytest.mark.parametrize("kind", KINDS)
def test_drawings_differ_and_depend_on_their_seed_alone(kind):
    picture = compose(kind, 4, random.Random(1))
    first, again, other = (np.asarray(draw(picture, random.Random(seed))) for seed in (1, 1, 2))
    assert first.shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert draw(picture, random.Random(1), 2).size == (2 * SIDE, 2 * SIDE)


def test_patches_and_soft_tokens_go_row_by_row():
    params = tower.init(CONFIG, jax.random.key(0), 48, np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8))
    pixels = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    pixels[0, 16, 32, 1] = 255  # second row of patches, third column; green, first row and column within
    cut = np.asarray(tower.patches(CONFIG, jnp.asarray(pixels)))
    assert np.argwhere(cut > 0).tolist() == [[0, 16 + 2, 256]]
    alone = TowerConfig(**{**CONFIG.__dict__, "block_count": 0})
    empty, marked = (np.asarray(tower.soft_tokens(alone, params, jnp.asarray(p))) for p in (np.zeros_like(pixels), pixels))
    assert marked.shape == (1, CELLS, 48)
    assert np.argwhere(np.abs(empty - marked).max(axis=-1)[0] > 1e-6).tolist() == [[1]]


def test_targets_name_every_node_and_edge():
    picture = compose("flow", 6, random.Random(3))
    names, directions = train_tower.helpers(picture)
    assert {train_tower.CLASSES[c] for c in names if c} == set(picture.nodes)
    assert int((directions > 0).sum()) == len(picture.edges)
    cells = [train_tower.CLASS[cell] for cell in picture.cells]
    assert all(cells[i] > 0 for i in np.flatnonzero(directions))
    assert len(cells) == GRID * GRID


def test_a_resumed_run_learns_on(tmp_path, monkeypatch):
    monkeypatch.setattr(train_tower, "BATCH", 4)
    params = train_tower.init(CONFIG, 1)
    train_tower.run_training(tmp_path, CONFIG, params, 60, seed=1, stop_after=10)
    trained = train_tower.run_training(tmp_path, CONFIG, params, 60, seed=1, stop_after=60)
    data = train_tower.make_batch(1, 1000, 0.0)
    before, after = (float(train_tower.loss(CONFIG, p, data)[0]) for p in (params, trained))
    assert after < 0.8 * before
