"""Train the image tower on drawings: every cell of the picture learns the piece that it says. Run again with the same --run to go on.

Run from training/:  python -m pipeline.train_tower --run runs/tower --minutes 60
The targets are known for each cell, so no text model runs: the soft token of a cell is to lie nearest to the text model's scaled embedding of the
piece that the cell says, and two more heads, thrown away later, learn the name at each node and the direction of each edge. `--start` fits the
projection anew, to the text model as it is then. Afterwards the text model learns to read this tower (`pipeline.fill_pool`), and `pipeline.export_tower`
writes the file.
"""

import argparse
import json
import math
import os
import random
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, muon
from PIL import Image

from pipeline import tower
from pipeline.diagrams import draw
from pipeline.export import read_params, write_parent
from pipeline.model import Params, half_product
from pipeline.pictures import CLASS, CLASSES, GRID, Picture, compose, other, piece_ids
from pipeline.tokenizer import MODEL, Tokenizer
from pipeline.tower import TowerConfig
from pipeline.train import ALLOCATOR, ROOT, read_progress, restore, save

BATCH = 16
DIRECTIONS = [None, (0, -1), (-1, 0), (1, 0), (0, 1)]
SHARPNESS = 16.0  # nats between an embedding and one at the mean squared distance between two of them
NEARNESS = 0.5  # weight of the squared distance itself, of that mean
MUON_RATE, ADAM_RATE = 4e-3, 2e-3
WARM_UP_STEPS, DECAY_FROM = 100, 0.5
SHARES = {"flow": 3.0, "call": 3.0, "code": 2.0, "error": 2.0, "bar": 1.2, "class": 0.8, "table": 0.8}
DENSE_UNTIL = 0.25  # share of the run in which full tables and cards, which teach to read words, are drawn most
CHECKPOINT_SECONDS = 120
HELD_OUT_SEED = "held-out"
PARENT = ROOT.parent / "models" / "parent.safetensors"
WANTED = "wanted.npy"  # in the run's folder: the embeddings it is trained towards
FIT_BATCHES = 40
EMPTY_WEIGHT = 0.1  # of an empty cell in the first fit; most cells are empty
RIDGE = 1e-3


