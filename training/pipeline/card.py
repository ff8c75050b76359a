"""Write models/README.md, models/NOTICE and the loss plot from the manifest, the evaluation and the training log.

Run from training/:  python -m pipeline.card --run runs/text --qat runs/qat --machine "2 shared CPU cores"
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from pipeline.export import OUT, read_params
from pipeline.export_tower import OUT as TOWER
from pipeline.model import Config
from pipeline.pictures import GRAPHS, KINDS, WORDS
from pipeline.scaling import SHAPES

ROOT = Path(__file__).resolve().parent.parent
MODELS = OUT.parent
REGISTRY = {"npm": "npm packages", "pypi": "Python packages", "crates": "Rust crates", "python": "Python standard library", "go": "Go standard library"}


def plot(log: list[dict[str, float]], qat: list[dict[str, float]], out: Path) -> None:
    """Smoothed losses over the tokens of the last run, and of QAT."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), dpi=110)
    for axes, rows, names in ((left, log, ("answers", "context")), (right, qat, ("loss",))):
        for name in names:
            smooth, value = [], rows[0][name]
            for row in rows:
                value += 0.05 * (row[name] - value)
                smooth.append(value)
            axes.plot([row["tokens"] / 1e6 for row in rows], smooth, label=name, linewidth=1.2)
        axes.set_xlabel("tokens, millions")
        axes.legend()
        axes.grid(alpha=0.3)
    left.set_ylabel("loss, nats per token")
    right.set_ylabel("loss in QAT, nats")
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
    kinds = list(dict.fromkeys(kind for rows in questions.values() for kind in rows))
    lines = ["| question | " + " | ".join(f"{size} context" for size in questions) + " |", "| --- |" + " ---: |" * len(questions)]
    for kind in kinds:
        cells = [f"{row['exact']:.0%}, places {row['cited']:.0%}, of {row['asked']}" if row else "-" for row in (rows.get(kind) for rows in questions.values())]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def share(questions: dict[str, dict[str, dict[str, float]]], mark: str, kinds: tuple[str, ...] | None = None) -> float:
    """Share of all questions (of some kinds) with this mark."""
    rows = [row for table in questions.values() for kind, row in table.items() if kinds is None or kind in kinds]
    return sum(row[mark] * row["asked"] for row in rows) / sum(row["asked"] for row in rows)


CITING = ("where", "takes", "returns", "does", "imports", "list", "exports")


def target_table(evaluation: dict, size: int) -> str:
    """The targets the project set itself, beside what was measured."""
    quantisation, questions, middle = evaluation["quantisation"], evaluation["questions"], evaluation["fill_in_middle_one_line"]["all"]
    ratio = f"{middle['exact'] / middle['baseline']:.1f} times" if middle["baseline"] else "no baseline hit"
    rows = [
        ("QAT: reduction of the perplexity increase caused by rounding", f"{quantisation['reduction_of_increase']:.0%}", ">= 54 %"),
        ("shipped files, model and tower", f"{size / 1e6:.1f} MB", "<= 40 MB"),
        ("fill-in-the-middle on one line, exact", f"{middle['exact']:.1%} ({ratio} the baseline's {middle['baseline']:.1%})", "twice the baseline"),
        ("repository questions: right places cited, and no others", f"{share(questions, 'cited', CITING):.0%}", ">= 80 %"),
        ("the same without the facts of the index", f"{share(evaluation['questions_without_index'], 'cited', CITING):.0%}", ""),
        ("names that are nowhere: says that it cannot find them", f"{share(questions, 'exact', ('unknown',)):.0%}", ">= 95 %"),
        ("questions not about code: says that it does not know", f"{evaluation['outside']['declined']:.0%}", ">= 95 %"),
        ("ends its answers", f"{share(questions, 'ended'):.0%}", ">= 95 %"),
    ]
    if evaluation["images"]:
        graphs, every = (drawings(evaluation["images"], kinds, "exact") for kinds in (GRAPHS, tuple(KINDS)))
        rows.append(("flowcharts and call graphs of 2 to 6 nodes, all nodes and edges right", f"{graphs:.0%}", ">= 60 %"))
        rows.append(("drawings of all kinds, described to the letter", f"{every:.0%}", ""))
        rows.append((f"pictures of no kind ({evaluation['unreadable']['asked']}): says that it cannot read them", f"{evaluation['unreadable']['declined']:.0%}", ""))
    return "| | measured | target |\n| --- | ---: | ---: |\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def middle_table(middle: dict[str, dict[str, float]]) -> str:
    rows = [f"| {language} | {row['exact']:.1%} | {row['baseline']:.1%} | {row['asked']} |" for language, row in middle.items()]
    return "| language | this model | n-gram and nearest copy | lines |\n| --- | ---: | ---: | ---: |\n" + "\n".join(rows)


