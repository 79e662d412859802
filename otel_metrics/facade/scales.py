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
    """The two buffers of a satisfaction type, one per scale, and which of them a score belongs to."""

    __slots__ = ("five", "fixed", "kind", "one", "seen")

    def __init__(self, one: Buffer, five: Buffer, fixed: Scale | None, kind: str, seen: dict[str, Scale]) -> None:
        self.one = one
        self.five = five
        self.fixed = fixed
        self.kind = kind
        self.seen = seen

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
                        self.seen[self.kind] = "0-1"
                    return self.one
            except Exception:  # whatever a foreign __gt__ raises
                return self.one  # where what is no number is rejected
            return self._ambiguous()
        return self.five if self.fixed == "1-5" else self.one

    def _ambiguous(self) -> Buffer:
        seen = self.seen.get(self.kind)
        if seen is None:
            self.seen[self.kind] = seen = "0-1"
            say(
                logging.WARNING,
                "satisfaction type %r: a score of 1 is taken to be on the scale 0 to 1; "
                "pass scale= or set satisfaction_scales to say otherwise",
                self.kind,
            )
        return self.five if seen == "1-5" else self.one


def from_one_to_five(scores: list[float]) -> list[float]:
    """Map scores on 1 to 5 to 0 to 1."""
    return [(score - 1) / 4 for score in scores]
