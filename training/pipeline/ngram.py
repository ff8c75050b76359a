"""The baseline that a completion model has to beat: the nearest earlier place in the file, else a back-off n-gram model."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

ORDER = 4  # tokens of context of the n-gram model, at most
LONGEST_MATCH = 12


class CopyingNgram:
    """Greedy next tokens. Copies what followed the longest equal context in the same file (at least two tokens), else the likeliest n-gram."""

    def __init__(self, documents: Iterable[Sequence[int]]) -> None:
        counts: list[defaultdict[tuple[int, ...], Counter[int]]] = [defaultdict(Counter) for _ in range(ORDER + 1)]
        for ids in documents:
            for at in range(1, len(ids)):
                for length in range(min(ORDER, at) + 1):
                    counts[length][tuple(ids[at - length:at])][ids[at]] += 1
        self.best = [{context: following.most_common(1)[0][0] for context, following in table.items()} for table in counts]

    def next(self, prefix: Sequence[int], suffix: Sequence[int]) -> int:
        """The token expected after `prefix`; `suffix` stands after the gap and may be copied from too."""
        for length in range(min(LONGEST_MATCH, len(prefix)), 1, -1):
            wanted = tuple(prefix[-length:])
            for text, last in ((prefix, len(prefix) - length - 1), (suffix, len(suffix) - length - 1)):
                for at in range(last, -1, -1):
                    if text[at] == wanted[0] and tuple(text[at:at + length]) == wanted:
                        return text[at + length]
        for length in range(min(ORDER, len(prefix)), -1, -1):
            found = self.best[length].get(tuple(prefix[len(prefix) - length:]))
            if found is not None:
                return found
        raise ValueError("the n-gram model has no tokens: train it on at least one document")

    def line(self, prefix: Sequence[int], suffix: Sequence[int], line_feeds: frozenset[int], limit: int = 60) -> list[int]:
        """Tokens up to the end of the line."""
        ids = list(prefix)
        while len(ids) < len(prefix) + limit:
            following = self.next(ids, suffix)
            if following in line_feeds:
                break
            ids.append(following)
        return ids[len(prefix):]