def helpers(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Classes of the node whose slot a cell belongs to (left cells), and directions of the edges (right cells)."""
    names, directions = np.zeros(GRID * GRID, np.int32), np.zeros(GRID * GRID, np.int32)
    for name, (column, row) in picture.nodes.items():
        targets = [picture.nodes[b] for a, b in picture.edges if a == name]
        for index in (0, 1):
            names[(1 + 2 * row + index) * GRID + 2 * column] = CLASS[name]
        for index, target in enumerate(sorted(targets, key=lambda s: (s[1], s[0]))):
            directions[(1 + 2 * row + index) * GRID + 2 * column + 1] = DIRECTIONS.index((target[0] - column, target[1] - row))
    return names, directions


def training_picture(rng: random.Random, progress: float) -> Picture:
    if rng.random() < 0.05:
        return other()
    if progress < DENSE_UNTIL and rng.random() < 0.7:
        kind = rng.choice(["table", "table", "class", "code", "error", "bar"])
        return compose(kind, rng.randint(8, 12) if kind == "class" else 6, rng)
    kind = rng.choices([*SHARES], [*SHARES.values()])[0]
    return compose(kind, rng.choice([2, 3, 4, 4, 5, 5, 6, 6, 6]), rng)


def pixels_of(picture: Picture, rng: random.Random) -> np.ndarray:
    """Bytes [256, 256, 3], drawn at the size of the tower or twice that and reduced as the engine does."""
    scale = rng.choice([1, 2])
    image = draw(picture, rng, scale)
    return np.asarray(image if scale == 1 else image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR))


def make_batch(seed: int, step: int, progress: float) -> dict[str, np.ndarray]:
    """A function of its arguments alone: pixels, cells, names, directions."""
    rng = random.Random(f"{seed}:{step}")
    pictures = [training_picture(rng, progress) for _ in range(BATCH)]
    extra = [helpers(picture) for picture in pictures]
    return {"pixels": np.stack([pixels_of(picture, rng) for picture in pictures]),
            "cells": np.array([[CLASS[cell] for cell in picture.cells] for picture in pictures], np.int32),
            "names": np.stack([names for names, _ in extra]), "directions": np.stack([directions for _, directions in extra])}


def class_embeddings(params: dict[str, np.ndarray], tokenizer: Tokenizer) -> np.ndarray:
    """What a soft token should be for each class, [classes, text width]: the embedding as the text model scales it."""
    ids = piece_ids(tokenizer)
    embedding = params["token_embd"]
    return embedding[[ids[text] for text in CLASSES]] * np.float32(embedding.shape[1] ** 0.5)


def init(config: TowerConfig, seed: int, text_width: int) -> Params:
    sample = make_batch(seed, -1, 1.0)["pixels"]
    return with_aids(config, tower.init(config, jax.random.key(seed), text_width, sample), seed)


def with_aids(config: TowerConfig, params: Params, seed: int) -> Params:
    """With new heads for what is only learnt beside the cells."""
    width = config.embedding_length
    keys = jax.random.split(jax.random.key(seed + 1))
    return {**params, "aid.names": jax.random.normal(keys[0], (width, len(CLASSES))) * width**-0.5,
            "aid.directions": jax.random.normal(keys[1], (width, len(DIRECTIONS))) * width**-0.5}


def nats(scores: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross-entropy of the cells that say something plus that of the others, each its own mean: most cells are empty."""
    each = jax.nn.logsumexp(scores, axis=-1) - jnp.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    said = targets > 0
    return jnp.sum(each * said) / jnp.maximum(jnp.sum(said), 1) + jnp.sum(each * ~said) / jnp.maximum(jnp.sum(~said), 1)


def scores_of(soft: jax.Array, wanted: jax.Array) -> jax.Array:
    """Scores [..., classes] of soft tokens by their squared distances from what they could be, in units of the mean one between two of those."""
    apart = 2.0 * jnp.mean(jnp.sum((wanted - jnp.mean(wanted, axis=0)) ** 2, axis=-1))
    distance = jnp.sum(soft**2, axis=-1, keepdims=True) + jnp.sum(wanted**2, axis=-1) - 2.0 * soft @ wanted.T
    return distance * (-SHARPNESS / apart)


def loss(config: TowerConfig, params: Params, data: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Of a batch with what each class is `wanted` to be, [classes, text width]."""
    states = tower.pooled(config, params, data["pixels"], half_product)
    scores = scores_of(states @ params["mm.input_projection.weight"], data["wanted"])
    cells = nats(scores, data["cells"])
    names = nats(states @ params["aid.names"], data["names"])
    directions = nats(states @ params["aid.directions"], data["directions"])
    said = data["cells"] > 0
    far = -jnp.take_along_axis(scores, data["cells"][..., None], axis=-1)[..., 0] / SHARPNESS
    near = jnp.sum(far * said) / jnp.maximum(jnp.sum(said), 1) + jnp.mean(far * ~said)
    right = jnp.argmax(scores, axis=-1) == data["cells"]
    figures = {"cells": cells, "names": names, "directions": directions, "far": near, "right": jnp.sum(right & said) / jnp.sum(said),
               "whole": jnp.mean(jnp.all(right, axis=-1))}
    return cells + 0.3 * names + 0.5 * directions + NEARNESS * near, figures


def optimiser(params: Params) -> optax.GradientTransformation:
    dimensions = {name: MuonDimensionNumbers(1, 0) if tower.is_linear(name) else None for name in params}
    return optax.chain(optax.clip_by_global_norm(1.0),
                       muon(MUON_RATE, adam_learning_rate=ADAM_RATE, weight_decay=0.01, adam_b2=0.98, consistent_rms=0.2, muon_weight_dimension_numbers=dimensions))


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def update(config: TowerConfig, transform: optax.GradientTransformation, params: Params, state: optax.OptState, data: dict[str, jax.Array],
           factor: jax.Array) -> tuple[Params, optax.OptState, jax.Array, dict[str, jax.Array]]:
    (value, figures), gradients = jax.value_and_grad(lambda p: loss(config, p, data), has_aux=True)(params)
    updates, state = transform.update(gradients, state, params)
    return optax.apply_updates(params, jax.tree.map(lambda u: u * factor, updates)), state, value, figures


def schedule(progress: float, step: int) -> float:
    decay = 1.0 if progress < DECAY_FROM else 1.0 - 0.98 * min(1.0, (progress - DECAY_FROM) / (1.0 - DECAY_FROM))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * decay


def fit_projection(config: TowerConfig, params: Params, wanted: np.ndarray, batches: int = FIT_BATCHES) -> np.ndarray:
    """[width, text width] of least weighted squares over freshly drawn pictures."""
    states = jax.jit(partial(tower.pooled, config))
    width = config.embedding_length
    left, right = np.zeros((width, width)), np.zeros((width, wanted.shape[1]))
    for step in range(batches):
        data = make_batch(-1, step, 1.0)
        x = np.asarray(states(params, data["pixels"])).reshape(-1, width)
        cells = data["cells"].reshape(-1)
        weight = np.where(cells > 0, 1.0, EMPTY_WEIGHT)[:, None]
        left += (x * weight).T @ x
        right += (x * weight).T @ wanted[cells]
    return np.linalg.solve(left + RIDGE * np.trace(left) / width * np.eye(width), right).astype(np.float32)


def run_training(run: Path, config: TowerConfig, params: Params, wanted: np.ndarray, minutes: float, seed: int, stop_after: int | None = None,
                 dense: bool = True) -> Params:
    """Train until `minutes` of training time are spent or `stop_after` steps done, from `params` or the run's checkpoint; `dense` drawings first."""
    run.mkdir(parents=True, exist_ok=True)
    config.save(run / "config.json")
    np.save(run / WANTED, wanted)
    params = jax.tree.map(jnp.copy, params)
    transform = optimiser(params)
    state = transform.init(params)
    progress = read_progress(run)
    if progress["step"]:
        params, state = restore(run, params, state)
    total = minutes * 60
    last_time = last_save = time.monotonic()
    sums: dict[str, float] = {}
    with (run / "log.jsonl").open("a") as log, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pending: list[Future[dict[str, np.ndarray]]] = []

        def ask(step: int) -> None:
            pending.append(pool.submit(make_batch, seed, step, progress["seconds"] / total if dense else 1.0))

        ask(int(progress["step"]))
        while progress["seconds"] < total and progress["step"] != stop_after:
            data = pending.pop(0).result()
            ask(int(progress["step"]) + 1)
            share = progress["seconds"] / total
            params, state, value, figures = update(config, transform, params, state, {**data, "wanted": wanted}, schedule(share, int(progress["step"])))
            if not math.isfinite(float(value)):
                raise SystemExit(f"the loss is not finite at step {progress['step']}: lower the learning rate and start from an older checkpoint")
            now = time.monotonic()
            progress["seconds"] += now - last_time
            last_time = now
            progress["step"] += 1
            progress["tokens"] += BATCH
            for name, figure in {"loss": value, **figures}.items():
                sums[name] = sums.get(name, 0.0) + float(figure) / 50
            if progress["step"] % 50 == 0:
                log.write(json.dumps({**progress, **sums}) + "\n")
                log.flush()
                shown = " ".join(f"{name} {figure:.3f}" for name, figure in sums.items())
                print(f"step {progress['step']:.0f} pictures {progress['tokens'] / 1e3:.1f}k {shown} left {(total - progress['seconds']) / 60:.0f} min", flush=True)
                sums = {}
            if now - last_save > CHECKPOINT_SECONDS:
                save(run, params, state, progress)
                last_save = now
    save(run, params, state, progress)
    return params


def main() -> None:
    if sys.platform == "linux" and os.environ.get("MALLOC_MMAP_MAX_") != "0":
        os.execve(sys.executable, [sys.executable, "-m", "pipeline.train_tower", *sys.argv[1:]], {**os.environ, **ALLOCATOR})
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "tower")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--config", type=Path, help="config.json of another shape")
    parser.add_argument("--start", type=Path, help="BF16 safetensors to go on from, its shape beside it")
    parser.add_argument("--blocks", type=int, help="with --start: grow to this many blocks")
    parser.add_argument("--text", type=Path, default=PARENT, help="safetensors of the text model whose embeddings soft tokens are to be like")
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--keep", type=Path, help="train no more: write the run's parameters here as BF16, to go on from later")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.keep:
        write_parent(TowerConfig.load(arguments.run / "config.json"), read_params(arguments.run / "checkpoint.safetensors"), arguments.keep)
        return
    wanted = class_embeddings(read_params(arguments.text), Tokenizer(arguments.tokenizer))
    shape = arguments.start.with_suffix(".json") if arguments.start else arguments.config
    config = TowerConfig.load(shape) if shape else TowerConfig()
    if arguments.start:
        params = {name: jnp.asarray(value) for name, value in read_params(arguments.start).items() if name.startswith(("v.", "mm."))}
        config, params = tower.with_blocks(config, params, arguments.blocks or config.block_count, make_batch(arguments.seed, -1, 1.0)["pixels"])
        params["mm.input_projection.weight"] = jnp.asarray(fit_projection(config, params, wanted))
        params = with_aids(config, params, arguments.seed)
    else:
        params = init(config, arguments.seed, wanted.shape[1])
    run_training(arguments.run, config, params, wanted, arguments.minutes, arguments.seed, dense=not arguments.start)


if __name__ == "__main__":
    main()
