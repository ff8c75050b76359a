import random

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pipeline import export_tower, tower, train_tower
from pipeline.diagrams import SIDE, draw
from pipeline.fill_pool import make
from pipeline.pictures import CELLS, CLASS, CLASSES, GRID, KINDS, UNREADABLE, compose, other
from pipeline.soft_pool import SoftPool
from pipeline.tokenizer import Tokenizer
from pipeline.tower import TowerConfig

CONFIG = TowerConfig(embedding_length=64, block_count=1, head_count=2, feed_forward_length=64)
WANTED = np.random.default_rng(7).standard_normal((len(CLASSES), 48)).astype(np.float32)


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


def test_the_first_heads_look_at_their_places():
    config = TowerConfig()
    query, key = tower.look(config.side, config.embedding_length, 32, (1, -2))
    places = tower.positions(config.side, config.embedding_length)
    scores = (places @ query.T) @ (places @ key.T).T
    at = 5 * config.side + 7
    assert int(np.argmax(scores[at])) == 6 * config.side + 5
    assert float(np.sort(scores[at])[-1] - np.sort(scores[at])[-2]) > 20  # 20 * 32**-0.5 nats ahead of the next


def test_pictures_of_no_kind_say_nothing():
    picture = other()
    assert picture.cells == [None] * CELLS
    drawn = [np.asarray(draw(picture, random.Random(seed))) for seed in range(8)]
    assert all(image.std() > 1 for image in drawn if len(np.unique(image)) > 3)
    assert len({image.tobytes() for image in drawn}) == 8


def test_targets_name_every_node_and_edge():
    picture = compose("flow", 6, random.Random(3))
    names, directions = train_tower.helpers(picture)
    assert {CLASSES[c] for c in names if c} == set(picture.nodes)
    assert int((directions > 0).sum()) == len(picture.edges)
    cells = [CLASS[cell] for cell in picture.cells]
    assert all(cells[i] > 0 for i in np.flatnonzero(directions))
    assert len(cells) == GRID * GRID


def test_a_resumed_run_learns_on(tmp_path, monkeypatch):
    monkeypatch.setattr(train_tower, "BATCH", 4)
    params = train_tower.init(CONFIG, 1, WANTED.shape[1])
    train_tower.run_training(tmp_path, CONFIG, params, WANTED, 60, seed=1, stop_after=10)
    trained = train_tower.run_training(tmp_path, CONFIG, params, WANTED, 60, seed=1, stop_after=60)
    data = {**train_tower.make_batch(1, 1000, 0.0), "wanted": WANTED}
    before, after = (float(train_tower.loss(CONFIG, p, data)[0]) for p in (params, trained))
    assert after < 0.8 * before