def product_table(rows: dict[str, dict[str, float]]) -> str:
    return "| question | right places and no others | asked |\n| --- | ---: | ---: |\n" + "\n".join(f"| {kind} | {row['cited']:.0%} | {row['asked']} |" for kind, row in rows.items())


def tower_section(images: dict[str, dict[str, dict[str, float]]] | None, log: list[dict[str, float]], history: str) -> str:
    """What is read of drawings never seen, by kind and size; nothing where no tower ships."""
    if not images or not log:
        return ""
    sizes = list(next(iter(images.values())))
    rows = ["| kind | " + " | ".join(sizes) + " |", "| --- |" + " ---: |" * len(sizes)]
    rows += [f"| {kind} | " + " | ".join(f"{row['exact']:.0%} / {row['declined']:.0%}" for row in table.values()) + " |" for kind, table in images.items()]
    of = next(iter(next(iter(images.values())).values()))["pictures"]
    return f"""
## Images

`{TOWER.name}` ({TOWER.stat().st_size / 1e6:.1f} MB, Gemma 3's tower recipe, 256 pixels, 64 soft tokens) reads drawings of the kinds that it was trained on, in their fonts and on
their raster, and nothing else: arrows go along rows and columns, words are of a list of {len(WORDS)}, letters of code are 8 pixels wide. Of other images it should say that it cannot read them.
{history} In its last run it saw {log[-1]['tokens'] / 1e3:.0f} thousand drawings in {log[-1]['seconds'] / 60:.0f} minutes; the text model then learnt to read what it says, and to
decline drawings of which it says more than one cell wrong.

By kind and number of nodes, rows, cards or bars: drawings never seen that `ask --image` describes to the letter, and those that it declines as not readable, of {of} each.
The rest is described wrongly.

{chr(10).join(rows)}
"""


def drawings(images: dict[str, dict[str, dict[str, float]]], kinds: tuple[str, ...], mark: str) -> float:
    """Share of the drawings of these kinds with this mark."""
    rows = [row for kind in kinds for row in images[kind].values()]
    return sum(row[mark] * row["pictures"] for row in rows) / sum(row["pictures"] for row in rows)


def scaling_table(rows: list[dict]) -> str:
    """What each shape came to on the same tokens."""
    lines = ["| shape | blocks | width | parameters | processor minutes | answers, nats | answers right | code, nats |", "| --- |" + " ---: |" * 7]
    lines += [f"| {r['shape']} | {r['blocks']} | {r['width']} | {r['parameters'] / 1e6:.1f} M | {r['processor_seconds'] / 60:.1f} | {r['answers']:.2f} | {r['right']:.0%} | {r['context']:.2f} |" for r in rows]
    missing = [name for name in SHAPES if all(row["shape"] != name for row in rows)]
    if missing:
        lines += ["", f"Not run, for lack of processor time: {', '.join(missing)} (`pipeline.scaling` goes on where it stopped). The shipped shape is a choice by judgement until then."]
    return "\n".join(lines)


