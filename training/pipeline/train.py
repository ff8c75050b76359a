"""Train the built-in model; run again with the same --run to go on after a kill.

Run from training/:  python -m pipeline.train --run runs/first --minutes 80
The schedule follows training time spent, not steps, so that a run ends when it should on a busy machine.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, muon
from safetensors.numpy import load_file, save_file

from pipeline import model
from pipeline.batches import Corpus, Stage, batch
from pipeline.copy_init import with_copying_heads
from pipeline.grow import with_blocks, with_heads
from pipeline.model import Config, Params
from pipeline.soft_pool import SoftPool
from pipeline.tokenizer import MODEL, Tokenizer

ROOT = Path(__file__).resolve().parent.parent
SHORT = Stage(until=0.6, length=512, rows=8, characters=(60, 240), code=(150, 1300), turns=(3, 8), chat=0.72, middle=0.2, pictures=0.7, beside=0.12)
LONG = Stage(until=0.6, length=2048, rows=2, characters=(1200, 4200), code=(600, 4500), turns=(3, 7), chat=0.8, middle=0.15, pictures=0.2)
STAGES = (SHORT, SHORT, LONG, replace(SHORT, until=1.01), replace(LONG, until=1.01))
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 6e-3, 3e-3, 0.02
WARM_UP_STEPS, DECAY_FROM = 30, 0.5
CHECKPOINT_SECONDS = 120
# XLA on the CPU frees and maps its large buffers at every step; glibc then keeps them: 1.5 times the speed.
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_ARENA_MAX": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def schedule(progress: float, step: int) -> float:
    """Factor on the learning rates: warm-up, constant, then linear decay to 2 %."""
    decay = 1.0 if progress < DECAY_FROM else 1.0 - 0.98 * min(1.0, (progress - DECAY_FROM) / (1.0 - DECAY_FROM))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * decay


def optimiser(params: Params) -> optax.GradientTransformation:
    """Muon for the linears, Adam for the embedding and the norms."""
    dimensions = {name: MuonDimensionNumbers(1, 0) if model.is_linear(name) else None for name in params}
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        muon(MUON_RATE, adam_learning_rate=ADAM_RATE, weight_decay=WEIGHT_DECAY, adam_b2=0.98, consistent_rms=0.2, muon_weight_dimension_numbers=dimensions),
    )


Batch = dict[str, jax.Array | Params]
Loss = Callable[[Params, Batch], tuple[jax.Array, dict[str, jax.Array]]]


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def update(loss: Loss, transform: optax.GradientTransformation, params: Params, state: optax.OptState, data: Batch,
           factor: float) -> tuple[Params, optax.OptState, jax.Array, dict[str, jax.Array]]:
    """One optimiser step; the learning rates are scaled by `factor`."""
    (value, parts), gradients = jax.value_and_grad(lambda p: loss(p, data), has_aux=True)(params)
    updates, state = transform.update(gradients, state, params)
    params = optax.apply_updates(params, jax.tree.map(lambda u: u * factor, updates))
    return params, state, value, parts


@dataclass(frozen=True)
class Limits:
    """When a run ends: after `minutes` of training time or `steps` steps, whichever comes first."""

    minutes: float
    steps: int | None = None

    def progress(self, done: dict[str, float]) -> float:
        """0 at the start, 1 at the end."""
        by_time = done["seconds"] / (self.minutes * 60)
        return max(by_time, done["step"] / self.steps) if self.steps else by_time

    def minutes_left(self, done: dict[str, float]) -> float:
        spent, progress = done["seconds"] / 60, self.progress(done)
        return min(self.minutes - spent, spent / progress - spent) if progress > 0 else self.minutes


def save(run: Path, params: Params, state: optax.OptState, progress: dict[str, float]) -> None:
    """Write the checkpoint beside the old one, then swap, so that a kill leaves one whole."""
    leaves = {f"state.{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    target = run / "checkpoint.safetensors"
    save_file({**{name: np.asarray(value) for name, value in params.items()}, **leaves}, target.with_suffix(".new"),
              metadata={"progress": json.dumps(progress)})
    os.replace(target.with_suffix(".new"), target)


def restore(run: Path, params: Params, state: optax.OptState) -> tuple[Params, optax.OptState]:
    arrays = load_file(run / "checkpoint.safetensors")
    leaves, tree = jax.tree.flatten(state)
    return ({name: jax.numpy.asarray(arrays[name]) for name in params},
            jax.tree.unflatten(tree, [jax.numpy.asarray(arrays[f"state.{i}"]) for i in range(len(leaves))]))


def read_progress(run: Path) -> dict[str, float]:
    file = run / "checkpoint.safetensors"
    if not file.exists():
        return {"step": 0, "seconds": 0.0, "tokens": 0}
    header_size = int.from_bytes(file.read_bytes()[:8], "little")
    header = json.loads(file.read_bytes()[8:8 + header_size])
    return json.loads(header["__metadata__"]["progress"])


def run_training(run: Path, corpus: Corpus, tokenizer: Tokenizer, config: Config, params: Params, stages: tuple[Stage, ...], limits: Limits,
                 seed: int, stop_after: int | None = None, loss: Loss | None = None, transform: optax.GradientTransformation | None = None,
                 fixed: dict[str, Params] | None = None, pool: SoftPool | None = None) -> Params:
    """Train from `params`, or go on from the run's checkpoint, until the limits or, for tests of resuming, `stop_after` steps.

    `loss` sees each batch with what is `fixed`, such as a teacher's parameters, beside it; images are those of the `pool`, where there is one.
    """
    run.mkdir(parents=True, exist_ok=True)
    config.save(run / "config.json")
    params = jax.tree.map(jax.numpy.copy, params)  # every step donates its buffers
    loss = loss or partial(model.loss, config)
    transform = transform or optimiser(params)
    state = transform.init(params)
    progress = read_progress(run)
    if progress["step"]:
        params, state = restore(run, params, state)
    last_time, last_save = time.monotonic(), time.monotonic()
    with ThreadPoolExecutor(1) as worker, (run / "log.jsonl").open("a") as log:

        def prepared(step: int) -> Future[dict[str, np.ndarray]]:
            until = min(stage.until for stage in stages if limits.progress(progress) < stage.until)
            current = [stage for stage in stages if stage.until == until]
            return worker.submit(batch, corpus, tokenizer, current[step % len(current)], seed, step, pool)

        pending = prepared(int(progress["step"]))
        while limits.progress(progress) < 1 and progress["step"] != stop_after:
            data = pending.result()
            pending = prepared(int(progress["step"]) + 1)
            factor = schedule(limits.progress(progress), int(progress["step"]))
            params, state, value, parts = update(loss, transform, params, state, {**data, **(fixed or {})}, factor)
            value = float(value)
            now = time.monotonic()
            progress["seconds"] += now - last_time
            last_time = now
            progress["step"] += 1
            progress["tokens"] += int((data["segments"] > 0).sum())
            if not math.isfinite(value):
                raise SystemExit(f"the loss is not finite at step {progress['step']}: lower the learning rate and start from an older checkpoint")
            row = {**progress, "length": data["tokens"].shape[1], "factor": factor, "loss": value, **{k: float(v) for k, v in parts.items()}}
            log.write(json.dumps(row) + "\n")
            if progress["step"] % 20 == 0:
                log.flush()
                figures = " ".join(f"{name} {row[name]:.3f}" for name in ("loss", *parts))
                print(f"step {progress['step']:.0f} tokens {progress['tokens'] / 1e6:.2f}M length {row['length']} {figures} "
                      f"left {limits.minutes_left(progress):.0f} min", flush=True)
            if now - last_save > CHECKPOINT_SECONDS:
                save(run, params, state, progress)
                last_save = now
    save(run, params, state, progress)
    return params


def keep_memory(module: str) -> None:
    """Start this command again with the allocator settings; they are read at process start only."""
    if sys.platform == "linux" and os.environ.get("MALLOC_MMAP_MAX_") != "0":
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], {**os.environ, **ALLOCATOR})


def main() -> None:
    keep_memory("pipeline.train")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--corpus", type=Path, default=ROOT / "data" / "corpus.jsonl")
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--config", type=Path, help="config.json of another shape")
    parser.add_argument("--start", type=Path, help="safetensors to start from")
    parser.add_argument("--blocks", type=int, help="with --start: grow to this many blocks")
    parser.add_argument("--kv-heads", type=int, help="with --start: grow to this many key/value heads")
    parser.add_argument("--window", type=int, help="tokens that local layers see, where it is not the shape's")
    parser.add_argument("--soft", type=Path, help="drawings as a tower reads them (pipeline.soft_pool)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    config = Config.load(arguments.config) if arguments.config else Config()
    tokenizer = Tokenizer(arguments.tokenizer)
    if arguments.start:
        params = {name: jax.numpy.asarray(value, jax.numpy.float32) for name, value in load_file(arguments.start).items()}
        config = Config.load(arguments.config or arguments.start.with_suffix(".json"))
        config, params = with_heads(config, params, arguments.kv_heads or config.head_count_kv)
        config, params = with_blocks(config, params, arguments.blocks or config.block_count)
    else:
        params = with_copying_heads(config, model.init(config, jax.random.key(arguments.seed)))
    config = replace(config, sliding_window=arguments.window or config.sliding_window)
    run_training(arguments.run, Corpus(arguments.corpus, "train"), tokenizer, config, params, STAGES, Limits(arguments.minutes), arguments.seed,
                 loss=partial(model.loss, config, linear=model.half), pool=SoftPool(arguments.soft) if arguments.soft else None)


if __name__ == "__main__":
    main()
