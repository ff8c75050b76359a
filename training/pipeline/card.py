"""Write models/README.md, models/NOTICE and the loss plot from the manifest, the evaluation and the training log.

Run from training/:  python -m pipeline.card --run runs/first --machine "2 shared CPU cores"
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from pipeline.evaluate import read_gguf
from pipeline.export import OUT
from pipeline.train import QUANTISE_FROM

ROOT = Path(__file__).resolve().parent.parent
MODELS = OUT.parent
REGISTRY = {"npm": "npm packages", "pypi": "Python packages", "crates": "Rust crates", "python": "Python standard library", "go": "Go standard library"}


def plot(log: list[dict[str, float]], out: Path) -> None:
    """Smoothed losses over the tokens trained."""
    figure, axes = plt.subplots(figsize=(7, 3.2), dpi=110)
    for name in ("answers", "context"):
        smooth, value = [], log[0][name]
        for row in log:
            value += 0.03 * (row[name] - value)
            smooth.append(value)
        axes.plot([row["tokens"] / 1e6 for row in log], smooth, label=name, linewidth=1.2)
    axes.set_xlabel("tokens trained, millions")
    axes.set_ylabel("loss, nats per token")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(out)


def data_table(manifest: list[dict]) -> str:
    rows = ["| source | licences | packages | training MB | held-out MB |", "| --- | --- | ---: | ---: | ---: |"]
    for registry, title in REGISTRY.items():
        entries = [e for e in manifest if e["package"].startswith(registry + ":")]
        size = {split: sum(e["bytes"] for e in entries if e["split"] == split) / 1e6 for split in ("train", "held-out")}
        licences = ", ".join(sorted({e["licence"] for e in entries}))
        rows.append(f"| {title} | {licences} | {len(entries)} | {size['train']:.1f} | {size['held-out']:.1f} |")
    languages: Counter[str] = Counter()
    for entry in manifest:
        languages.update(entry["languages"])
    shares = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in languages.most_common())
    held_out = ", ".join(f"{e['package']} {e['version']}" for e in manifest if e["split"] == "held-out")
    return "\n".join(rows) + f"\n\nMB by language: {shares}.\n\nHeld out (never trained on): {held_out}."


def question_table(questions: dict[str, dict[str, dict[str, float]]]) -> str:
    kinds = sorted({kind for rows in questions.values() for kind in rows}, key=lambda k: (k != "where", k))
    lines = ["| question | " + " | ".join(f"{size} context" for size in questions) + " |", "| --- |" + " ---: |" * len(questions)]
    for kind in kinds:
        cells = []
        for rows in questions.values():
            row = rows.get(kind)
            right_path = f", right path {row['to_path']:.0%}" if row and kind == "where" else ""
            cells.append(f"{row['exact']:.0%} of {row['asked']}{right_path}" if row else "-")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def card(manifest: list[dict], evaluation: dict, log: list[dict[str, float]], machine: str) -> str:
    config, params = read_gguf(OUT)
    size, last = sum(value.size for value in params.values()), log[-1]
    text = evaluation["perplexity"]
    middle = evaluation["fill_in_middle_one_line"]
    languages = ", ".join(f"{k} {v['exact']:.0%} of {v['asked']}" for k, v in middle.items() if k != "all")
    quantised = last["seconds"] * (1 - QUANTISE_FROM) / 60
    samples = "\n".join(f"| {r['question']} | {r['answer']!r} | {r['expected']!r} |".replace("\\n", " ") for r in evaluation["samples"])
    return f"""# The built-in model

`{OUT.name}` ({OUT.stat().st_size / 1e6:.1f} MB) lets Gemma Sidecar run on a machine that has no Gemma weights. It has the true
Gemma 3 architecture and Gemma's turn format, but it is **not** one of Google's models: it has {size / 1e6:.1f} M parameters, was trained
from scratch for {last['seconds'] / 60:.0f} minutes on {machine}, and knows very little. Choose a full Gemma 3 for real work.

| file | what it is |
| --- | --- |
| `{OUT.name}` | the model: linears Q4_0, embedding Q8_0, norms F32, vocabulary |
| `parent.safetensors`, `parent.json` | the unquantised parent (BF16) and its shape; later trainings continue from it |
| `tokenizer.model` | the SentencePiece vocabulary |
| `data-manifest.json`, `NOTICE` | every package of the training data: version, licence, bytes |
| `evaluation.json`, `training.png` | the figures below and the loss curve |

