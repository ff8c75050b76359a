"""Users' own checkpoints: read, adapted with a kill and a resume, exported, and the same numbers in the engine."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import checkpoints
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from checkpoints import CONFIG

from pipeline import adapt, huggingface, model
from pipeline.adapt import REPOSITORY, Settings
from pipeline.adapt_data import Batches, DataError, encode, pack, read_objects
from pipeline.huggingface import CheckpointError, CheckpointTokenizer, read_config, read_params
from pipeline.quant import round_q4_0

ROWS = [
    {"text": "def add(a, b):\n    return a + b\n"},
    {"prompt": "Where is add?", "answer": "In a.py:1."},
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}],
     "files": [{"path": "a.py", "text": "a = 1\n"}]},
    {"prefix": "def f(", "suffix": "):\n    return a\n", "middle": "a"},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS * 6) + "\n")
    return path


def engine_logits(gguf: Path, ids: list[int], out: Path) -> np.ndarray:
    """Next-token logits after `ids` by the product's engine; skips by name where it is not built."""
    node = REPOSITORY / "node_modules" / "node" / "bin" / "node"
    if not node.is_file() or not list((REPOSITORY / "dist" / "native").glob("*/engine.node")):
        pytest.skip("the engine is not built here (npm install, node scripts/build-native.mjs)")
    subprocess.run([str(node), str(REPOSITORY / "sidecar" / "main.ts"), "logits", "--model", str(gguf), "--tokens", ",".join(map(str, ids)), "--out", str(out),
                    "--kv", "f16"], check=True, capture_output=True)
    return np.fromfile(out, np.float32)


@pytest.mark.parametrize(("multimodal", "shards", "dtype"), [(False, 1, np.float32), (False, 1, ml_dtypes.bfloat16), (True, 3, ml_dtypes.bfloat16)])
def test_every_layout_of_a_checkpoint_reads_alike(tmp_path, multimodal, shards, dtype):
    written = checkpoints.write(tmp_path / "c", multimodal, shards, dtype)
    config = read_config(tmp_path / "c")
    assert config == CONFIG
    params = read_params(tmp_path / "c", config, jnp.float32)
    assert set(params) == set(written)
    for name, value in written.items():
        np.testing.assert_array_equal(np.asarray(params[name]), value.astype(np.float32))
    assert read_params(tmp_path / "c", config)["blk.0.attn_q"].dtype == jnp.bfloat16


def test_shapes_that_transformers_5_writes(tmp_path):
    checkpoints.write(tmp_path / "c")
    text = checkpoints.text_config() | {"num_hidden_layers": 7}
    for key in ("rope_theta", "rope_local_base_freq", "rope_scaling", "layer_types"):
        del text[key]
    text["rope_parameters"] = {"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}, "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}}
    (tmp_path / "c" / "config.json").write_text(json.dumps(text))
    config = read_config(tmp_path / "c")
    assert (config.rope_factor_global, config.rope_base_global, config.rope_base_local) == (4.0, 5e5, 2e4)
    assert [i for i in range(7) if config.is_global(i)] == [5]


@pytest.mark.parametrize(("change", "said"), [
    ({"model_type": "llama"}, "only Gemma 3"), ({"num_hidden_layers": 4}, "lacks the tensor"), ({"num_hidden_layers": 2}, "more layers"),
    ({"hidden_size": 32}, "of shape"), ({"tie_word_embeddings": False}, "head of its own"), ({"rope_scaling": {"rope_type": "yarn", "factor": 2}}, "yarn"),
])
def test_a_wrong_checkpoint_is_refused_in_a_sentence(tmp_path, change, said):
    checkpoints.write(tmp_path / "c")
    (tmp_path / "c" / "config.json").write_text(json.dumps({**checkpoints.text_config(), **change}))
    with pytest.raises(CheckpointError, match=said):
        read_params(tmp_path / "c", read_config(tmp_path / "c"))


