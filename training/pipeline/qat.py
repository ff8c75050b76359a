"""Quantisation-aware training: teach a trained checkpoint to answer after rounding as it does before.

Run from training/:  python -m pipeline.qat --start ../models/parent.safetensors --run runs/qat --minutes 20
As the Gemma 3 report describes it: the targets are the probabilities of the unquantised checkpoint, weights (Q4_0; embedding Q8_0) and
activations (int8 in blocks of 32, as the kernels round them) are rounded in the forward pass only, and gradients, weights and
optimiser state stay in F32. Run again with the same --run to go on after a kill.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from safetensors.numpy import load_file

from pipeline import model
from pipeline.batches import Corpus, Stage
from pipeline.model import Config, Params
from pipeline.quant import fake_int8, fake_q4_0, fake_q8_0
from pipeline.soft_pool import SoftPool
from pipeline.tokenizer import MODEL, Tokenizer
from pipeline.train import ROOT, Batch, Limits, keep_memory, run_training

SHORT = Stage(until=1.01, length=512, rows=4, characters=(60, 700), code=(150, 1300), turns=(2, 6), chat=0.5, middle=0.25, pictures=0.6, beside=0.12)
STAGES = (SHORT, SHORT, Stage(until=1.01, length=2048, rows=1, characters=(1200, 4400), code=(600, 4500), turns=(2, 6), chat=0.7, middle=0.2, pictures=0.1))
STEPS = 5000
RATE = 6e-4
PROMPT_SHARE = 0.2  # weight of positions that training does not score, such as questions; the teacher knows them too


def rounded(params: Params) -> Params:
    """The parameters as the exported file holds them (Q4_0 linears, Q8_0 embedding), with straight-through gradients."""
    return {name: fake_q4_0(value) if model.is_linear(name) else fake_q8_0(value) if name == "token_embd" else value for name, value in params.items()}


def rounding_linear(params: Params, name: str, x: jax.Array) -> jax.Array:
    """A product as the kernels compute it: activations rounded to int8."""
    return fake_int8(x) @ params[name].T


def rounded_logits(config: Config, params: Params, data: Batch) -> jax.Array:
    """Logits [batch, length, vocabulary] as the engine computes them from the exported file: rounded weights and activations."""
    return model.logits(config, rounded(params), data["tokens"], data["segments"], data.get("images"), data.get("soft"), rounding_linear)


def of_pictures(data: Batch) -> jax.Array:
    """True [batch, length] for tokens of examples that hold an image."""
    same = data["segments"][:, :, None] == data["segments"][:, None, :]
    return jnp.any(same & (data["images"] > 0)[:, None, :], axis=-1)


def distillation(config: Config, params: Params, data: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted mean KL divergence in nats from the probabilities of `data["teacher"]` to those after rounding.

    What is said of pictures is learnt from the right answers instead: the teacher is still learning it, and training goes on here.
    """
    exact = jax.nn.log_softmax(model.logits(config, data["teacher"], data["tokens"], data["segments"], data.get("images"), data.get("soft"))[:, :-1], axis=-1)
    ours = jax.nn.log_softmax(rounded_logits(config, params, data)[:, :-1], axis=-1)
    divergence = jnp.sum(jnp.exp(exact) * (exact - ours), axis=-1)
    scored = data["segments"][:, 1:] > 0
    weights = jnp.where(scored, jnp.maximum(data["weights"][:, 1:], PROMPT_SHARE), 0.0)
    answers = data["weights"][:, 1:] == 1.0
    seen = answers & of_pictures(data)[:, 1:]
    missed = -jnp.take_along_axis(ours, data["tokens"][:, 1:, None], axis=-1)[..., 0]
    divergence = jnp.where(seen, missed, divergence)
    value = jnp.sum(divergence * weights) / jnp.maximum(jnp.sum(weights), 1.0)
    same = (jnp.argmax(exact, axis=-1) == jnp.argmax(ours, axis=-1)) & answers
    told = answers & ~seen
    return value, {"answers": jnp.sum(divergence * told) / jnp.maximum(jnp.sum(told), 1.0), "same": jnp.sum(same & told) / jnp.maximum(jnp.sum(told), 1.0),
                   "pictures": jnp.sum(missed * seen) / jnp.maximum(jnp.sum(seen), 1.0)}


def optimiser() -> optax.GradientTransformation:
    """Adam without decay: the checkpoint is to be rounded well, not to be changed."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(RATE, b2=0.99))


def run_qat(run: Path, corpus: Corpus, tokenizer: Tokenizer, config: Config, teacher: Params, limits: Limits, stages: tuple[Stage, ...] = STAGES,
            seed: int = 2, stop_after: int | None = None, pool: SoftPool | None = None) -> Params:
    """Distil `teacher` into its own rounded form; returns the parameters to export."""
    loss = partial(distillation, config)
    return run_training(run, corpus, tokenizer, config, teacher, stages, limits, seed, stop_after, loss, optimiser(), {"teacher": teacher}, pool)


def main() -> None:
    keep_memory("pipeline.qat")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="safetensors of the trained checkpoint, its config .json beside it")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--corpus", type=Path, default=ROOT / "data" / "corpus.jsonl")
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--soft", type=Path, help="drawings as a tower reads them (pipeline.soft_pool)")
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    config = Config.load(arguments.start.with_suffix(".json"))
    teacher = {name: jnp.asarray(value, jnp.float32) for name, value in load_file(arguments.start).items()}
    run_qat(arguments.run, Corpus(arguments.corpus, "train"), Tokenizer(arguments.tokenizer), config, teacher, Limits(arguments.minutes, arguments.steps), seed=arguments.seed,
            pool=SoftPool(arguments.soft) if arguments.soft else None)


if __name__ == "__main__":
    main()