def test_a_cell_says_the_piece_whose_embedding_is_nearest():
    scores = np.asarray(train_tower.scores_of(jnp.asarray(WANTED + 0.1), WANTED))
    assert np.argmax(scores, axis=-1).tolist() == list(range(len(CLASSES)))
    distance = ((WANTED[:, None] - WANTED[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(np.asarray(train_tower.scores_of(jnp.asarray(WANTED), WANTED)), -train_tower.SHARPNESS * distance / distance.mean(), atol=2e-2)


def test_more_blocks_change_nothing_at_first_and_look_at_their_places():
    config = TowerConfig(block_count=5)
    sample = train_tower.make_batch(1, 0, 1.0)["pixels"][:4]
    params = tower.init(config, jax.random.key(0), 48, sample)
    grown, more = tower.with_blocks(config, params, 6, sample)
    assert grown.block_count == 6
    np.testing.assert_allclose(tower.soft_tokens(config, params, sample), tower.soft_tokens(grown, more, sample), atol=1e-4)
    x = tower.normalised(tower.stream(config, params, sample), config.epsilon)
    side, size = config.side, config.embedding_length // config.head_count
    for head, (down, right) in enumerate(tower.LOOKS[5]):
        rows = slice(head * size, (head + 1) * size)
        query, key = (x @ more[f"v.blk.5.attn_{name}.weight"][rows].T for name in "qk")
        best = np.asarray(jnp.argmax(query @ key.transpose(0, 2, 1), axis=-1))
        inside = [(y, z) for y in range(side) for z in range(side) if 0 <= y + down < side and 0 <= z + right < side]
        hits = np.mean([best[:, y * side + z] == (y + down) * side + z + right for y, z in inside])
        assert hits > 0.7


def test_a_pool_keeps_what_the_tower_reads_and_declines_what_it_cannot(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.fill_pool.BATCH", 4)
    params = {n: np.asarray(v) for n, v in train_tower.init(CONFIG, 1, 48).items() if n.startswith(("v.", "mm."))}
    figures = make(CONFIG, params, WANTED, 8, tmp_path / "pool.npz")
    assert figures["pictures"] == 8
    pool = SoftPool(tmp_path / "pool.npz")
    assert pool.soft.shape == (8, CELLS, 48)
    assert set(pool.answers) == {UNREADABLE}  # an untrained tower reads nothing
    drawn = [pool.draw(random.Random(seed)) for seed in range(60)]
    assert all(soft.shape == (CELLS, 48) for _, soft in drawn)
    made = [(picture, soft) for picture, soft in drawn if picture.kind != "drawn" and picture.kind != "other"]
    assert 5 < len(made) < 50
    nearest = [np.argmax(np.asarray(train_tower.scores_of(jnp.asarray(soft), WANTED)), axis=-1) for _, soft in made]
    assert np.mean([[CLASSES[c] for c in found] == picture.cells for (picture, _), found in zip(made, nearest, strict=True)]) > 0.5


def test_the_file_holds_the_tower_with_a_projection_that_says_pieces(tmp_path):
    tokenizer = Tokenizer()
    embedding = np.random.default_rng(5).standard_normal((tokenizer.size, 48)).astype(np.float32)
    wanted = train_tower.class_embeddings({"token_embd": embedding}, tokenizer)
    np.testing.assert_allclose(wanted[0], embedding[tokenizer.control["<image_soft_token>"]] * 48**0.5, rtol=1e-6)
    params = {n: v for n, v in train_tower.init(CONFIG, 1, 48).items() if n.startswith(("v.", "mm."))}
    projection = train_tower.fit_projection(CONFIG, params, wanted, batches=2)
    data = train_tower.make_batch(-1, 0, 1.0)
    states = np.asarray(tower.pooled(CONFIG, params, data["pixels"]))
    weight = np.where(data["cells"] > 0, 1.0, train_tower.EMPTY_WEIGHT)[..., None]

    def error(matrix: np.ndarray) -> float:
        return float((weight * (states @ matrix - wanted[data["cells"]]) ** 2).sum())

    assert error(projection) < error(np.zeros_like(projection))
    assert error(projection) < error(np.asarray(params["mm.input_projection.weight"]))
    params["mm.input_projection.weight"] = projection
    out = tmp_path / "tower.gguf"
    export_tower.write_mmproj(CONFIG, {n: np.asarray(v) for n, v in params.items()}, out)
    config, read = export_tower.read_mmproj(out)
    assert config == CONFIG
    assert set(read) == set(params)
    written, again = (np.asarray(tower.soft_tokens(CONFIG, p, data["pixels"][:2])) for p in (params, read))
    assert np.linalg.norm(written - again) < 5e-3 * np.linalg.norm(written)
    raw = {tensor.name: tensor for tensor in gguf.GGUFReader(out).tensors}
    np.testing.assert_allclose(raw["mm.soft_emb_norm.weight"].data, 1.0 + np.asarray(params["mm.soft_emb_norm.weight"]), rtol=1e-6)
    assert raw["mm.input_projection.weight"].shape.tolist() == [48, 64]
    assert raw["v.patch_embd.weight"].shape.tolist() == [16, 16, 3, 64]