def test_a_missing_shard_is_named(tmp_path):
    checkpoints.write(tmp_path / "c", shards=2)
    (tmp_path / "c" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002.safetensors is missing"):
        read_params(tmp_path / "c", CONFIG)


def test_forms_of_the_data(tmp_path, data):
    checkpoints.write(tmp_path / "c")
    tokenizer = CheckpointTokenizer(tmp_path / "c", fim=True)
    texts = []
    for row in ROWS:
        ids, weights = encode(tokenizer, row)
        learnt = tokenizer.decode([i for i, w in zip(ids, weights, strict=True) if w])
        texts.append((tokenizer.decode(ids), learnt))
    assert texts[0] == ("<bos>def add(a, b):\n    return a + b\n<eos>", "def add(a, b):\n    return a + b\n<eos>")
    assert texts[1] == ("<bos><start_of_turn>user\nWhere is add?<end_of_turn>\n<start_of_turn>model\nIn a.py:1.<end_of_turn>\n", "In a.py:1.<end_of_turn>")
    assert texts[2][0].startswith("<bos><start_of_turn>user\nAnswer questions about this repository. Cite files as path:line.\n\n=== a.py\n1| a = 1\n\nQuestion: Be brief.\n\nWhat?")
    assert texts[3] == ("<bos><|fim_prefix|>def f(<|fim_suffix|>):\n    return a\n<|fim_middle|>a<eos>", "a<eos>")
    assert tokenizer.decode(tokenizer.encode("<end_of_turn>")) == "<end_of_turn>"
    assert tokenizer.control["<end_of_turn>"] not in tokenizer.encode("<end_of_turn>")
    bad = tmp_path / "bad.jsonl"
    for line, said in (('{"text": 1}', "bad.jsonl:1 has none of the four forms"), ("{", "bad.jsonl:1 is not valid JSON"), ("", "holds no example")):
        bad.write_text(line + "\n")
        with pytest.raises(DataError, match=said):
            read_objects(bad)
    rows = [encode(tokenizer, row) for row in ROWS]
    batches, again = Batches(rows * 5, 256, 2, 3), Batches(rows * 5, 256, 2, 3)
    np.testing.assert_array_equal(batches[7]["tokens"], [again[n]["tokens"] for n in (0, 7)][1])
    assert sum(int((row["segments"] > 0).sum()) for row in pack(rows * 5, 256, 1)) == 5 * sum(len(row.ids) for row in rows)


def test_the_engine_computes_what_training_computes(tmp_path):
    params = {name: jnp.asarray(value.astype(np.float32)) for name, value in checkpoints.write(tmp_path / "c", multimodal=True, shards=2).items()}
    ids = [2, *np.random.default_rng(1).integers(10, 350, 60).tolist()]
    out = tmp_path / "model.gguf"
    for kind, limit in (("f16", 2e-3), ("q4_0", 3e-2)):
        done = subprocess.run([adapt.node_program(), str(REPOSITORY / "sidecar" / "main.ts"), "quantize", str(tmp_path / "c"), str(out), "--type", kind], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        rounded = params if kind == "f16" else {n: round_q4_0(v) if model.is_linear(n) else v for n, v in params.items()}
        tokens = jnp.asarray([ids])
        expected = np.asarray(model.logits(read_config(tmp_path / "c"), rounded, tokens, jnp.ones_like(tokens)))[0, -1]
        got = engine_logits(out, ids, tmp_path / "logits.f32")
        assert np.linalg.norm(got - expected[:len(got)]) / np.linalg.norm(expected[:len(got)]) < limit, kind


def test_lora_then_qat_with_a_kill_and_a_resume(tmp_path, data):
    checkpoints.write(tmp_path / "c", shards=2)
    settings = Settings(str(tmp_path / "c"), str(data), steps=30, length=192, batch=2, rate=5e-3, rank=4)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    adapt.train(whole, settings)
    adapt.train(cut, settings, stop_after=13)
    adapt.train(cut, settings)
    rows = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (whole, cut)]
    losses = [{row["step"]: row["loss"] for row in part if "loss" in row} for part in rows]
    np.testing.assert_allclose([losses[0][s] for s in range(1, 31)], [losses[1][s] for s in range(1, 31)], rtol=1e-4)
    before, after = (rows[0][at]["perplexity"] for at in (0, -1))
    assert after < 0.7 * before
    with pytest.raises(SystemExit, match="rank was 4, is 8"):
        adapt.train(cut, replace(settings, rank=8))

    folder = adapt.merge(whole)
    merged = read_params(folder, read_config(folder), jnp.float32)
    base = read_params(tmp_path / "c", CONFIG, jnp.float32)
    assert float(jnp.abs(merged["blk.2.ffn_up"] - base["blk.2.ffn_up"]).max()) > 1e-3
    np.testing.assert_array_equal(merged["token_embd"], base["token_embd"])
    assert "<|fim_middle|>" in json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]

    qat = replace(settings, checkpoint=str(folder), method="qat", rate=3e-4, steps=25)
    adapt.train(tmp_path / "qat", qat)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "qat" / "log.jsonl").read_text().splitlines() if "loss" in line]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])  # nearer to the unquantised model than plain rounding
    out = tmp_path / "mine.gguf"
    adapt.export(tmp_path / "qat", out, "q4_0", "q8_0")
    trained = read_params(tmp_path / "qat" / "merged", CONFIG, jnp.float32)
    rounded = {n: round_q4_0(v) if model.is_linear(n) else v for n, v in trained.items()}
    ids = CheckpointTokenizer(folder, fim=True).encode("def add(a, b):\n    return")
    tokens = jnp.asarray([[2, *ids]])
    expected = np.asarray(model.logits(CONFIG, rounded, tokens, jnp.ones_like(tokens)))[0, -1]
    got = engine_logits(out, [2, *ids], tmp_path / "logits.f32")
    assert np.linalg.norm(got - expected[:len(got)]) / np.linalg.norm(expected[:len(got)]) < 4e-2


def test_shards_of_a_written_checkpoint_are_bounded(tmp_path):
    written = checkpoints.write(tmp_path / "c", multimodal=True)
    huggingface.write_checkpoint(tmp_path / "c", tmp_path / "d", lambda _, value: value, shard_bytes=100_000)
    files = sorted((tmp_path / "d").glob("*.safetensors"))
    assert len(files) > 2
    assert all(file.stat().st_size < 130_000 for file in files)
    again = read_params(tmp_path / "d", CONFIG, jnp.float32)
    for name, value in written.items():
        np.testing.assert_array_equal(np.asarray(again[name]), value.astype(np.float32))
    assert "model.vision_tower.vision_model.post_layernorm.weight" in huggingface.tensor_files(tmp_path / "d")
