"""Adapt a Gemma 3 checkpoint to your own code, and write it as GGUF. Run a command again to go on after a kill.

Run from training/:
  python -m pipeline.adapt train --checkpoint gemma-3-1b-it --data mine.jsonl --run runs/mine --steps 600
  python -m pipeline.adapt export --run runs/mine --out mine.gguf
  python -m pipeline.adapt train --method qat --checkpoint runs/mine/merged --data mine.jsonl --run runs/mine-qat --steps 600
  python -m pipeline.adapt export --run runs/mine-qat --out mine-q4_0.gguf --type q4_0

`lora` (default) trains adapters of a BF16 model. `qat` trains every matrix while the forward pass rounds weights to Q4_0 and activations to
int8, towards the probabilities of the checkpoint it started from. The forms of the data are in pipeline/adapt_data.py and README.md.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import load_file, save_file

from pipeline import lora, model
from pipeline.adapt_data import Batches, Row, encode, fitted, has_middle, pack, read_objects, split
from pipeline.huggingface import CheckpointError, CheckpointTokenizer, count, read_config, read_params, to_float, write_checkpoint
from pipeline.model import Config, Linear, Params

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RATES = {"lora": 2e-4, "qat": 1e-5}
HEAD_BLOCK = 128  # positions whose logits over the whole vocabulary are held at once
WARM_UP_SHARE = 0.05
CHECKPOINT_SECONDS = 300
EVALUATION_ROWS = 64


@dataclass(frozen=True)
class Settings:
    """What a run was started with; a resumed run must be the same."""

    checkpoint: str
    data: str
    method: str = "lora"
    steps: int = 600
    length: int = 1024
    batch: int = 4
    rate: float = 2e-4
    rank: int = 16
    alpha: float = 32.0
    held_out: float = 0.05
    seed: int = 1

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def forward(config: Config, params: Params, data: dict[str, jax.Array], linear: Linear) -> jax.Array:
    """States before each next token, [rows, length - 1, width]."""
    return model.hidden_states(config, params, data["tokens"], data["segments"], linear=linear, again=True)[:, :-1]


def over_positions(score: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Sum of `score` over blocks of positions; logits of one block at a time exist, in the gradient too."""
    flat = [a.reshape(-1, *a.shape[2:]) for a in arrays]
    padding = -flat[0].shape[0] % HEAD_BLOCK
    blocks = tuple(jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1)).reshape(-1, HEAD_BLOCK, *a.shape[1:]) for a in flat)
    step = jax.checkpoint(lambda total, block: (total + score(*block), None))
    return jax.lax.scan(step, jnp.zeros(()), blocks)[0]


def cross_entropy(states: jax.Array, embedding: jax.Array, data: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Summed weighted nats of the next tokens, and the summed weights."""
    weights = data["weights"][:, 1:]

    def score(h: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
        scores = h @ embedding.T
        return jnp.sum((jax.nn.logsumexp(scores, axis=-1) - jnp.take_along_axis(scores, target[:, None], axis=-1)[:, 0]) * weight)

    return over_positions(score, states, data["tokens"][:, 1:], weights), jnp.sum(weights)


def divergence(states: jax.Array, embedding: jax.Array, teacher: jax.Array, teacher_embedding: jax.Array, data: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Summed KL(teacher || student) in nats over every position of the data, and their number."""
    within = ((data["segments"][:, 1:] > 0) & (data["segments"][:, 1:] == data["segments"][:, :-1])).astype(jnp.float32)

    def score(h: jax.Array, t: jax.Array, weight: jax.Array) -> jax.Array:
        own, target = jax.nn.log_softmax(h @ embedding.T), jax.nn.log_softmax(t @ teacher_embedding.T)
        return jnp.sum(jnp.sum(jnp.exp(target) * (target - own), axis=-1) * weight)

    return over_positions(score, states, teacher, within), jnp.sum(within)


def loss(config: Config, settings: Settings, trained: Params, frozen: Params, data: dict[str, jax.Array]) -> jax.Array:
    """Mean nats of what is learnt (lora), or mean divergence from the frozen checkpoint (qat)."""
    if settings.method == "lora":
        params = {**frozen, **trained}
        total, weight = cross_entropy(forward(config, params, data, lora.adapted(settings.scale)), params["token_embd"], data)
        return total / jnp.maximum(weight, 1.0)
    teacher = jax.lax.stop_gradient(forward(config, frozen, data, lora.adapted(1.0)))
    states = forward(config, trained, data, lora.quantised(1.0))
    total, weight = divergence(states, trained["token_embd"], teacher, frozen["token_embd"], data)
    return total / jnp.maximum(weight, 1.0)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=(3, 4))