def card(manifest: list[dict], evaluation: dict, scaling: list[dict], images: str, log: list[dict[str, float]], qat: list[dict[str, float]], machine: str, history: str, costs: str) -> str:
    config = Config.load(MODELS / "parent.json")
    weights = sum(value.size for value in read_params(MODELS / "parent.safetensors").values())
    last, rounded, quantisation = log[-1], qat[-1], evaluation["quantisation"]
    tower_row = f"\n| `{TOWER.name}` | the image tower |\n| `tower.safetensors`, `tower.json` | the tower unrounded (BF16), to train on |" if images else ""
    speed = evaluation["speed"]
    samples = "\n".join(f"| {r['question']} | {r['answer']!r} | {r['expected']!r} |".replace("\\n", " ") for r in evaluation["samples"])
    return f"""# The built-in model

`{OUT.name}` ({OUT.stat().st_size / 1e6:.1f} MB) lets Gemma Sidecar run on a machine that has no Gemma weights. It has the true
Gemma 3 architecture and Gemma's turn format, but it is **not** one of Google's models: it has {weights / 1e6:.1f} M parameters, was trained
from scratch on {machine}, and knows very little. Choose a full Gemma 3 for real work.

| file | what it is |
| --- | --- |
| `{OUT.name}` | the model: linears Q4_0, embedding Q8_0, norms F32, vocabulary; after quantisation-aware training |
| `parent.safetensors`, `parent.json` | the unquantised parent (BF16) and its shape; QAT and later trainings continue from it |
| `tokenizer.model` | the SentencePiece vocabulary |
| `data-manifest.json`, `NOTICE` | every package of the training data: version, licence, bytes |
| `evaluation.json`, `scaling.json`, `training.png` | the figures below and the loss curves |{tower_row}

## Shape

{config.block_count} blocks ({sum(config.is_global(i) for i in range(config.block_count))} global), hidden {config.embedding_length}, {config.head_count} heads, {config.head_count_kv} key/value heads of {config.key_length}, feed-forward {config.feed_forward_length}, window {config.sliding_window},
{config.vocabulary} pieces. It was trained on rows of 512 tokens and, about half of the time, of {config.context_length}, which is all that the file allows. The facts of the index stand next
to the question, so long contexts have to be survived, not searched; hence the small window.

Small runs from random weights with heads that copy, on the same {scaling[0]['tokens'] / 1e6:.2f} M tokens of rows of 512; losses of held-out packages:

{scaling_table(scaling)}

## Targets

All on held-out packages, with the shipped file and the product's own command line.

{target_table(evaluation, sum(file.stat().st_size for file in (OUT, TOWER) if file.exists()))}

## Data

{data_table(manifest)}

The split is by package. Minified, generated and data-like files and duplicates were left out.

## Training

{history} Last run: {last['step']:.0f} steps, {last['tokens'] / 1e6:.2f} M tokens, {last['seconds'] / 60:.0f} minutes on {machine}, then QAT:
{rounded['step']:.0f} steps, {rounded['tokens'] / 1e6:.2f} M tokens, {rounded['seconds'] / 60:.0f} minutes. Muon on the linears, Adam on the rest and in QAT.
Mixture: chat about a repository with those facts of its index that a question asks for, fill-in-the-middle, plain files, descriptions of pictures. QAT follows the
parent's probabilities, except for answers about pictures: the right ones are learnt on.
See [training/README.md](../training/README.md) to repeat or continue it.

![Loss over tokens](training.png)

## Figures

Perplexity over {quantisation['tokens']:,} tokens of held-out files (`gemma-sidecar perplexity`, pieces of 512):

| parent, F32 | parent, rounded after training | shipped, after QAT | reduction of the increase |
| ---: | ---: | ---: | ---: |
| {quantisation['parent']:.3f} | {quantisation['rounded_after_training']:.3f} | {quantisation['shipped']:.3f} | {quantisation['reduction_of_increase']:.0%} |

Repository questions, first turn, greedy, with the facts of the index. "Exact": to the letter; "places": every expected `path:line` and no other.

{question_table(evaluation['questions'])}

On this repository, through `gemma-sidecar ask`, with the files and facts that the product chooses (about 1,500 tokens):

{product_table(evaluation['in_product'])}

Without the facts of the index, answers in the shown files:

{question_table(evaluation['questions_without_index'])}

Contexts: short 250-850, medium 850-1,900, long 1,900-3,800 characters of code.

Fill-in-the-middle, the rest of a line or a whole line, exact match. The baseline copies what followed the longest equal context in the same
file, else takes the likeliest of a back-off 5-gram model trained on {1.5 * evaluation['scale']:.1f} M tokens.

{middle_table(evaluation['fill_in_middle_one_line'])}

Greedy answers to the first held-out questions drawn:

| question | answer | expected |
| --- | --- | --- |
{samples}

Speed (`gemma-sidecar bench`, {speed['backend']}, on the machine that trained, busy with other work): {speed['prefill_tps']:,.0f} tokens a second read, {speed['decode_tps']:,.0f} written.
{images}
## What the missing targets would cost

The last run was {last['seconds'] / 60:.0f} minutes on one to two threads of a machine that was shared with much other work ({last['tokens'] / last['seconds']:.0f} tokens a second), the tower's run beside it.
{costs}
`pipeline.train --start ../models/parent.safetensors` goes on from here, `pipeline.train_tower --start ../models/tower.safetensors` with the tower.

## Limits

- It was trained for a very short time. Where the tables show low figures, take its answers as samples of the form, not as facts.
- A list of what a file holds or exports has the right places in {share(evaluation['questions'], 'cited', ('list', 'exports')):.0%} of the cases: each further name is one more to get wrong.
- A drawing of these kinds that is drawn otherwise may be described wrongly rather than declined.
- It answers only the kinds of questions in the table, in English, and says so badly when asked anything else.
- Citations are learnt, not checked: a path or line can be wrong.
- It can repeat code from its training data, whose licences are in `NOTICE`.
"""


