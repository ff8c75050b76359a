"""Train the SentencePiece vocabulary and read it back.

Run from training/:  python -m pipeline.tokenizer
Words are learnt without their leading space, so that an identifier has the same pieces wherever it stands
(`add`, add(, obj.add): a small model copies what it can match. A space is then merged, last of all, only into
operators, keywords and function words. Merges go by score, as llama.cpp's SPM tokenizer merges.
Output: models/tokenizer.model (SentencePiece BPE, byte fallback, Gemma's special pieces at Gemma's names).
"""

import argparse
import io
import json
import re
from collections import Counter
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT.parent / "models" / "tokenizer.model"
VOCABULARY_SIZE = 4096
CONTROL = ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>",
           "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
SPACE = "\u2581"
RUNS = ["\n" * n for n in range(1, 6)] + ["\t" * n for n in range(1, 7)] + [SPACE * n for n in range(2, 25)]
SPACED_PIECES = 224
PROMPT_WORDS = """Where What Which Question: Answer questions about this repository. Cite files path:line. defined function class method
    takes returns parameters imported imports file List cannot find The the defines contains nothing""".split()
SPACED_WORDS = set(
    """a an and any are as at be been but by can do does each for from has have if in into is it its may must new no not of on one only
    or other set should than that the them then there they this to use used using was we were when where which while will with you
    abstract async await boolean break case catch class const continue def default elif else enum except export extends false False
    finally fn func function go impl import instanceof interface let match mod mut nil None null number package private pub public
    raise readonly return self static str string struct super switch throw trait true True try type typeof undefined unsafe use var
    void with yield defined file files value call called first""".split()
)


def training_words(corpus: Path, limit: int) -> tuple[Counter[str], Counter[str]]:
    """Counts of chunks between spaces, and of chunks that follow one single space."""
    words: Counter[str] = Counter()
    spaced: Counter[str] = Counter()
    budget: Counter[str] = Counter()
    with corpus.open() as lines:
        for line in lines:
            document = json.loads(line)
            if document["split"] != "train" or budget[document["language"]] > limit:
                continue
            budget[document["language"]] += len(document["text"])
            words.update(re.findall(r"[^\s\u2581]+", document["text"] + "\n=== " + document["path"] + "\n"))
            spaced.update(re.findall(r"(?<=[^\s] )(?:[A-Za-z]+|[^\sA-Za-z0-9_\u2581\"'`/]+)", document["text"]))
    words.update({word: 30_000 for word in PROMPT_WORDS})
    return words, spaced


def train(corpus: Path, out: Path, vocabulary_size: int, limit: int) -> None:
    """Write a SentencePiece model of exactly `vocabulary_size` pieces."""
    words, spaced = training_words(corpus, limit)
    base = vocabulary_size - len(RUNS) - (SPACED_PIECES if vocabulary_size > 2000 else 32)
    table = "".join(f"{word}\t{count}\n" for word, count in words.items() if len(word) < 60)
    sentences = out.with_suffix(".tsv")
    sentences.write_text(table)
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        input=str(sentences), input_format="tsv", model_writer=trained, model_type="bpe", vocab_size=base,
        byte_fallback=True, split_digits=True, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False, character_coverage=0.9995, max_sentencepiece_length=16,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
        control_symbols=CONTROL, num_threads=1, minloglevel=2,
    )
    sentences.unlink()
    model = sentencepiece_model_pb2.ModelProto.FromString(trained.getvalue())
    add_runs(model)
    add_spaced_pieces(model, spaced, vocabulary_size)
    # The trainer notes where its input stood, which is nobody's business and differs from machine to machine.
    model.trainer_spec.ClearField("input")
    out.write_bytes(model.SerializeToString())


def add_runs(model: sentencepiece_model_pb2.ModelProto) -> None:
    """Insert the whitespace runs as user-defined pieces after the control pieces."""
    kept = [piece for piece in model.pieces if piece.piece not in RUNS]
    head = 4 + len(CONTROL)
    del model.pieces[:]
    model.pieces.extend(kept[:head])
    for run in RUNS:
        model.pieces.add(piece=run, score=0.0, type=sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED)
    model.pieces.extend(kept[head:])


def add_spaced_pieces(model: sentencepiece_model_pb2.ModelProto, spaced: Counter[str], vocabulary_size: int) -> None:
    """Fill the vocabulary up with space + piece, scored below every other merge, most frequent first."""
    pieces = {piece.piece for piece in model.pieces}
    lowest = min(piece.score for piece in model.pieces)
    if SPACE not in pieces:
        lowest -= 1
        model.pieces.add(piece=SPACE, score=lowest)
    wanted = [word for word, _ in spaced.most_common() if word in pieces and (word in SPACED_WORDS or not word[0].isalpha())]
    for word in wanted:
        if len(model.pieces) == vocabulary_size:
            break
        lowest -= 1
        model.pieces.add(piece=SPACE + word, score=lowest)
    if len(model.pieces) < vocabulary_size:
        raise SystemExit(f"the corpus gave {len(model.pieces)} pieces, {vocabulary_size} wanted: lower --vocabulary-size")
    del model.pieces[vocabulary_size:]


class Tokenizer:
    """SentencePiece text pieces plus ids of the control pieces; control text in plain input stays text."""

    def __init__(self, path: Path = MODEL) -> None:
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.size: int = self.processor.get_piece_size()
        self.control = {name: self.processor.piece_to_id(name) for name in ["<pad>", "<eos>", "<bos>", "<unk>", *CONTROL]}
        self._split = re.compile("(" + "|".join(map(re.escape, ["<bos>", "<eos>", *CONTROL])) + ")")

    def encode(self, text: str) -> list[int]:
        """Ids of plain text, without <bos>."""
        return self.processor.encode(text)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of text in which control pieces by name count as those pieces."""
        ids: list[int] = []
        for part in self._split.split(text):
            if part in self.control:
                ids.append(self.control[part])
            elif part:
                ids.extend(self.processor.encode(part))
        return ids

    def decode(self, ids: list[int]) -> str:
        return self.processor.decode(ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=ROOT / "data" / "corpus.jsonl")
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--vocabulary-size", type=int, default=VOCABULARY_SIZE)
    parser.add_argument("--limit", type=int, default=6_000_000, help="characters read of each language")
    arguments = parser.parse_args()
    train(arguments.corpus, arguments.out, arguments.vocabulary_size, arguments.limit)
    print(f"{arguments.out}: {Tokenizer(arguments.out).size} pieces")


if __name__ == "__main__":
    main()
