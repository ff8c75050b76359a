"""Small random checkpoints in exactly the form in which Hugging Face holds Gemma 3."""

import json
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from pipeline import model
from pipeline.huggingface import IN_LAYER, OUTER
from pipeline.model import Config

CONFIG = Config(vocabulary=448, embedding_length=64, block_count=3, head_count=4, head_count_kv=2, key_length=32, feed_forward_length=96, sliding_window=16,
                context_length=512, rope_factor_global=8.0, query_pre_attn_scalar=32.0, global_layers=(1,))
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<unused0>", "<unused1>", "<unused2>"]
MERGES = [("r", "e"), ("re", "t"), ("u", "r"), ("ret", "ur"), ("retur", "n"), ("d", "e"), ("de", "f"), ("i", "n"), ("o", "r"), ("\u2581", "a")]
LAYER_NAMES = {short: long for long, short in IN_LAYER.items()}
OUTER_NAMES = {short: long for long, short in OUTER.items()}


def tokenizer() -> dict[str, Any]:
    characters = ["\u2581", "\n", "\t", *(chr(c) for c in range(33, 127))]
    texts = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *characters, *(a + b for a, b in MERGES)]
    vocabulary = {text: number for number, text in enumerate(texts)}
    assert len(vocabulary) <= CONFIG.vocabulary
    added = [{"id": vocabulary[text], "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for text in SPECIAL]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            "pre_tokenizer": None, "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
                      "byte_fallback": True, "ignore_merges": False, "vocab": vocabulary, "merges": [list(pair) for pair in MERGES]}}


def text_config(config: Config = CONFIG) -> dict[str, Any]:
    return {"model_type": "gemma3_text", "hidden_size": config.embedding_length, "intermediate_size": config.feed_forward_length, "num_hidden_layers": config.block_count,
            "num_attention_heads": config.head_count, "num_key_value_heads": config.head_count_kv, "head_dim": config.key_length,
            "query_pre_attn_scalar": config.query_pre_attn_scalar, "sliding_window": config.sliding_window, "max_position_embeddings": config.context_length,
            "rms_norm_eps": config.rms_epsilon, "rope_theta": config.rope_base_global, "rope_local_base_freq": config.rope_base_local, "vocab_size": config.vocabulary,
            "rope_scaling": {"factor": config.rope_factor_global, "rope_type": "linear"},
            "layer_types": ["full_attention" if config.is_global(i) else "sliding_attention" for i in range(config.block_count)]}


def write(folder: Path, multimodal: bool = False, shards: int = 1, dtype: Any = ml_dtypes.bfloat16, seed: int = 0) -> dict[str, np.ndarray]:
    """Write the folder; returns the parameters by GGUF name, as stored."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    params = {}
    for name, value in model.init(CONFIG, jax.random.key(seed)).items():
        norm = name.endswith("_norm")
        values = rng.standard_normal(value.shape) * 0.2 if norm else np.asarray(value) * (1.5 if name != "token_embd" else 1.0)
        params[name] = values.astype(np.float32).astype(dtype)
    prefix = "model.language_model." if multimodal else "model."
    tensors = {}
    for name, value in params.items():
        block = name.split(".", 2)
        inner = f"layers.{block[1]}.{LAYER_NAMES[block[2]]}" if block[0] == "blk" else OUTER_NAMES[name]
        tensors[f"{prefix}{inner}.weight"] = value
    if multimodal:
        tensors["model.vision_tower.vision_model.post_layernorm.weight"] = np.ones(8, np.float32).astype(dtype)
        outer = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": text_config()}
    else:
        outer = {"architectures": ["Gemma3ForCausalLM"], **text_config()}
    (folder / "config.json").write_text(json.dumps(outer))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "tokenizer_config.json").write_text("{}")
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return params
    places = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        own = dict(list(tensors.items())[shard::shards])
        save_file(own, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(own, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return params
