"""Write a trained tower as an mmproj GGUF with llama.cpp's names; measure it with a text model on drawings never seen.

Run from training/:  python -m pipeline.export_tower --run runs/tower --text ../models/parent.safetensors
The text model should have learnt to read this tower (`pipeline.fill_pool`). Drawings of the measurement come from a seed of their own.
"""

import argparse
import json
import random
from functools import partial
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from pipeline import model, tower
from pipeline.export import ROOT, finish, new_file, read_params
from pipeline.model import Config, Params
from pipeline.pictures import CLASSES, KINDS, QUESTIONS, Picture, compose, piece_ids, prompt_ids
from pipeline.tokenizer import MODEL, Tokenizer
from pipeline.tower import TowerConfig
from pipeline.train_tower import BATCH, HELD_OUT_SEED, PARENT, WANTED, pixels_of, scores_of

OUT = ROOT.parent / "models" / "gemma-sidecar-builtin-mmproj.gguf"
LENGTH = 192
NAME = "Gemma Sidecar Built-in Image Tower"


def write_mmproj(config: TowerConfig, params: dict[str, np.ndarray], out: Path) -> None:
    """Matrices F16, the rest F32; `mm.soft_emb_norm` carries its 1 in the file."""
    writer = new_file(out, "clip", NAME)
    writer.add_type("mmproj")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("gemma3")
    writer.add_vision_projection_dim(params["mm.input_projection.weight"].shape[1])
    writer.add_vision_image_size(config.image_size)
    writer.add_vision_patch_size(config.patch_size)
    writer.add_vision_embedding_length(config.embedding_length)
    writer.add_vision_feed_forward_length(config.feed_forward_length)
    writer.add_vision_block_count(config.block_count)
    writer.add_vision_head_count(config.head_count)
    writer.add_vision_attention_layernorm_eps(config.epsilon)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    writer.add_vision_use_gelu(True)
    writer.add_vision_projector_scale_factor(config.pool)
    for name, value in params.items():
        if name == "v.patch_embd.weight":
            patch = config.patch_size
            writer.add_tensor(name, value.reshape(-1, 3, patch, patch).astype(np.float32))
        elif name == "mm.soft_emb_norm.weight":
            writer.add_tensor(name, (1.0 + value).astype(np.float32))
        elif tower.is_linear(name) or name == "mm.input_projection.weight":
            writer.add_tensor(name, value.astype(np.float16))
        else:
            writer.add_tensor(name, value.astype(np.float32))
    finish(writer)


def read_mmproj(path: Path) -> tuple[TowerConfig, Params]:
    """What `write_mmproj` wrote, with the file's rounding."""
    reader = gguf.GGUFReader(path)

    def value(key: str) -> int:
        return int(reader.fields[f"clip.vision.{key}"].contents())

    config = TowerConfig(value("image_size"), value("patch_size"), value("embedding_length"), value("block_count"), value("attention.head_count"),
                         value("feed_forward_length"), value("projector.scale_factor"))
    params: Params = {}
    for tensor in reader.tensors:
        stored = np.array(tensor.data, np.float32)
        if tensor.name == "v.patch_embd.weight":
            stored = stored.reshape(config.embedding_length, -1)
        params[tensor.name] = jnp.asarray(stored - 1.0 if tensor.name == "mm.soft_emb_norm.weight" else stored)
    return config, params


def held_out(kind: str, count: int, number: int) -> tuple[Picture, np.ndarray]:
    """Drawing `number` of a kind and size that training never draws from."""
    rng = random.Random(f"{HELD_OUT_SEED}:{kind}:{count}:{number}")
    picture = compose(kind, count, rng)
    return picture, pixels_of(picture, rng)


@partial(jax.jit, static_argnums=0)
def chosen(config: Config, params: Params, tokens: jax.Array, images: jax.Array, soft: jax.Array) -> jax.Array:
    """Most likely next ids [rows, LENGTH]."""
    return jnp.argmax(model.logits(config, params, tokens, jnp.ones_like(tokens), images, soft), axis=-1)


def measure(config: TowerConfig, params: Params, wanted: np.ndarray, text: Config, text_params: Params, tokenizer: Tokenizer,
            each: int) -> dict[str, dict[str, dict[str, float]]]:
    """By kind and size, the shares of pictures with every cell right, and with exactly the answer that the greedy text model gives."""
    ids = piece_ids(tokenizer)
    soft_of = jax.jit(partial(tower.soft_tokens, config))
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for kind in KINDS:
        for count in range(2, 7):
            pictures, pixels = zip(*(held_out(kind, count, number) for number in range(each)), strict=True)
            soft = soft_of(params, np.stack(pixels))
            cells = np.asarray(jnp.argmax(scores_of(soft, wanted), axis=-1))
            right = [all(CLASSES[c] == cell for c, cell in zip(found, picture.cells, strict=True)) for found, picture in zip(cells, pictures, strict=True)]
            tokens, images = np.zeros((each, LENGTH), np.int32), np.zeros((each, LENGTH), np.int32)
            rows = np.zeros((each, LENGTH, text.embedding_length), np.float32)
            spans = []
            for number, picture in enumerate(pictures):
                prompt, marks = prompt_ids(tokenizer, [ids[None]] * len(picture.cells), QUESTIONS[0])
                answer = tokenizer.encode_prompt(f"{picture.answer}<end_of_turn>")
                whole = [*prompt, *answer][:LENGTH]
                tokens[number, :len(whole)], images[number, :len(marks)] = whole, marks
                rows[number, np.flatnonzero(marks)] = np.asarray(soft[number])
                spans.append((len(prompt), len(whole)))
            best = np.asarray(chosen(text, text_params, tokens, images, rows))
            said = [np.array_equal(best[n, a - 1:b - 1], tokens[n, a:b]) for n, (a, b) in enumerate(spans)]
            figures.setdefault(kind, {})[str(count)] = {"pictures": each, "cells": float(np.mean(right)), "answer": float(np.mean(said))}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "tower")
    parser.add_argument("--text", type=Path, default=PARENT, help="BF16 parent of the text model, its shape beside it")
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--pictures", type=int, default=BATCH, help="measured of each kind and size")
    parser.add_argument("--figures", type=Path, help="JSON; in the run's folder unless given")
    arguments = parser.parse_args()
    config, tokenizer = TowerConfig.load(arguments.run / "config.json"), Tokenizer(arguments.tokenizer)
    text, text_params = Config.load(arguments.text.with_suffix(".json")), read_params(arguments.text)
    trained = {n: v for n, v in load_file(arguments.run / "checkpoint.safetensors").items() if n.startswith(("v.", "mm."))}
    write_mmproj(config, trained, arguments.out)
    config, read = read_mmproj(arguments.out)
    figures = measure(config, read, np.load(arguments.run / WANTED), text, {n: jnp.asarray(v) for n, v in text_params.items()}, tokenizer, arguments.pictures)
    target = arguments.figures or arguments.run / "figures.json"
    target.write_text(json.dumps(figures, indent=1) + "\n")
    for kind, sizes in figures.items():
        print(f"{kind}: " + ", ".join(f"{count}: cells {f['cells']:.0%} answer {f['answer']:.0%}" for count, f in sizes.items()))
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
