"""Measure an exported GGUF on held-out packages and write models/evaluation.json.

Run from training/:  python -m pipeline.evaluate
The weights are read back from the file (dequantised), so the figures are those of the shipped model. A greedy answer is
exactly right if and only if every token of the expected answer is the most likely one after the tokens before it, so one
forward pass scores one answer.
"""

import argparse
import json
import math
import random
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np

from pipeline import model, prompt_form, tasks
from pipeline.batches import Corpus, encode
from pipeline.export import OUT
from pipeline.model import Config, Params
from pipeline.ngram import Trigram
from pipeline.tokenizer import MODEL, Tokenizer

ROOT = Path(__file__).resolve().parent.parent
LENGTH = 1024
LENGTHS = (256, 512, 1024, 2048)
CONTEXTS = {"short": (250, 850), "medium": (850, 1900), "long": (1900, 3800)}


def read_gguf(path: Path) -> tuple[Config, Params]:
    """Shape and dequantised parameters of a GGUF that `export` wrote."""
    reader = gguf.GGUFReader(path)

    def value(key: str) -> int:
        return int(reader.fields[f"gemma3.{key}"].contents())

    config = Config(
        vocabulary=len(reader.fields["tokenizer.ggml.tokens"].data), embedding_length=value("embedding_length"), block_count=value("block_count"),
        head_count=value("attention.head_count"), head_count_kv=value("attention.head_count_kv"), key_length=value("attention.key_length"),
        feed_forward_length=value("feed_forward_length"), sliding_window=value("attention.sliding_window"), context_length=value("context_length"),
    )
    params: Params = {}
    for tensor in reader.tensors:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        name = tensor.name.removesuffix(".weight")
        params[name] = jnp.asarray(weights - 1.0 if name.endswith("_norm") else weights)
    return config, params


