"""Measure a shipped GGUF on held-out packages with the product's own command line and write models/evaluation.json.

Run from training/:  python -m pipeline.evaluate --parent ../models/parent.safetensors
Answers are generated greedily by `sidecar/main.ts generate`, perplexity is that of `sidecar/main.ts perplexity`; JAX is not involved.
"""

import argparse
import json
import random
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline import prompt_form, repository, tasks
from pipeline.batches import Corpus
from pipeline.export import OUT, read_params, write_gguf
from pipeline.export_tower import OUT as TOWER, held_out as held_out_drawing
from pipeline.model import Config
from pipeline.ngram import CopyingNgram
from pipeline.pictures import KINDS as DRAWN, QUESTIONS, UNREADABLE, other
from pipeline.repository import Asked
from pipeline.symbols import outline
from pipeline.tokenizer import MODEL, Tokenizer
from pipeline.train_tower import HELD_OUT_SEED, pixels_of

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT.parent / "sidecar" / "main.ts"
CONTEXTS = {"short": (250, 850), "medium": (850, 1900), "long": (1900, 3800)}
LONGEST_PROMPT = 1900  # tokens; the file's context holds 2,048 with the answer
KINDS = ("where", "takes", "returns", "does", "imports", "list", "exports", "contents", "unknown")
PLACE = re.compile(r"([\w@./+-]+):(\d+)")


