"""Baselines for perplexity: a unigram model and an interpolated trigram model (Witten-Bell), on token ids."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence


class Trigram:
    """Counts of one, two and three tokens; `nats` with `order` 1 is the unigram model."""

    def __init__(self, vocabulary: int, documents: Iterable[Sequence[int]]) -> None:
        self.vocabulary = vocabulary
        self.counts: list[Counter[tuple[int, ...]]] = [Counter(), Counter(), Counter()]
        for ids in documents:
            for order, counter in enumerate(self.counts):
                counter.update(zip(*(ids[offset:] for offset in range(order + 1)), strict=False))
        self.totals: list[Counter[tuple[int, ...]]] = [Counter(), Counter(), Counter()]
        self.kinds: list[Counter[tuple[int, ...]]] = [Counter(), Counter(), Counter()]
        for order, counter in enumerate(self.counts):
            for gram, count in counter.items():
                self.totals[order][gram[:-1]] += count
                self.kinds[order][gram[:-1]] += 1

    def nats(self, ids: Sequence[int], order: int) -> float:
        """Negative log-likelihood of every token after the first, summed."""
        total = 0.0
        for at in range(1, len(ids)):
            probability = 1.0 / self.vocabulary
            for length in range(min(order, at + 1)):
                gram = tuple(ids[at - length:at + 1])
                seen, kinds = self.totals[length][gram[:-1]], self.kinds[length][gram[:-1]]
                if not seen:
                    break
                probability = (self.counts[length][gram] + kinds * probability) / (seen + kinds)
            total -= math.log(probability)
        return total