@partial(jax.jit, static_argnums=0)
def score(config: Config, params: Params, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For tokens [length], 0-padded: nats of each token after the first, and the most likely id there."""
    scores = model.logits(config, params, tokens[None], (tokens[None] >= 0).astype(jnp.int32))[0, :-1]
    nats = jax.nn.logsumexp(scores, axis=-1) - jnp.take_along_axis(scores, tokens[1:, None], axis=-1)[:, 0]
    return nats, jnp.argmax(scores, axis=-1)


def scored(config: Config, params: Params, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """`score` at the next compiled length; arrays of len(ids) - 1."""
    padded = np.zeros(next(n for n in LENGTHS if n >= len(ids)), np.int32)
    padded[:len(ids)] = ids
    nats, best = score(config, params, jnp.asarray(padded))
    return np.asarray(nats)[:len(ids) - 1], np.asarray(best)[:len(ids) - 1]


def perplexity(config: Config, params: Params, tokenizer: Tokenizer, held_out: Corpus, train: Corpus, files: int, baseline_tokens: int) -> dict[str, object]:
    """Perplexity per token and bits per byte on the first `LENGTH` tokens of held-out files, with two baselines on the same tokens."""
    rng = random.Random(11)
    documents = [d for documents in held_out.packages for d in documents]
    learnt: list[list[int]] = []
    seen = 0
    while seen < baseline_tokens:
        document = rng.choice(train.draw(rng))
        learnt.append([tokenizer.control["<bos>"], *tokenizer.encode(document.text)])
        seen += len(learnt[-1])
    trigram = Trigram(tokenizer.size, learnt)
    nats: Counter[str] = Counter()
    tokens = size = 0
    by_language: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for document in rng.sample(documents, min(files, len(documents))):
        ids = [tokenizer.control["<bos>"], *tokenizer.encode(document.text)][:LENGTH]
        part = float(scored(config, params, ids)[0].sum())
        bytes_here = len(tokenizer.decode(ids[1:]).encode())
        nats["model"] += part
        nats["unigram"] += trigram.nats(ids, 1)
        nats["trigram"] += trigram.nats(ids, 3)
        tokens += len(ids) - 1
        size += bytes_here
        by_language[document.language][0] += part
        by_language[document.language][1] += bytes_here
    return {
        "tokens": tokens, "bytes": size, "baseline_tokens": seen,
        **{name: {"perplexity": round(math.exp(value / tokens), 2), "bits_per_byte": round(value / math.log(2) / size, 3)} for name, value in nats.items()},
        "bits_per_byte_by_language": {k: round(n / math.log(2) / b, 3) for k, (n, b) in sorted(by_language.items())},
    }


def kind_of(answer: str) -> str:
    for kind, mark in (("where", " is defined in "), ("takes", " takes "), ("returns", " returns "), ("imports", " is imported in "), ("unknown", "I cannot find "),
                       ("contents", " defines "), ("list", "- `")):
        if mark in answer:
            return kind
    return "does"


def questions(config: Config, params: Params, tokenizer: Tokenizer, held_out: Corpus, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Share of first-turn answers that are exactly right, and for "where" the share with the right path, by context size and kind."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, (low, high) in CONTEXTS.items():
        rng = random.Random(f"questions {name}")
        right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
        for _ in range(rounds):
            spans = tasks.chat(held_out.draw(rng), held_out.names, rng.randint(low, high), 1, rng)
            if spans is None:
                continue
            answer = spans[-1][0]
            ids, weights = encode(tokenizer, spans)
            if len(ids) > LENGTHS[-1]:
                continue
            expected = [i for i, w in enumerate(weights) if w == 1.0]
            best = scored(config, params, ids)[1]
            correct = [best[i - 1] == ids[i] for i in expected]
            path_end = len(tokenizer.encode_prompt(answer.rpartition(":")[0])) if ":" in answer else len(correct)
            right[kind_of(answer)].append((all(correct), all(correct[:path_end])))
        result[name] = {kind: {"asked": len(marks), "exact": round(float(np.mean([m[0] for m in marks])), 3), "to_path": round(float(np.mean([m[1] for m in marks])), 3)}
                        for kind, marks in sorted(right.items())}
    return result


def middles(config: Config, params: Params, tokenizer: Tokenizer, held_out: Corpus, rounds: int) -> dict[str, dict[str, float]]:
    """Exact match of fill-in-the-middle where the missing text lies on one line, by language."""
    rng = random.Random(13)
    marks: dict[str, list[bool]] = defaultdict(list)
    for _ in range(rounds):
        documents = held_out.draw(rng)
        document = rng.choice(documents)
        spans = tasks.fill_in_middle(document, [], rng.randint(500, 1900), rng)
        if spans is None or "\n" in spans[-1][0]:
            continue
        ids, weights = encode(tokenizer, spans)
        if len(ids) > LENGTHS[-1]:
            continue
        best = scored(config, params, ids)[1]
        marks[document.language].append(all(best[i - 1] == ids[i] for i, w in enumerate(weights) if w == 1.0))
    every = [m for row in marks.values() for m in row]
    return {"all": {"asked": len(every), "exact": round(float(np.mean(every)), 3)},
            **{k: {"asked": len(v), "exact": round(float(np.mean(v)), 3)} for k, v in sorted(marks.items())}}


def greedy(config: Config, params: Params, tokenizer: Tokenizer, prompt: str, limit: int = 60) -> str:
    """The greedy answer, by whole forward passes: slow, for samples only."""
    ids = tokenizer.encode_prompt(prompt)
    begin = len(ids)
    stop = {tokenizer.control["<eos>"], tokenizer.control["<end_of_turn>"]}
    while len(ids) < begin + limit:
        best = int(scored(config, params, [*ids, 0])[1][-1])
        if best in stop:
            break
        ids.append(best)
    return tokenizer.decode(ids[begin:])


def samples(config: Config, params: Params, tokenizer: Tokenizer, held_out: Corpus, count: int) -> list[dict[str, str]]:
    rng = random.Random(17)
    rows: list[dict[str, str]] = []
    while len(rows) < count:
        spans = tasks.chat(held_out.draw(rng), held_out.names, rng.randint(300, 1200), 1, rng)
        if spans:
            prompt = "".join(text for text, _ in spans[:-1])
            question = prompt.rpartition("Question: ")[2].partition("<end_of_turn>")[0]
            rows.append({"question": question, "expected": spans[-1][0].removesuffix("<end_of_turn>"), "answer": greedy(config, params, tokenizer, prompt)})
    for text in ("Hello", "What can you do?"):
        rows.append({"question": text, "expected": "", "answer": greedy(config, params, tokenizer, "<bos>" + prompt_form.user_turn(text))})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=OUT)
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--corpus", type=Path, default=ROOT / "data" / "corpus.jsonl")
    parser.add_argument("--out", type=Path, default=OUT.with_name("evaluation.json"))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of files and questions")
    arguments = parser.parse_args()
    config, params = read_gguf(arguments.model)
    config = replace(config, context_length=LENGTHS[-1])
    tokenizer = Tokenizer(arguments.tokenizer)
    train, held_out = Corpus(arguments.corpus, "train"), Corpus(arguments.corpus, "held-out")
    many = lambda count: max(1, int(count * arguments.scale))  # noqa: E731
    result = {
        "perplexity": perplexity(config, params, tokenizer, held_out, train, many(160), many(3_000_000)),
        "questions": questions(config, params, tokenizer, held_out, many(400)),
        "fill_in_middle_one_line": middles(config, params, tokenizer, held_out, many(400)),
        "samples": samples(config, params, tokenizer, held_out, many(12)),
    }
    arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
