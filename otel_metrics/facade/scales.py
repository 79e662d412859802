"""Which scale a satisfaction score is on: the old API took 0 to 1 or 1 to 5 and never said which."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from otel_metrics.log import say

if TYPE_CHECKING:
    from otel_metrics.settings import Scale

HIGHEST: Final = 5

Buffer = TypeVar("Buffer")


class Scales(Generic[Buffer]):
    """The buffers of a satisfaction type, one per scale, and which of them a score belongs to.

    A score of 1 is the best on one scale and the worst on the other. While nothing tells which, it goes to ``unknown``, which
    counts it as the worst, and as doubtful: who hears of it too early can look, who hears of nothing cannot.
    """

    __slots__ = ("five", "fixed", "kind", "one", "seen", "unknown")

    def __init__(
        self, one: Buffer, five: Buffer, unknown: Buffer, fixed: Scale | None, kind: str, seen: dict[str, Scale | None]
    ) -> None:
        self.one = one
        self.five = five
        self.unknown = unknown
        self.fixed = fixed
        self.kind = kind
        self.seen = seen
        """By satisfaction type: the scale last seen; None after a score that told none."""

    def buffer_for(self, score: float) -> Buffer:
        """Return the buffer of the scale that ``score`` is on."""
        if self.fixed is None:
            try:
                if score > 1:
                    if score <= HIGHEST:  # a score that will be rejected tells nothing about the scale
                        self.seen[self.kind] = "1-5"
                    return self.five
                if score != 1:
                    if score >= 0:  # NaN is neither
                        if self.seen.get(self.kind, "0-1") is None:
                            self._were_best()
                        self.seen[self.kind] = "0-1"
                    return self.one
            except Exception:  # whatever a foreign __gt__ raises
                return self.one  # where what is no number is rejected
            return self._ambiguous()
        return self.five if self.fixed == "1-5" else self.one

    def _ambiguous(self) -> Buffer:
        seen = self.seen.get(self.kind)
        if seen is None:
            if self.kind not in self.seen:
                self.seen[self.kind] = None
                say(
                    logging.WARNING,
                    "satisfaction type %r: a score of 1 is the best from 0 to 1 and the worst from 1 to 5; until another "
                    "score tells which, it counts as the worst. Pass scale=, or set %s",
                    self.kind,
                    _setting(self.kind),
                )
            return self.unknown
        return self.five if seen == "1-5" else self.one

    def _were_best(self) -> None:
        say(
            logging.WARNING,
            "satisfaction type %r is on the scale from 0 to 1: its scores of 1 so far were counted as the worst, see "
            "doubtful_responses. Set %s",
            self.kind,
            _setting(self.kind),
        )


def _setting(kind: str) -> str:
    return f"satisfaction_scales or OTM_SATISFACTION_SCALES={kind}=0-1 (or 1-5)"


def from_one_to_five(scores: list[float]) -> list[float]:
    """Map scores on 1 to 5 to 0 to 1."""
    return [(score - 1) / 4 for score in scores]
