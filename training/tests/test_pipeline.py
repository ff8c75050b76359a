"""The whole pipeline in miniature: vocabulary, training with a kill and a resume, export, evaluation."""

import json

import gguf
import jax
import numpy as np
from safetensors.numpy import load_file

from pipeline import evaluate, export, model
from pipeline.batches import Corpus, Stage
from pipeline.model import Config
from pipeline.tokenizer import Tokenizer, train
from pipeline.train import read_progress, run_training

CONFIG = Config(vocabulary=928, embedding_length=32, block_count=2, head_count=2, key_length=32, feed_forward_length=64, sliding_window=128, sliding_pattern=2)
STAGES = (Stage(until=1.01, length=256, rows=2, characters=(150, 350), turns=(1, 3), chat=0.6, middle=0.2, pictures=0.0),)


def test_train_resume_export_and_evaluate(corpus_file, tmp_path):
    train(corpus_file, tmp_path / "tokenizer.model", CONFIG.vocabulary, 1_000_000)
    tokenizer = Tokenizer(tmp_path / "tokenizer.model")
    text = "def add(a, b):\n\treturn a  +  b  # \u00e9t\u00e9 \u6f22\n\n\n    end "
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode_prompt("<bos>x<|fim_middle|>")[::2] == [2, tokenizer.control["<|fim_middle|>"]]

    run = tmp_path / "run"
    corpus = Corpus(corpus_file, "train")
    run_training(run, corpus, tokenizer, CONFIG, model.init(CONFIG, jax.random.key(1)), STAGES, 60, seed=1, stop_after=40)
    assert read_progress(run)["step"] == 40
    run_training(run, corpus, tokenizer, CONFIG, model.init(CONFIG, jax.random.key(1)), STAGES, 60, seed=1, stop_after=120)
    progress = read_progress(run)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 121))
    assert progress["tokens"] == rows[-1]["tokens"] > 20_000
    assert sum(row["loss"] for row in rows[-10:]) < 0.9 * sum(row["loss"] for row in rows[:10])

    out = tmp_path / "model.gguf"
    params = export.read_params(run / "checkpoint.safetensors")
    export.write_gguf(CONFIG, params, tmp_path / "tokenizer.model", out)
    export.write_parent(CONFIG, params, tmp_path / "parent.safetensors")
    assert set(load_file(tmp_path / "parent.safetensors")) == set(params)
    reader = gguf.GGUFReader(out)
    assert reader.fields["general.architecture"].contents() == "gemma3"
    assert reader.fields["gemma3.rope.freq_base"].contents() == 1e6
    assert reader.fields["tokenizer.ggml.tokens"].contents()[:6] == ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    assert "  " in reader.fields["tokenizer.ggml.tokens"].contents()
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert {types["blk.0.ffn_up.weight"], types["token_embd.weight"], types["output_norm.weight"]} == {"Q4_0", "Q8_0", "F32"}

    config, read = evaluate.read_gguf(out)
    assert (config.embedding_length, config.sliding_window, config.vocabulary) == (32, 128, 928)
    np.testing.assert_allclose(read["blk.0.attn_norm"], params["blk.0.attn_norm"], atol=1e-6)
    held_out = Corpus(corpus_file, "held-out")
    figures = evaluate.perplexity(CONFIG, read, tokenizer, held_out, corpus, 4, 20_000)
    assert figures["model"]["perplexity"] < CONFIG.vocabulary
    assert figures["trigram"]["perplexity"] < figures["unigram"]["perplexity"]