def notice(manifest: list[dict]) -> str:
    lines = ["The built-in model was trained on source code and documentation of the packages below, each under its own licence.",
             "The training text is not distributed; short passages of it may be repeated by the model. Versions and sizes:", ""]
    lines += [f"{e['package']} {e['version']}: {e['licence']} ({e['split']}, {e['files']} files, {e['bytes']} bytes)" for e in manifest]
    lines += ["", "PSF-2.0: Copyright (c) Python Software Foundation. BSD-3-Clause (Go): Copyright 2009 The Go Authors.",
              "The other packages: copyright of their authors, named in the licence file of each package.", ""]
    return "\n".join(lines)


def read_log(run: Path) -> list[dict[str, float]]:
    """Steps that a kill undid stand in the log twice: the later one counts."""
    rows = {row["step"]: row for row in map(json.loads, (run / "log.jsonl").read_text().splitlines())}
    return [rows[step] for step in sorted(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "text")
    parser.add_argument("--qat", type=Path, default=ROOT / "runs" / "qat")
    parser.add_argument("--tower", type=Path, default=ROOT / "runs" / "tower")
    parser.add_argument("--machine", default="2 shared CPU cores")
    parser.add_argument("--history", default="", help="sentences about the runs that the last one continued")
    parser.add_argument("--costs", default="", help="sentences about what the missing targets would cost")
    parser.add_argument("--tower-history", default="", help="the same of the tower's")
    arguments = parser.parse_args()
    manifest = json.loads((MODELS / "data-manifest.json").read_text())
    evaluation = json.loads((MODELS / "evaluation.json").read_text())
    log, qat = read_log(arguments.run), read_log(arguments.qat)
    scaling = json.loads((MODELS / "scaling.json").read_text())
    images = tower_section(evaluation["images"], read_log(arguments.tower) if arguments.tower.exists() else [], arguments.tower_history)
    plot(log, qat, MODELS / "training.png")
    (MODELS / "README.md").write_text(card(manifest, evaluation, scaling, images, log, qat, arguments.machine, arguments.history, arguments.costs))
    (MODELS / "NOTICE").write_text(notice(manifest))
    print(MODELS / "README.md")


if __name__ == "__main__":
    main()
