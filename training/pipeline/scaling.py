"""Small runs of several shapes on the same tokens, from the same start, to choose an architecture by: models/scaling.json.

Run from training/:  python -m pipeline.scaling --tokens 300000
Each shape begins from random weights with heads that copy and sees the same batches; what it costs is processor time, so that other work on
the machine does not matter. The losses are of held-out packages. A shape that was run before is not run again.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pipeline import model
from pipeline.batches import Corpus, batch
from pipeline.copy_init import with_copying_heads
from pipeline.export import OUT
from pipeline.model import Config
from pipeline.tokenizer import MODEL, Tokenizer
from pipeline.train import ROOT, SHORT, Limits, keep_memory, run_training

SHAPES = {
    "shallow": Config(head_count_kv=3, block_count=3, sliding_pattern=3, sliding_window=512),
    "shipped": Config(head_count_kv=3, sliding_window=512),
    "narrow": Config(embedding_length=128, head_count=2, head_count_kv=2, feed_forward_length=384, sliding_window=512),
    "deep": Config(head_count_kv=3, block_count=12, sliding_window=512),
    "wide": Config(embedding_length=256, head_count=4, head_count_kv=4, feed_forward_length=768, sliding_window=512),
}
MEASURED = 12  # batches of held-out packages


def measured(config: Config, params: model.Params, held_out: Corpus, tokenizer: Tokenizer) -> dict[str, float]:
    loss = jax.jit(partial(model.loss, config))
    rows = [loss(params, batch(held_out, tokenizer, SHORT, 99, step))[1] for step in range(MEASURED)]
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}


def scale(name: str, corpus: Corpus, held_out: Corpus, tokenizer: Tokenizer, tokens: int, seed: int = 5) -> dict[str, float | str]:
    """One run of one shape."""
    config = SHAPES[name]
    params = with_copying_heads(config, model.init(config, jax.random.key(seed)))
    weights = sum(value.size for value in params.values())
    steps = round(tokens / (SHORT.rows * SHORT.length))
    stage = SHORT.__class__(**{**SHORT.__dict__, "until": 1.01})
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trained = run_training(Path(folder), corpus, tokenizer, config, params, (stage,), Limits(1e6, steps), seed, loss=partial(model.loss, config, linear=model.half))
    seconds = time.process_time() - begin
    return {"shape": name, "parameters": int(weights), "blocks": config.block_count, "width": config.embedding_length, "tokens": steps * SHORT.rows * SHORT.length,
            "processor_seconds": round(seconds), **measured(config, jax.tree.map(jnp.asarray, trained), held_out, tokenizer)}


def main() -> None:
    keep_memory("pipeline.scaling")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="*", choices=[*SHAPES], default=[*SHAPES])
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument("--corpus", type=Path, default=ROOT / "data" / "corpus.jsonl")
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--out", type=Path, default=OUT.with_name("scaling.json"))
    arguments = parser.parse_args()
    rows = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    train, held_out = Corpus(arguments.corpus, "train"), Corpus(arguments.corpus, "held-out")
    for name in arguments.shapes:
        if all(row["shape"] != name for row in rows):
            rows.append(scale(name, train, held_out, Tokenizer(arguments.tokenizer), arguments.tokens))
            arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
