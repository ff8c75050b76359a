"""Write a checkpoint as a Gemma 3 GGUF (Q4_0 linears, Q8_0 embedding, F32 norms) and as its BF16 parent.

Run from training/:  python -m pipeline.export --run runs/first
"""

import argparse
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.numpy import load_file, save_file
from sentencepiece import sentencepiece_model_pb2

from pipeline import model
from pipeline.model import Config
from pipeline.tokenizer import MODEL, SPACE
from pipeline.tower import TowerConfig

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT.parent / "models" / "gemma-sidecar-builtin.gguf"
NAME = "Gemma Sidecar Built-in"
CHAT_TEMPLATE = (
    "{{ bos_token }}{%- for message in messages -%}{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    "{{ '<start_of_turn>' + role + '\n' + (message['content'] | trim) + '<end_of_turn>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)


def read_params(path: Path) -> dict[str, np.ndarray]:
    """Parameters of a checkpoint or parent file as F32, optimiser state left out."""
    return {name: np.asarray(value, np.float32) for name, value in load_file(path).items() if not name.startswith("state.")}


def write_vocabulary(writer: GGUFWriter, tokenizer: Path) -> int:
    """Pieces, scores and types; whitespace runs with literal spaces, as Gemma's files have them."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(tokenizer.read_bytes())
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    types = {kinds.NORMAL: gguf.TokenType.NORMAL, kinds.UNKNOWN: gguf.TokenType.UNKNOWN, kinds.CONTROL: gguf.TokenType.CONTROL,
             kinds.USER_DEFINED: gguf.TokenType.USER_DEFINED, kinds.BYTE: gguf.TokenType.BYTE}
    pieces = []
    for piece in proto.pieces:
        text = piece.piece.replace(SPACE, " ") if piece.type == kinds.USER_DEFINED else piece.piece
        pieces.append(text.encode())
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([types[piece.type] for piece in proto.pieces])
    ids = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    writer.add_bos_token_id(ids["<bos>"])
    writer.add_eos_token_id(ids["<eos>"])
    writer.add_unk_token_id(ids["<unk>"])
    writer.add_pad_token_id(ids["<pad>"])
    writer.add_eot_token_id(ids["<end_of_turn>"])
    for key, piece in (("prefix", "<|fim_prefix|>"), ("suffix", "<|fim_suffix|>"), ("middle", "<|fim_middle|>")):
        writer.add_uint32(f"tokenizer.ggml.fim_{key[:3]}_token_id", ids[piece])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    return len(pieces)


def new_file(out: Path, architecture: str, name: str) -> GGUFWriter:
    writer = GGUFWriter(str(out), architecture)
    writer.add_name(name)
    writer.add_license("mit")
    return writer


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf(config: Config, params: dict[str, np.ndarray], tokenizer: Path, out: Path, exact: bool = False) -> None:
    """One GGUF with every key that Gemma 3 readers need; norms carry the 1 that training keeps apart. `exact` keeps every weight in F32."""
    writer = new_file(out, "gemma3", NAME)
    writer.add_description("Small model of the Gemma 3 architecture, trained from scratch for Gemma Sidecar. Not a Google Gemma model.")
    writer.add_size_label(f"{sum(v.size for v in params.values()) / 1e6:.1f}M")
    writer.add_block_count(config.block_count)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.embedding_length)
    writer.add_feed_forward_length(config.feed_forward_length)
    writer.add_head_count(config.head_count)
    writer.add_head_count_kv(config.head_count_kv)
    writer.add_key_length(config.key_length)
    writer.add_value_length(config.key_length)
    writer.add_layer_norm_rms_eps(config.rms_epsilon)
    writer.add_rope_freq_base(config.rope_base_global)
    writer.add_float32("gemma3.rope.freq_base_swa", config.rope_base_local)
    writer.add_sliding_window(config.sliding_window)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if exact else gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if write_vocabulary(writer, tokenizer) != config.vocabulary:
        raise SystemExit(f"{tokenizer} does not hold {config.vocabulary} pieces: the checkpoint was trained with another vocabulary")
    for name, value in params.items():
        if name.endswith("_norm"):
            writer.add_tensor(f"{name}.weight", (1.0 + value).astype(np.float32))
            continue
        if exact:
            writer.add_tensor(f"{name}.weight", np.asarray(value, np.float32))
            continue
        kind = GGMLQuantizationType.Q4_0 if model.is_linear(name) else GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(value, kind), raw_dtype=kind)
    finish(writer)


def write_parent(config: Config | TowerConfig, params: dict[str, np.ndarray], out: Path) -> None:
    """The unquantised checkpoint as BF16 safetensors, with its shape beside it."""
    save_file({name: value.astype(ml_dtypes.bfloat16) for name, value in params.items()}, out)
    config.save(out.with_suffix(".json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--parent", type=Path, help="also write the BF16 parent here")
    parser.add_argument("--no-gguf", action="store_true", help="write the parent only")
    arguments = parser.parse_args()
    config = Config.load(arguments.run / "config.json")
    params = read_params(arguments.run / "checkpoint.safetensors")
    if arguments.parent:
        write_parent(config, params, arguments.parent)
    if not arguments.no_gguf:
        write_gguf(config, params, arguments.tokenizer, arguments.out)
        print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
