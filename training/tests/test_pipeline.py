"""The whole pipeline in miniature: vocabulary, training and QAT, each with a kill and a resume, export, evaluation by the product's engine."""

import json
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from pipeline import evaluate, export, model, qat, scaling, train_tower
from pipeline.batches import Corpus, Stage
from pipeline.export_tower import write_mmproj
from pipeline.model import Config
from pipeline.ngram import CopyingNgram
from pipeline.repository import Asked
from pipeline.tokenizer import Tokenizer, train
from pipeline.tower import TowerConfig
from pipeline.train import Limits, read_progress, run_training

ROOT = Path(__file__).resolve().parents[2]
NODE = ROOT / "node_modules" / "node" / "bin" / "node"
CONFIG = Config(vocabulary=928, embedding_length=32, block_count=6, head_count=2, key_length=32, feed_forward_length=64, sliding_window=128)
STAGES = (Stage(until=1.01, length=256, rows=2, characters=(150, 350), code=(150, 350), turns=(1, 3), chat=0.6, middle=0.2, pictures=0.0),)


def test_train_resume_export_and_evaluate(corpus_file, tmp_path):
    train(corpus_file, tmp_path / "tokenizer.model", CONFIG.vocabulary, 1_000_000)
    tokenizer = Tokenizer(tmp_path / "tokenizer.model")
    text = "def add(a, b):\n\treturn a  +  b  # \u00e9t\u00e9 \u6f22\n\n\n    end "
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode_prompt("<bos>x<|fim_middle|>")[::2] == [2, tokenizer.control["<|fim_middle|>"]]

    run = tmp_path / "run"
    corpus = Corpus(corpus_file, "train")
    run_training(run, corpus, tokenizer, CONFIG, model.init(CONFIG, jax.random.key(1)), STAGES, Limits(60), seed=1, stop_after=40)
    assert read_progress(run)["step"] == 40
    run_training(run, corpus, tokenizer, CONFIG, model.init(CONFIG, jax.random.key(1)), STAGES, Limits(60), seed=1, stop_after=120)
    progress = read_progress(run)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 121))
    assert progress["tokens"] == rows[-1]["tokens"] > 20_000
    assert sum(row["loss"] for row in rows[-10:]) < 0.9 * sum(row["loss"] for row in rows[:10])

    teacher = {name: jnp.asarray(value) for name, value in export.read_params(run / "checkpoint.safetensors").items()}
    distilled = tmp_path / "qat"
    qat.run_qat(distilled, corpus, tokenizer, CONFIG, teacher, Limits(60, 60), STAGES, stop_after=20)
    assert read_progress(distilled)["step"] == 20
    qat.run_qat(distilled, corpus, tokenizer, CONFIG, teacher, Limits(60, 60), STAGES)
    rows = [json.loads(line) for line in (distilled / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 61))
    assert sum(row["loss"] for row in rows[-10:]) < 0.95 * sum(row["loss"] for row in rows[:10])

    out = tmp_path / "model.gguf"
    params = export.read_params(distilled / "checkpoint.safetensors")
    export.write_gguf(CONFIG, params, tmp_path / "tokenizer.model", out)
    reader = gguf.GGUFReader(out)
    assert reader.fields["general.architecture"].contents() == "gemma3"
    assert reader.fields["gemma3.rope.freq_base"].contents() == 1e6
    assert reader.fields["tokenizer.ggml.tokens"].contents()[:6] == ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    assert "  " in reader.fields["tokenizer.ggml.tokens"].contents()
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert {types["blk.0.ffn_up.weight"], types["token_embd.weight"], types["output_norm.weight"]} == {"Q4_0", "Q8_0", "F32"}

    export.write_parent(CONFIG, export.read_params(run / "checkpoint.safetensors"), tmp_path / "parent.safetensors")
    assert set(load_file(tmp_path / "parent.safetensors")) == set(params)
    measure(out, tmp_path, Corpus(corpus_file, "held-out"), corpus, tokenizer)


def measure(shipped, folder, held_out, corpus, tokenizer):
    """The figures of the model card, small, by the product's own command line."""
    if not (NODE.exists() and list((ROOT / "dist" / "native").glob("*/engine.node"))):
        pytest.skip("evaluation needs the product's engine: run `npm run build` first")
    engine = evaluate.Engine(shipped, str(NODE))
    figures = evaluate.quantisation(engine, folder / "parent.safetensors", folder / "tokenizer.model", evaluate.held_out_text(held_out, 8000), str(NODE))
    assert 1 < figures["parent"] < CONFIG.vocabulary
    assert figures["tokens"] > 200
    table = evaluate.questions(engine, tokenizer, held_out, True, 1)["short"]
    assert table["where"]["asked"] == 1
    assert set(table["where"]) == {"asked", "exact", "cited", "path", "ended"}
    tower_config = TowerConfig(embedding_length=64, block_count=1, head_count=2, feed_forward_length=64)
    params = train_tower.init(tower_config, 1, CONFIG.embedding_length)
    write_mmproj(tower_config, {name: np.asarray(value) for name, value in params.items() if name.startswith(("v.", "mm."))}, folder / "mmproj-model.gguf")
    seen = evaluate.images(engine, 1, ("flow",))["flow"]
    assert seen["6"] == {"pictures": 1, "exact": 0.0, "declined": 0.0}
    assert evaluate.unreadable(engine, 1) == {"asked": 1, "declined": 0.0}
    middle = evaluate.middles(engine, tokenizer, held_out, corpus, 5, 20_000)
    assert middle["all"]["asked"] == 5


def test_a_shape_is_measured_on_what_it_was_not_trained_on(corpus_file, tmp_path, monkeypatch):
    train(corpus_file, tmp_path / "tokenizer.model", CONFIG.vocabulary, 1_000_000)
    shape = Config(vocabulary=928, embedding_length=128, block_count=2, head_count=2, key_length=32, feed_forward_length=64, sliding_window=128)
    monkeypatch.setitem(scaling.SHAPES, "shipped", shape)
    monkeypatch.setattr(scaling, "SHORT", STAGES[0])
    row = scaling.scale("shipped", Corpus(corpus_file, "train"), Corpus(corpus_file, "held-out"), Tokenizer(tmp_path / "tokenizer.model"), 10_000)
    assert row["tokens"] == 20 * 512
    assert row["parameters"] > shape.vocabulary * shape.embedding_length
    assert 0 < row["context"] < 8
    assert 0 <= row["right"] <= 1


def test_an_answer_is_marked_by_its_places():
    asked = Asked("where", "Where is `a`?", "`a` is defined in x.py:1 and y.py:2.")
    right = evaluate.marks(asked, {"text": " `a` is defined in y.py:2 and x.py:1.", "reason": "stop"})
    assert right == {"exact": False, "cited": True, "path": True, "ended": True}
    wrong = evaluate.marks(asked, {"text": "`a` is defined in x.py:1.", "reason": "length"})
    assert wrong == {"exact": False, "cited": False, "path": False, "ended": False}


def test_the_baseline_copies_from_the_file_before_it_guesses():
    baseline = CopyingNgram([[1, 2, 3, 4, 1, 2, 3, 4]])
    assert baseline.next([9, 1, 2], [0]) == 3
    assert baseline.next([1, 2, 7, 5, 1, 2], []) == 7
    assert baseline.next([5, 8], [6, 5, 8, 4]) == 4
    assert baseline.line([1], [], frozenset({4})) == [2, 3]
