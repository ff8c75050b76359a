"""Gemma 3 checkpoints as Hugging Face stores them, 270M to 27B: config.json, safetensors in one file or in shards, tokenizer files.

Tensors are read one at a time, so a checkpoint needs its own size in memory and no more. Their names become GGUF's; norms are stored
without their 1 on both sides. What is not the text model (the image tower) is left alone and carried along when a checkpoint is written.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from tokenizers import Tokenizer as JsonTokenizer

from pipeline.model import Config, Params

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
SHARD_BYTES = 4_000_000_000
CARRIED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
           "added_tokens.json", "chat_template.json", "chat_template.jinja", "preprocessor_config.json", "processor_config.json")
# Defaults of Gemma3TextConfig in transformers, which saves only what differs.
DEFAULTS: dict[str, Any] = {
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-6,
    "rope_theta": 1e6, "rope_local_base_freq": 1e4, "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6, "vocab_size": 262_208}
PREFIX = re.compile(r"^(?:model\.language_model|language_model\.model|model)\.")
HEAD = re.compile(r"^(?:language_model\.)?lm_head\.weight$")
VISION = re.compile(r"^(?:model\.)?(?:vision_tower|multi_modal_projector)\.")
OUTER = {"embed_tokens": "token_embd", "norm": "output_norm"}
IN_LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "post_feedforward_layernorm": "post_ffw_norm"}
FIM_PIECES = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
TURN_PIECES = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")


class CheckpointError(SystemExit):
    """What is wrong with a checkpoint, in a sentence that begins with its path."""


def gguf_name(name: str) -> str | None:
    """GGUF's name of a tensor of the text model, without `.weight`; None for a tied head and for the image tower."""
    if VISION.match(name) or HEAD.match(name):
        return None
    inner = PREFIX.sub("", name).removesuffix(".weight")
    if inner in OUTER:
        return OUTER[inner]
    layer = re.fullmatch(r"layers\.(\d+)\.(.+)", inner)
    if layer is None or layer[2] not in IN_LAYER:
        raise CheckpointError(f"{name} is no tensor of a Gemma 3 model.")
    return f"blk.{layer[1]}.{IN_LAYER[layer[2]]}"


def read_config(folder: Path) -> Config:
    """The shape of the text model, from a text-only or a multimodal config.json."""
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; give the folder of a Gemma 3 checkpoint as Hugging Face stores it.")
    outer = json.loads(file.read_text())
    text = outer.get("text_config", outer)
    if text.get("model_type") not in ("gemma3_text", "gemma3"):
        raise CheckpointError(f"{file} describes a model of type {text.get('model_type')!r}; only Gemma 3 is trained here.")
    if {**text, **outer}.get("tie_word_embeddings") is False:
        raise CheckpointError(f"{file} has a head of its own (tie_word_embeddings is false), which no released Gemma 3 has.")

    def value(name: str) -> Any:
        found = text.get(name, DEFAULTS.get(name))
        if found is None:
            raise CheckpointError(f"{file} lacks {name}.")
        return found

    layers = int(value("num_hidden_layers"))
    types = text.get("layer_types")
    period = int(value("sliding_window_pattern"))
    parameters = text.get("rope_parameters") or {}
    whole, near = parameters.get("full_attention", {}), parameters.get("sliding_attention", {})
    scaling = text.get("rope_scaling") or whole
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "linear"):
        raise CheckpointError(f"{file} scales RoPE by {kind!r}; Gemma 3 scales linearly.")
    return Config(
        vocabulary=int(value("vocab_size")), embedding_length=int(value("hidden_size")), block_count=layers, head_count=int(value("num_attention_heads")),
        head_count_kv=int(value("num_key_value_heads")), key_length=int(value("head_dim")), feed_forward_length=int(value("intermediate_size")),
        sliding_window=int(value("sliding_window")), sliding_pattern=period, context_length=int(value("max_position_embeddings")),
        rope_base_global=float(whole.get("rope_theta", value("rope_theta"))), rope_base_local=float(near.get("rope_theta", value("rope_local_base_freq"))),
        rms_epsilon=float(value("rms_norm_eps")), rope_factor_global=float(scaling.get("factor", 1.0)) if kind == "linear" else 1.0,
        query_pre_attn_scalar=float(value("query_pre_attn_scalar")),
        global_layers=None if types is None else tuple(i for i, t in enumerate(types) if t == "full_attention"))