def update(config: Config, settings: Settings, transform: optax.GradientTransformation, trained: Params, state: optax.OptState, frozen: Params,
           data: dict[str, jax.Array]) -> tuple[Params, optax.OptState, jax.Array]:
    value, gradients = jax.value_and_grad(lambda t: loss(config, settings, t, frozen, data))(trained)
    updates, state = transform.update(gradients, state, trained)
    return optax.apply_updates(trained, updates), state, value


@partial(jax.jit, static_argnums=(0, 1))
def nats(config: Config, settings: Settings, trained: Params, frozen: Params, data: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of the model as it would be exported: (sum, weight)."""
    params = {**frozen, **trained}
    linear = lora.adapted(settings.scale) if settings.method == "lora" else lora.quantised(1.0)
    return cross_entropy(forward(config, params, data, linear), params["token_embd"], data)


@cache
def optimiser(settings: Settings) -> optax.GradientTransformation:
    warm = max(1, round(settings.steps * WARM_UP_SHARE))
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.rate, warm, max(settings.steps, warm + 1), settings.rate * 0.05)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.98, weight_decay=0.0 if settings.method == "qat" else 0.01))


def trained_at_first(config: Config, settings: Settings, frozen: Params) -> Params:
    if settings.method == "lora":
        return lora.init(config, settings.rank, jax.random.key(settings.seed))
    return {name: jnp.array(value, jnp.float32) for name, value in frozen.items()}


def save(run: Path, trained: Params, state: optax.OptState, step: int) -> None:
    """Beside the old one, to disk, then over it: a kill or a power cut leaves one whole."""
    leaves = {f"state.{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    new = run / "checkpoint.new"
    save_file({**{name: np.asarray(value) for name, value in trained.items()}, **leaves, "step": np.array(step)}, new)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(new, run / "checkpoint.safetensors")


def restore(run: Path, trained: Params, state: optax.OptState) -> tuple[Params, optax.OptState, int]:
    file = run / "checkpoint.safetensors"
    if not file.exists():
        return trained, state, 0
    arrays = load_file(file)
    leaves, tree = jax.tree.flatten(state)
    restored = jax.tree.unflatten(tree, [jnp.asarray(arrays[f"state.{i}"]) for i in range(len(leaves))])
    return {name: jnp.asarray(arrays[name]) for name in trained}, restored, int(arrays["step"])


def agree(run: Path, settings: Settings) -> None:
    """Note the settings, or refuse to go on with others."""
    file = run / "settings.json"
    run.mkdir(parents=True, exist_ok=True)
    if file.exists():
        before = json.loads(file.read_text())
        changed = [f"{key} was {before[key]!r}, is {value!r}" for key, value in asdict(settings).items() if before.get(key) != value]
        if changed:
            raise SystemExit(f"{run} was started otherwise: {'; '.join(changed)}. Give the same settings, or another --run.")
    file.write_text(json.dumps(asdict(settings), indent=1) + "\n")


def read_rows(settings: Settings, tokenizer: CheckpointTokenizer) -> tuple[list[Row], list[Row]]:
    """(training, held-out) rows, cut to the length."""
    parts = split(read_objects(Path(settings.data)), settings.held_out, settings.seed)
    training, held = ([part for row in rows for part in fitted(encode(tokenizer, row), settings.length)] for rows in parts)
    if not training:
        raise SystemExit(f"{settings.data} holds nothing to learn: every answer is empty.")
    return training, held


def perplexity(config: Config, settings: Settings, trained: Params, frozen: Params, held: list[Row]) -> float | None:
    """Of the held-out answers; None without any."""
    rows = pack(held, settings.length, 0)[:EVALUATION_ROWS] if held else []
    if not rows:
        return None
    sums = [nats(config, settings, trained, frozen, {key: value[None] for key, value in row.items()}) for row in rows]
    return math.exp(sum(float(total) for total, _ in sums) / max(sum(float(weight) for _, weight in sums), 1.0))


def shown_time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def train(run: Path, settings: Settings, stop_after: int | None = None) -> None:
    """Train until the settings' steps are done, from the run's checkpoint where there is one."""
    agree(run, settings)
    source = Path(settings.checkpoint)
    config = read_config(source)
    fim = has_middle(read_objects(Path(settings.data)))
    training, held = read_rows(settings, CheckpointTokenizer(source, fim))
    batches = Batches(training, settings.length, settings.batch, settings.seed)
    frozen = read_params(source, config)
    trained = trained_at_first(config, settings, frozen)
    print(f"{source}: {count(frozen) / 1e6:.1f} M parameters, {count(trained) / 1e6:.2f} M trained; {len(training)} examples, {len(held)} held out, "
          f"{batches.per_epoch} steps an epoch", flush=True)
    transform = optimiser(settings)
    state = transform.init(trained)
    trained, state, step = restore(run, trained, state)
    if step == 0:
        note(run, {"step": 0, "perplexity": perplexity(config, settings, trained, frozen, held)})
    began = last_save = last_shown = time.monotonic()
    first = step
    while step < settings.steps and step != stop_after:
        trained, state, value = update(config, settings, transform, trained, state, frozen, batches[step])
        step += 1
        if not math.isfinite(float(value)):
            raise SystemExit(f"The loss is not finite at step {step}: give a smaller --rate and another --run.")
        now = time.monotonic()
        note(run, {"step": step, "loss": float(value)}, show=False)
        if now - last_shown > 10 or step in (settings.steps, first + 1):
            left = (now - began) / (step - first) * (settings.steps - step)
            print(f"step {step} of {settings.steps}: loss {float(value):.4f}, {shown_time(left)} left", flush=True)
            last_shown = now
        if now - last_save > CHECKPOINT_SECONDS:
            save(run, trained, state, step)
            last_save = now
    save(run, trained, state, step)
    if step == settings.steps:
        note(run, {"step": step, "perplexity": perplexity(config, settings, trained, frozen, held)})


def note(run: Path, row: dict[str, float | None], show: bool = True) -> None:
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps(row) + "\n")
    if show and row.get("perplexity") is not None:
        print(f"step {row['step']}: perplexity of the held-out answers {row['perplexity']:.3f}", flush=True)


def merge(run: Path) -> Path:
    """Write the adapted model as a Hugging Face checkpoint into the run's folder, tensor by tensor."""
    settings = Settings(**json.loads((run / "settings.json").read_text()))
    file = run / "checkpoint.safetensors"
    if not file.exists():
        raise SystemExit(f"{run} has no checkpoint yet; train first.")
    trained = {name: jnp.asarray(value) for name, value in load_file(file).items() if not name.startswith("state.") and name != "step"}

    def changed(name: str, value: np.ndarray) -> np.ndarray:
        if settings.method == "qat":
            return np.asarray(trained[name])
        if f"{name}.lora_a" not in trained:
            return value
        return np.asarray(lora.merged({**trained, name: jnp.asarray(to_float(value))}, name, settings.scale))

    folder = run / "merged"
    write_checkpoint(Path(settings.checkpoint), folder, changed, fim=has_middle(read_objects(Path(settings.data))))
    return folder


def node_program() -> str:
    """Node of this repository, else the one in PATH."""
    own = REPOSITORY / "node_modules" / "node" / "bin" / "node"
    found = str(own) if own.is_file() else shutil.which("node")
    if found is None:
        raise SystemExit("Node.js is needed to write the GGUF file: run `npm install` in the repository, or install Node.")
    return found


def export(run: Path, out: Path, kind: str, embedding: str) -> None:
    """Merge, then let the product's own converter write the GGUF: it knows metadata, tokenizer and rounding, and is tested with llama.cpp."""
    folder = merge(run)
    command = [node_program(), str(REPOSITORY / "sidecar" / "main.ts"), "quantize", str(folder), str(out), "--type", kind, "--embedding", embedding]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CheckpointError(f"{folder} could not be written as GGUF: {done.stderr.strip()}")
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; the merged checkpoint is in {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("train", help="train, or go on with a run")
    begin.add_argument("--checkpoint", type=Path, required=True, help="folder with config.json, tokenizer.json and safetensors")
    begin.add_argument("--data", type=Path, required=True, help="JSONL")
    begin.add_argument("--run", type=Path, required=True)
    begin.add_argument("--method", choices=sorted(RATES), default="lora")
    begin.add_argument("--rate", type=float, help="highest learning rate")
    for name, kind in (("steps", int), ("length", int), ("batch", int), ("rank", int), ("alpha", float), ("held_out", float), ("seed", int)):
        begin.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Settings, name))
    end = commands.add_parser("export", help="write a GGUF file")
    end.add_argument("--run", type=Path, required=True)
    end.add_argument("--out", type=Path, required=True)
    end.add_argument("--type", choices=("q4_0", "q8_0", "f16"), default="q4_0")
    end.add_argument("--embedding", choices=("q4_0", "q8_0", "f16"), default="q8_0")
    arguments = parser.parse_args()
    if arguments.command == "export":
        export(arguments.run, arguments.out, arguments.type, arguments.embedding)
        return
    values = {key: value for key, value in vars(arguments).items() if key not in ("command", "run")}
    values |= {"checkpoint": str(arguments.checkpoint.resolve()), "data": str(arguments.data.resolve()), "rate": arguments.rate or RATES[arguments.method]}
    train(arguments.run, Settings(**values))


if __name__ == "__main__":
    sys.exit(main())
