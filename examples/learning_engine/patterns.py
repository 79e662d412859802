"""Regularities: pairs of words that give a package away, and the word that usually follows another."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Pair = tuple[str, str]

_FEWEST: Final = 4
_SHARE: Final = 0.8
_MOST_PER_LABEL: Final = 300
_SURE: Final = 0.6


class PatternRecognitionError(Exception):
    """No known pattern is in the text, or the patterns contradict each other."""


class PatternRecognizer:
    """Learns which pairs of neighbouring words occur in one package and hardly anywhere else."""

    def __init__(self) -> None:
        self.indexed = False
        self._counts: dict[str, Counter[Pair]] = defaultdict(Counter)
        self._patterns: dict[str, list[Pair]] = {}
        self._index: dict[Pair, str] = {}

    def __len__(self) -> int:
        return sum(map(len, self._patterns.values()))

    def learn(self, label: str, words: Sequence[str]) -> None:
        """Count the pairs of one document."""
        self._counts[label].update(pairwise(words))

    def settle(self) -> None:
        """Decide which of the counted pairs are patterns."""
        everywhere: Counter[Pair] = Counter()
        for counts in self._counts.values():
            everywhere.update(counts)
        self._patterns = {
            label: [pair for pair, n in counts.most_common() if n >= _FEWEST and n >= _SHARE * everywhere[pair]][
                :_MOST_PER_LABEL
            ]
            for label, counts in sorted(self._counts.items())
        }
        self._index = {pair: label for label, pairs in self._patterns.items() for pair in pairs}

    def votes(self, words: Sequence[str]) -> Counter[str]:
        """Return how many known patterns of each package are in ``words``.

        Without the index every pattern is looked for in the text; with it every pair of the text is looked up.
        """
        pairs = list(pairwise(words))
        if self.indexed:
            return Counter(self._index[pair] for pair in pairs if pair in self._index)
        found = ((label, pairs.count(pair)) for label, patterns in self._patterns.items() for pair in patterns)
        votes: Counter[str] = Counter()
        for label, n in found:
            votes[label] += n
        return +votes

    def recognize(self, words: Sequence[str]) -> tuple[str, float]:
        """Return the package that the patterns in ``words`` speak for, and their share of all votes.

        Raises:
            PatternRecognitionError: too little is known, or it is contradictory.
        """
        votes = self.votes(words)
        if not votes:
            raise PatternRecognitionError("No known pattern in the text")
        label, most = min(votes.items(), key=lambda entry: (-entry[1], entry[0]))
        share = most / votes.total()
        if share < _SURE:
            raise PatternRecognitionError(f"Low confidence pattern detected: {share:.0%} for {label}")
        return label, share


class NextWord:
    """Predicts the word that follows another one, from counts."""

    def __init__(self) -> None:
        self._followers: dict[str, Counter[str]] = defaultdict(Counter)

    def learn(self, words: Sequence[str]) -> None:
        """Count who follows whom."""
        for word, follower in pairwise(words):
            self._followers[word][follower] += 1

    def evaluate(self, texts: Sequence[Sequence[str]]) -> tuple[float, float, int]:
        """Return (accuracy, mean confidence, number of predictions) over ``texts``; unknown words are not predicted."""
        best = {}
        for word, followers in self._followers.items():
            guess, n = followers.most_common(1)[0]
            best[word] = guess, n / followers.total()
        pairs = list(chain.from_iterable(pairwise(words) for words in texts))
        predicted = [(best[word], follower) for word, follower in pairs if word in best]
        if not predicted:
            return 0.0, 0.0, 0
        right = sum(guess == follower for (guess, _), follower in predicted)
        sure = sum(share for (_, share), _ in predicted)
        return right / len(predicted), sure / len(predicted), len(predicted)