class Engine:
    """The command line on one model file."""

    def __init__(self, model: Path, node: str) -> None:
        self.model, self.node = model, node

    def _json(self, *arguments: str) -> dict:
        done = subprocess.run([self.node, str(MAIN), *arguments, "--model", str(self.model), "--json"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def generate(self, prompts: list[str], tokens: int) -> list[dict]:
        """Greedy results, in order: text and reason (`stop` if the model ended by itself)."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "prompts.jsonl"
            file.write_text("".join(json.dumps(prompt.removeprefix("<bos>")) + "\n" for prompt in prompts))
            return self._json("generate", "--prompts-file", str(file), "--raw", "--temperature", "0", "--max-tokens", str(tokens))["results"]

    def ask(self, repository: Path, question: str) -> str:
        return self._json("ask", "--no-cache", "--repo", str(repository), question)["answer"]

    def describe(self, image: Path) -> str:
        return self._json("ask", "--no-cache", "--no-repo", "--image", str(image), QUESTIONS[0])["answer"]

    def speed(self) -> dict:
        """Tokens a second on this machine as it is now, and what the backend was."""
        found = self._json("bench")
        return {key: found[key] for key in ("prefill_tps", "decode_tps", "prompt_tokens", "generated_tokens", "backend")}

    def perplexity(self, file: Path, context: int) -> dict:
        return self._json("perplexity", "--file", str(file), "--ctx", str(context))


def held_out_text(held_out: Corpus, characters: int) -> str:
    """Beginnings of held-out files, in a fixed random order, up to about `characters`."""
    documents = [d for documents in held_out.packages for d in documents if d.language != "markdown"]
    random.Random(11).shuffle(documents)
    parts: list[str] = []
    while documents and sum(map(len, parts)) < characters:
        parts.append(documents.pop().text[:3000])
    return "\n".join(parts)


def quantisation(engine: Engine, parent: Path, tokenizer: Path, text: str, node: str) -> dict[str, float]:
    """Perplexity of the shipped file, of its unquantised parent, and of that parent rounded after training, on the same text."""
    config = Config.load(parent.with_suffix(".json"))
    params = read_params(parent)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "text.txt"
        file.write_text(text)
        result = {"shipped": engine.perplexity(file, 512)}
        for title, exact in (("parent", True), ("rounded_after_training", False)):
            write_gguf(config, params, tokenizer, folder / f"{title}.gguf", exact)
            result[title] = Engine(folder / f"{title}.gguf", node).perplexity(file, 512)
    figures = {title: round(row["perplexity"], 4) for title, row in result.items()}
    increase = figures["rounded_after_training"] - figures["parent"]
    figures["tokens"] = result["parent"]["tokens"]
    figures["reduction_of_increase"] = round(1 - (figures["shipped"] - figures["parent"]) / increase, 3) if increase > 0 else float("nan")
    return figures


def marks(asked: Asked, result: dict) -> dict[str, bool]:
    """What is right about one answer. `cited`: every expected place, path and line, and no other; `path`: the right paths."""
    answer = result["text"].strip()
    wanted, given = PLACE.findall(asked.answer), PLACE.findall(answer)
    return {"exact": answer == asked.answer, "cited": set(given) == set(wanted), "path": {p for p, _ in given} == {p for p, _ in wanted}, "ended": result["reason"] == "stop"}


def questions(engine: Engine, tokenizer: Tokenizer, held_out: Corpus, use_index: bool, each: int) -> dict[str, dict[str, dict[str, float]]]:
    """Shares by context size and kind, first turns."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for size, characters in CONTEXTS.items():
        rng = random.Random(f"questions {size} {use_index}")
        drawn: list[tuple[Asked, str]] = []
        for kind in KINDS if use_index else ("where", "takes", "does", "unknown"):
            found = 0
            for _ in range(each * 40):
                if found == each:
                    break
                held = repository.repository(held_out.draw(rng), rng.randint(*characters), rng)
                asked = repository.drawn(held, held_out.names, 1, use_index, rng, (kind,))
                prompt = "".join(text for text, _ in repository.rendered(held, asked)[:-1]) if asked else ""
                if asked and len(tokenizer.encode_prompt(prompt)) <= LONGEST_PROMPT:
                    drawn.append((asked[0], prompt))
                    found += 1
        results = engine.generate([prompt for _, prompt in drawn], 120)
        by_kind: dict[str, list[dict[str, bool]]] = defaultdict(list)
        for (asked, _), result in zip(drawn, results, strict=True):
            by_kind[asked.kind].append(marks(asked, result))
        table[size] = {kind: {"asked": len(rows), **{name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}} for kind, rows in by_kind.items()}
    return table


def own_questions(root: Path, each: int) -> list[tuple[str, str, set[tuple[str, str]]]]:
    """(kind, question, places) about this project's own TypeScript: names with one definition and few importers, drawn in a fixed order."""
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in sorted((root / "sidecar").rglob("*.ts"))}
    importers = {path.relative_to(root).as_posix(): path.read_text() for folder in ("bench", "extension", "scripts", "sidecar", "test", "webview")
                 for path in sorted((root / folder).rglob("*.ts"))}
    symbols = [(path, symbol) for path, text in texts.items() for symbol in outline("typescript", text).symbols if symbol.text.startswith("export")]
    random.Random(3).shuffle(symbols)
    result: list[tuple[str, str, set[tuple[str, str]]]] = []
    for kind, form in (("where", "Where is {} defined?"), ("does", "What does {} do?"), ("imports", "Who imports {}?")):
        found = 0
        for path, symbol in symbols:
            word = rf"(?<![\w$]){re.escape(symbol.name)}(?![\w$])"
            again = sum(len(re.findall(rf"^\s*(?:\w+ )*{word}(?: =|[:(<{{]| \{{| extends| implements)", text, re.MULTILINE)) for text in importers.values())
            lines = {(name, str(text.count("\n", 0, match.start()) + 1)) for name, text in importers.items()
                     for match in re.finditer(rf"^(?:import|export) [^;]*?{word}[^;]*? from ", text, re.MULTILINE)}
            if found == each or again != 1 or len(symbol.name) < 5 or not 1 <= len(lines) <= 4:
                continue
            if kind == "imports":
                result.append((kind, form.format(symbol.name), lines))
            elif kind == "where" or symbol.description:
                result.append((kind, form.format(symbol.name), {(path, str(symbol.line))}))
            found += kind != "does" or symbol.description is not None
    return result


def in_product(engine: Engine, each: int) -> dict[str, dict[str, float]]:
    """Questions on this repository through `ask`, with the files and facts that the product itself chooses: shares with exactly the right places."""
    marks_of: dict[str, list[bool]] = defaultdict(list)
    for kind, question, places in own_questions(ROOT.parent, each):
        answer = engine.ask(ROOT.parent, question)
        marks_of[kind].append(set(PLACE.findall(answer)) == places)
    return {kind: {"asked": len(right), "cited": round(float(np.mean(right)), 3)} for kind, right in marks_of.items()}


def images(engine: Engine, each: int, kinds: Sequence[str] = tuple(DRAWN)) -> dict[str, dict[str, dict[str, float]]]:
    """Drawings never seen, shown to `ask` as PNG files: by kind and size the shares described to the letter, and declined as not readable."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "drawing.png"
        for kind in kinds:
            for count in range(2, 7):
                rows = []
                for number in range(each):
                    picture, pixels = held_out_drawing(kind, count, number)
                    Image.fromarray(pixels).save(file)
                    answer = engine.describe(file).strip()
                    rows.append((answer == picture.answer, answer == UNREADABLE))
                exact, declined = np.mean(rows, axis=0)
                table.setdefault(kind, {})[str(count)] = {"pictures": each, "exact": round(float(exact), 3), "declined": round(float(declined), 3)}
    return table


def unreadable(engine: Engine, count: int) -> dict[str, float]:
    """Pictures of no kind, never seen: the share that `ask` declines."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "drawing.png"
        declined = []
        for number in range(count):
            Image.fromarray(pixels_of(other(), random.Random(f"{HELD_OUT_SEED}:other:{number}"))).save(file)
            declined.append(engine.describe(file).strip() == UNREADABLE)
    return {"asked": count, "declined": round(float(np.mean(declined)), 3)}


def outside(engine: Engine) -> dict[str, float]:
    """Questions that are not about code: declined, and ended by the model itself."""
    prompts = ["<bos>" + prompt_form.user_turn(question) for question in tasks.OUT_OF_SCOPE]
    results = engine.generate(prompts, 60)
    return {"asked": len(results), "declined": round(float(np.mean([r["text"].strip() == tasks.DO_NOT_KNOW for r in results])), 3),
            "ended": round(float(np.mean([r["reason"] == "stop" for r in results])), 3)}


def middles(engine: Engine, tokenizer: Tokenizer, held_out: Corpus, train: Corpus, each: int, baseline_tokens: int) -> dict[str, dict[str, float]]:
    """Exact match of the missing rest of a line, by language, for the model and for the n-gram and copy baseline."""
    rng = random.Random(13)
    learnt: list[list[int]] = []
    while sum(map(len, learnt)) < baseline_tokens:
        learnt.append(tokenizer.encode(rng.choice(train.draw(rng)).text))
    baseline = CopyingNgram(learnt)
    line_feeds = frozenset(i for i in range(tokenizer.size) if tokenizer.decode([i]).startswith("\n"))
    drawn: list[tuple[str, str, str, str]] = []
    count: dict[str, int] = defaultdict(int)
    for _ in range(each * 200):
        document = rng.choice(held_out.draw(rng))
        if count[document.language] == each or document.language == "markdown":
            continue
        spans = tasks.fill_in_middle(document, [], rng.randint(500, 1900), rng, one_line=True)
        if spans:
            count[document.language] += 1
            drawn.append((document.language, spans[2][0], spans[4][0], spans[6][0].removesuffix("<eos>")))
    results = engine.generate([prompt_form.fill_in_middle([], prefix, suffix) for _, prefix, suffix, _ in drawn], 60)
    rows: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for (language, prefix, suffix, middle), result in zip(drawn, results, strict=True):
        copied = tokenizer.decode(baseline.line(tokenizer.encode(prefix), tokenizer.encode(suffix), line_feeds))
        mark = (result["text"].split("\n")[0].rstrip() == middle.rstrip(), copied.rstrip() == middle.rstrip())
        rows[language].append(mark)
        rows["all"].append(mark)
    return {language: {"asked": len(pairs), "exact": round(float(np.mean([a for a, _ in pairs])), 3), "baseline": round(float(np.mean([b for _, b in pairs])), 3)}
            for language, pairs in sorted(rows.items())}


def samples(engine: Engine, held_out: Corpus, count: int) -> list[dict[str, str]]:
    """The first answers drawn, good or bad."""
    rng = random.Random(17)
    rows: list[tuple[str, str, str]] = []
    while len(rows) < count:
        held = repository.repository(held_out.draw(rng), rng.randint(300, 1200), rng)
        for asked in repository.drawn(held, held_out.names, 1, True, rng):
            rows.append((asked.question, asked.answer, "".join(text for text, _ in repository.rendered(held, [asked])[:-1])))
    rows += [(text, "", "<bos>" + prompt_form.user_turn(text)) for text in ("Hello", "What can you do?")]
    results = engine.generate([prompt for _, _, prompt in rows], 80)
    return [{"question": question, "expected": expected, "answer": result["text"].strip()} for (question, expected, _), result in zip(rows, results, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=OUT)
    parser.add_argument("--parent", type=Path, default=OUT.with_name("parent.safetensors"))
    parser.add_argument("--tokenizer", type=Path, default=MODEL)
    parser.add_argument("--corpus", type=Path, default=ROOT / "data" / "corpus.jsonl")
    parser.add_argument("--out", type=Path, default=OUT.with_name("evaluation.json"))
    parser.add_argument("--node", default="node")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of files and questions")
    arguments = parser.parse_args()
    engine = Engine(arguments.model, arguments.node)
    sees = arguments.model.with_name(TOWER.name).exists()
    tokenizer = Tokenizer(arguments.tokenizer)
    train, held_out = Corpus(arguments.corpus, "train"), Corpus(arguments.corpus, "held-out")

    def many(count: int) -> int:
        return max(1, int(count * arguments.scale))

    result = {
        "scale": arguments.scale,
        "quantisation": quantisation(engine, arguments.parent, arguments.tokenizer, held_out_text(held_out, many(400_000)), arguments.node),
        "questions": questions(engine, tokenizer, held_out, True, many(20)),
        "questions_without_index": questions(engine, tokenizer, held_out, False, many(20)),
        "in_product": in_product(engine, many(20)),
        "images": images(engine, many(10)) if sees else None,
        "unreadable": unreadable(engine, many(32)) if sees else None,
        "speed": engine.speed(),
        "outside": outside(engine),
        "fill_in_middle_one_line": middles(engine, tokenizer, held_out, train, many(60), many(1_500_000)),
        "samples": samples(engine, held_out, many(12)),
    }
    arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
