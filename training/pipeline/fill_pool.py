"""Keep drawings as a tower in training reads them in one file, so that the text model learns to read what it will be given.

Run from training/:  python -m pipeline.fill_pool --run runs/tower --out runs/soft.npz
The text model's training takes the file with --soft. Drawings of which the tower reads more than one cell wrong teach to say that the image
cannot be read.
"""

import argparse
import json
import random
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pipeline import tower
from pipeline.export import read_params
from pipeline.pictures import CELLS, CLASS, UNREADABLE
from pipeline.tokenizer import MODEL, Tokenizer
from pipeline.tower import TowerConfig
from pipeline.train import ROOT
from pipeline.train_tower import BATCH, PARENT, class_embeddings, pixels_of, scores_of, training_picture

SEED = "soft"
MOST_WRONG = 1  # cells of a drawing that the text model may still mend


def make(config: TowerConfig, params: dict[str, np.ndarray], wanted: np.ndarray, count: int, out: Path) -> dict[str, float]:
    """Draw `count` pictures (a multiple of BATCH), write them, and say how many of their answers are told and how many cells are right."""
    states = jax.jit(partial(tower.soft_tokens, config))
    arrays = {name: jnp.asarray(value) for name, value in params.items()}
    soft, answers, right = [], [], []
    for step in range(count // BATCH):
        rng = random.Random(f"{SEED}:{step}")
        pictures = [training_picture(rng, 1.0) for _ in range(BATCH)]
        found = states(arrays, np.stack([pixels_of(picture, rng) for picture in pictures]))
        said = np.asarray(jnp.argmax(scores_of(found, wanted), axis=-1))
        same = said == np.array([[CLASS[cell] for cell in picture.cells] for picture in pictures])
        right += same.all(axis=-1).tolist()
        answers += [picture.answer if CELLS - ok.sum() <= MOST_WRONG else UNREADABLE for picture, ok in zip(pictures, same, strict=True)]
        soft.append(np.asarray(found, np.float16))
    np.savez(out, wanted=wanted, soft=np.concatenate(soft), answers=json.dumps(answers))
    return {"pictures": len(answers), "whole": float(np.mean(right)), "told": float(np.mean([a != UNREADABLE for a in answers]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "tower")
    parser.add_argument("--text", type=Path, default=PARENT, help="the text model whose embeddings the tower was trained towards")
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "soft.npz")
    arguments = parser.parse_args()
    params = {n: v for n, v in read_params(arguments.run / "checkpoint.safetensors").items() if n.startswith(("v.", "mm."))}
    wanted = class_embeddings(read_params(arguments.text), Tokenizer(arguments.tokenizer))
    print(make(TowerConfig.load(arguments.run / "config.json"), params, wanted, arguments.count, arguments.out))


if __name__ == "__main__":
    main()