## Shape

{config.block_count} blocks ({sum(config.is_global(i) for i in range(config.block_count))} global), hidden {config.embedding_length}, {config.head_count} heads, {config.head_count_kv} key/value head of {config.key_length}, feed-forward {config.feed_forward_length}, window {config.sliding_window},
{config.vocabulary} pieces. The file allows {config.context_length} positions; trained on rows of at most 1,024 tokens, so only the last block sees further
than training did, and answers about long contexts are worse.

## Data

{data_table(manifest)}

The split is by package. Minified, generated and data-like files and duplicates were left out. Of this, training saw
{last['tokens'] / 1e6:.2f} M tokens (many of them the same code again under other questions).

## Training

{last['step']:.0f} steps, {last['tokens'] / 1e6:.2f} M tokens, {last['seconds'] / 60:.0f} minutes on {machine}. Muon on the linears, Adam on the rest; in the last {quantised:.0f} minutes the
linears were rounded to Q4_0 in the forward pass. Mixture: chat about a repository, fill-in-the-middle, plain files; early on also
random pieces to repeat. The run starts from heads that are set by hand to copy (`pipeline/copy_init.py`) and then trained like the rest. See [training/README.md](../training/README.md) to repeat or continue it.

![Loss over tokens](training.png)

The steps at 1.5 M tokens are changes of the mixture, not of the model: the random repeats, which are easy, left "context", and plain
text, which is hard, moved from "answers" to "context" (its weight fell from 1 to 0.4).
The first 41 minutes ran a whole schedule, rounding included; the run then went on from its checkpoint with a schedule of 66.

## Figures

All on held-out packages, with the weights of the shipped file.

| next piece, {text['tokens']:,} tokens of held-out files | perplexity per token | bits per byte |
| --- | ---: | ---: |
| this model | {text['model']['perplexity']:.1f} | {text['model']['bits_per_byte']:.2f} |
| back-off trigram, trained on {text['baseline_tokens'] / 1e6:.1f} M tokens | {text['trigram']['perplexity']:.1f} | {text['trigram']['bits_per_byte']:.2f} |
| unigram | {text['unigram']['perplexity']:.1f} | {text['unigram']['bits_per_byte']:.2f} |

Repository questions, first turn, greedy, exactly the expected answer (path and line included):

{question_table(evaluation['questions'])}

Contexts: short 250-850, medium 850-1,900, long 1,900-3,800 characters of code.

Fill-in-the-middle, the rest of a line or a whole line, exact match: {middle['all']['exact']:.1%} of {middle['all']['asked']} ({languages}).

Greedy answers to the first held-out questions drawn:

| question | answer | expected |
| --- | --- | --- |
{samples}

## Limits

- It was trained for a very short time. Where the table above shows low figures, take its answers as samples of the form, not as facts.
- It answers only the kinds of questions in the table, in English, and says so badly when asked anything else.
- Citations are learnt, not checked: a path or line can be wrong, and mostly is.
- No fill-in-the-middle line was exactly right.
- Only definitions on lines that carry a number in the prompt were trained on.
- It can repeat code from its training data, whose licences are in `NOTICE`.
"""


def notice(manifest: list[dict]) -> str:
    lines = ["The built-in model was trained on source code and documentation of the packages below, each under its own licence.",
             "The training text is not distributed; short passages of it may be repeated by the model. Versions and sizes:", ""]
    lines += [f"{e['package']} {e['version']}: {e['licence']} ({e['split']}, {e['files']} files, {e['bytes']} bytes)" for e in manifest]
    lines += ["", "PSF-2.0: Copyright (c) Python Software Foundation. BSD-3-Clause (Go): Copyright 2009 The Go Authors.",
              "The other packages: copyright of their authors, named in the licence file of each package.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "first")
    parser.add_argument("--machine", default="2 shared CPU cores")
    arguments = parser.parse_args()
    manifest = json.loads((MODELS / "data-manifest.json").read_text())
    evaluation = json.loads((MODELS / "evaluation.json").read_text())
    log = [json.loads(line) for line in (arguments.run / "log.jsonl").read_text().splitlines()]
    plot(log, MODELS / "training.png")
    (MODELS / "README.md").write_text(card(manifest, evaluation, log, arguments.machine))
    (MODELS / "NOTICE").write_text(notice(manifest))
    print(MODELS / "README.md")


if __name__ == "__main__":
    main()