def tensor_files(folder: Path) -> dict[str, Path]:
    """Which file holds each tensor; of a folder with an index, every shard must be there."""
    index = folder / INDEX
    if index.is_file():
        places = {name: folder / Path(shard).name for name, shard in json.loads(index.read_text())["weight_map"].items()}
    elif (folder / SINGLE).is_file():
        with safe_open(folder / SINGLE, framework="numpy") as file:
            places = dict.fromkeys(file.keys(), folder / SINGLE)
    else:
        raise CheckpointError(f"{folder} holds neither {SINGLE} nor {INDEX}.")
    for shard in sorted(set(places.values())):
        if not shard.is_file():
            raise CheckpointError(f"{shard} is missing, though the index names it; download it again.")
    return places


def read_tensors(folder: Path, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[tuple[str, np.ndarray]]:
    """(Hugging Face's name, values) one by one, shard after shard."""
    places = tensor_files(folder)
    for shard in sorted(set(places.values())):
        names = sorted(name for name, file in places.items() if file == shard and wanted(name))
        with safe_open(shard, framework="numpy") as file:
            held = set(file.keys())
            for name in names:
                if name not in held:
                    raise CheckpointError(f"{shard} lacks {name}, which the index puts there; download it again.")
                yield name, file.get_tensor(name)


def read_params(folder: Path, config: Config, dtype: Any = jnp.bfloat16) -> Params:
    """Parameters of the text model by GGUF name: matrices in `dtype`, norms in F32."""
    params: Params = {}
    for name, value in read_tensors(folder, lambda n: gguf_name(n) is not None):
        known = gguf_name(name)
        assert known is not None
        params[known] = jnp.asarray(value, jnp.float32 if value.ndim == 1 else dtype)
    expected = {"token_embd": (params["token_embd"].shape[0] if "token_embd" in params else 0, config.embedding_length), "output_norm": (config.embedding_length,)}
    from pipeline import model  # the shapes of the blocks

    for layer in range(config.block_count):
        expected |= {f"blk.{layer}.{name}": shape for name, shape in model.linear_shapes(config).items()}
        expected |= {f"blk.{layer}.{name}": (config.embedding_length,) for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")}
        expected |= {f"blk.{layer}.{name}": (config.key_length,) for name in ("attn_q_norm", "attn_k_norm")}
    for name, shape in expected.items():
        if name not in params:
            raise CheckpointError(f"{folder} lacks the tensor that GGUF calls {name}; config.json names {config.block_count} layers.")
        if params[name].shape != shape:
            raise CheckpointError(f"{folder} has {name} of shape {list(params[name].shape)}, where config.json says {list(shape)}.")
    if set(params) - set(expected):
        raise CheckpointError(f"{folder} has more layers than config.json says: {min(set(params) - set(expected))}.")
    return params


def write_checkpoint(source: Path, folder: Path, changed: Callable[[str, np.ndarray], np.ndarray], fim: bool = False, shard_bytes: int = SHARD_BYTES) -> None:
    """A copy of `source` in which each tensor of the text model is `changed(GGUF name, values)`, in the type that it had.

    One shard at a time is held. With `fim`, three unused pieces of the tokenizer carry the names of the fill-in-the-middle pieces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in CARRIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if fim:
        (folder / "tokenizer.json").write_text(json.dumps(with_fim_pieces(json.loads((source / "tokenizer.json").read_text()), source), ensure_ascii=False))
    shards: list[dict[str, str]] = []
    pending: dict[str, np.ndarray] = {}
    total = size = 0

    def flush() -> None:
        nonlocal pending, size
        file = f"shard-{len(shards):05}.safetensors"
        save_file(pending, folder / file, metadata={"format": "pt"})
        shards.append(dict.fromkeys(pending, file))
        pending, size = {}, 0

    for name, value in read_tensors(source):
        known = gguf_name(name)
        result = value if known is None else np.ascontiguousarray(changed(known, value)).astype(value.dtype)
        if pending and size + result.nbytes > shard_bytes:
            flush()
        pending[name] = result
        size += result.nbytes
        total += result.nbytes
    flush()
    for stale in (folder / SINGLE, folder / INDEX, *folder.glob("model-*-of-*.safetensors")):
        stale.unlink(missing_ok=True)
    if len(shards) == 1:
        (folder / "shard-00000.safetensors").rename(folder / SINGLE)
        return
    places: dict[str, str] = {}
    for number, names in enumerate(shards):
        final = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        (folder / f"shard-{number:05}.safetensors").rename(folder / final)
        places |= dict.fromkeys(names, final)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}, indent=1))


def with_fim_pieces(tokenizer: dict[str, Any], source: Path) -> dict[str, Any]:
    """`tokenizer.json` in which the last unused pieces are named as CodeGemma names fill-in-the-middle pieces, where they are missing."""
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    if all(piece in vocabulary for piece in FIM_PIECES):
        return tokenizer
    unused = sorted((text for text in vocabulary if re.fullmatch(r"<unused\d+>", text)), key=lambda text: vocabulary[text])[-len(FIM_PIECES):]
    if len(unused) < len(FIM_PIECES):
        raise CheckpointError(f"{source / 'tokenizer.json'} has no unused pieces to name {', '.join(FIM_PIECES)}; leave fill-in-the-middle rows out.")
    renamed = dict(zip(unused, FIM_PIECES, strict=True))
    added = [entry for entry in tokenizer.get("added_tokens", []) if entry["content"] not in renamed]
    added += [{"id": vocabulary[old], "content": new, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
              for old, new in renamed.items()]
    model = {**tokenizer["model"], "vocab": {renamed.get(text, text): number for text, number in vocabulary.items()}}
    return {**tokenizer, "added_tokens": sorted(added, key=lambda entry: entry["id"]), "model": model}


class CheckpointTokenizer:
    """tokenizer.json of a checkpoint; control pieces only by name, so text that spells one stays text."""

    def __init__(self, folder: Path, fim: bool = False) -> None:
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise CheckpointError(f"{file} is missing; it is needed to read your data and to write the GGUF file.")
        content = json.loads(file.read_text())
        self.processor = JsonTokenizer.from_str(json.dumps(with_fim_pieces(content, folder) if fim else content))
        self.processor.encode_special_tokens = True
        self.control: dict[str, int] = {}
        for piece in (*TURN_PIECES, *(FIM_PIECES if fim else ())):
            number = self.processor.token_to_id(piece)
            if number is None:
                raise CheckpointError(f"{file} has no piece {piece}; it is not Gemma's tokenizer.")
            self.control[piece] = number

    def encode(self, text: str) -> list[int]:
        return list(self.processor.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        return str(self.processor.decode(ids, skip_special_tokens=False))


def to_float(value: np.ndarray) -> np.ndarray:
    """F32, F16 or BF16 values as F32."""
    if value.dtype not in (np.float32, np.float16, ml_dtypes.bfloat16):
        raise CheckpointError(f"tensors of type {value.dtype} are not read; F32, F16 and BF16 are.")
    return value.astype(np.float32)


def count(params: Params) -> int:
    return sum(int(np.prod(value.shape)) for value in jax.tree.leaves(params))
