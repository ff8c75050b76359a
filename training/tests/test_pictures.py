import json
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pipeline import model, qat
from pipeline.batches import Corpus, Stage, batch
from pipeline.model import Config
from pipeline.index_block import IndexFact
from pipeline.pictures import CELLS, CLASSES, GRAPHS, GRID, KINDS, SLOT_COLUMNS, UNREADABLE, any_picture, compose, neighbours, picture_example
from pipeline.prompt_form import RULES
from pipeline.soft_pool import SoftPool
from pipeline.tokenizer import Tokenizer

TOKENIZER = Tokenizer()
CONFIG = Config(vocabulary=64, embedding_length=32, block_count=2, head_count=2, key_length=32, feed_forward_length=64, sliding_window=300, sliding_pattern=2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cells_in_reading_order_are_the_answer(kind):
    for seed in range(60):
        picture = compose(kind, 2 + seed % 5, random.Random(seed))
        said = [cell for cell in picture.cells if cell is not None]
        words = [word for word in said[1:] if word != "\n"]
        answer = picture.answer.split("\n")
        assert said[0] == kind
        assert answer[0] == f"{KINDS[kind]}:"
        rest = "\n".join(answer[1:])
        at = 0
        for word in words:
            at = rest.index(word, at) + len(word)
        assert len(words) == sum(len(line.replace(" -> ", " ").replace(" in ", " ").translate(str.maketrans("|:.(", "    ", ")")).split()) for line in answer[1:])


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_are_connected_and_join_neighbours(kind):
    for seed in range(60):
        picture = compose(kind, 2 + seed % 5, random.Random(seed))
        assert len(picture.nodes) == 2 + seed % 5 == len(set(picture.nodes.values()))
        reached = {next(iter(picture.nodes))}
        for _ in picture.nodes:
            reached |= {b for edge in picture.edges if reached & set(edge) for b in edge}
        assert reached == set(picture.nodes)
        for a, b in picture.edges:
            assert picture.nodes[b] in neighbours(picture.nodes[a])
            column, row = picture.nodes[a]
            said = [picture.cells[(1 + 2 * row + i) * 2 * SLOT_COLUMNS + 2 * column + 1] for i in (0, 1)]
            assert b in said


def test_an_example_holds_one_image_of_soft_rows():
    tokenizer, picture = TOKENIZER, compose("flow", 4, random.Random(1))
    ids, weights, soft = picture_example(tokenizer, picture, list(range(500, 500 + CELLS)), "Describe this image.")
    assert len(ids) == len(weights) == len(soft)
    begin, end = ids.index(tokenizer.control["<start_of_image>"]), ids.index(tokenizer.control["<end_of_image>"])
    assert end - begin - 1 == CELLS == sum(soft)
    assert soft[begin + 1:end] == [1] * CELLS
    assert ids[begin + 1:end] == list(range(500, 500 + CELLS))
    answer = [token for token, weight in zip(ids, weights, strict=True) if weight]
    assert answer[-2:] == [tokenizer.control["<end_of_turn>"], *tokenizer.encode("\n")]


def test_an_image_in_a_repository_stands_between_files_and_facts():
    tokenizer = TOKENIZER
    facts = [IndexFact("image", "defined", "a.ts", 3, "const image = 1;")]
    ids, _, soft = picture_example(tokenizer, compose("flow", 4, random.Random(1)), [5] * CELLS, "Describe this image.", "=== a.ts\n1| x", facts)
    begin = soft.index(1)
    assert tokenizer.decode(ids[:begin - 1]).endswith(f"{RULES}\n\n=== a.ts\n1| x\n\n")
    assert tokenizer.decode(ids[begin + CELLS + 1:]).startswith("\n\nIndex:\n`image` is defined in a.ts:3| const image = 1;\n\nQuestion: Describe this image.")


@pytest.mark.parametrize("kind", ["code", "error", "bar"])
def test_words_and_values_are_said_in_the_cell_where_they_begin(kind):
    for seed in range(20):
        picture = compose(kind, 4, random.Random(seed))
        if picture.upright:
            continue
        for row, (first, second) in enumerate(picture.rows, 1):
            line = picture.cells[row * GRID:(row + 1) * GRID]
            assert [cell for cell in line if cell] == [first, second]
            letters = {"code": (len(picture.head), len(f"{picture.head}{first}(")), "error": (0, len(f"{first}: ")) if row == 1 else (5, len(f"  at {first} ("))}
            expected = [(8 + 8 * n) // 32 for n in letters[kind]] if kind != "bar" else [0, (64 + 16 * int(second) + 4) // 32]
            assert [line.index(first), len(line) - 1 - line[::-1].index(second)] == expected


def test_without_a_kind_nothing_is_read():
    answers = {any_picture(random.Random(seed)).answer for seed in range(200) if any_picture(random.Random(seed)).cells[0] is None}
    assert answers == {UNREADABLE}


def test_a_batch_gives_images_the_soft_tokens_of_their_pool(corpus_file, tmp_path):
    wanted = np.random.default_rng(1).standard_normal((len(CLASSES), 8)).astype(np.float32)
    soft = np.full((2, CELLS, 8), 3.0, np.float16)
    np.savez(tmp_path / "pool.npz", wanted=wanted, soft=soft, answers=json.dumps(["Table:\nload | parse", UNREADABLE]))
    stage = Stage(until=1.01, length=512, rows=4, characters=(60, 240), code=(150, 400), turns=(1, 3), chat=0.6, middle=0.2, pictures=0.6)
    data = batch(Corpus(corpus_file, "train"), TOKENIZER, stage, 1, 1, SoftPool(tmp_path / "pool.npz"))
    assert data["soft"].shape == (4, 512, 8)
    seen = data["images"] > 0
    assert seen.sum() >= 4 * CELLS
    assert seen.sum() % CELLS == 0
    assert not data["soft"][~seen].any()
    assert (np.abs(data["soft"][seen]).sum(axis=-1) > 0).all()
    assert set(data["tokens"][seen].tolist()) == {TOKENIZER.control["<image_soft_token>"]}
    assert (data["soft"][seen] == 3.0).all(axis=-1).any()


def test_rounding_learns_what_is_said_of_pictures_from_the_right_answers():
    params = model.init(CONFIG, jax.random.key(3))
    tokens = jax.random.randint(jax.random.key(4), (1, 40), 0, 64)
    segments = jnp.ones((1, 40), jnp.int32).at[0, 20:].set(2)
    images = jnp.zeros((1, 40), jnp.int32).at[0, 22:30].set(1)
    data = {"tokens": tokens, "segments": segments, "images": images, "weights": jnp.zeros((1, 40)).at[0, 10:20].set(1.0).at[0, 34:40].set(1.0), "teacher": params}
    assert np.asarray(qat.of_pictures(data))[0].tolist() == [False] * 20 + [True] * 20
    _, parts = qat.distillation(CONFIG, params, data)
    assert float(parts["answers"]) < 0.1  # the teacher is the same model, unrounded
    assert float(parts["pictures"]) > 1.0  # its own answers would be nothing to learn; the right ones are
    taught = jax.grad(lambda p: qat.distillation(CONFIG, p, data)[0])(params)
    stepped = {name: value - 0.3 * taught[name] for name, value in params.items()}
    assert float(qat.distillation(CONFIG, stepped, data)[1]["pictures"]) < float(parts["pictures"])


def test_rows_of_one_image_see_each_other_also_across_blocks_of_queries(monkeypatch):
    params = model.init(CONFIG, jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (1, 100), 0, 64)
    images = jnp.zeros((1, 100), jnp.int32).at[0, 20:60].set(1).at[0, 62:80].set(2)
    one = jnp.ones_like(tokens)
    whole = model.logits(CONFIG, params, tokens, one, images)
    monkeypatch.setattr(model, "QUERY_BLOCK", 16)
    np.testing.assert_allclose(whole, model.logits(CONFIG, params, tokens, one, images), rtol=2e-4, atol=2e-4)
    changed = model.logits(CONFIG, params, tokens.at[0, 59].set((tokens[0, 59] + 1) % 64), one, images)
    np.testing.assert_allclose(whole[0, :20], changed[0, :20], rtol=2e-4, atol=2e-4)
    assert float(jnp.abs(whole[0, 20] - changed[0, 20]).max()) > 1e-3
    soft = params["token_embd"][tokens] * CONFIG.embedding_length**0.5
    np.testing.assert_allclose(whole, model.logits(CONFIG, params, tokens, one, images, soft), rtol=2e-4, atol=2e-4)
