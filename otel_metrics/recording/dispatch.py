"""Who takes in which batch: sinks, splits among them, and a delivery that goes on where an exception has interrupted it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from otel_metrics.recording.batches import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_ATTEMPTS: Final = 5
"""How often a sink is asked to take in a batch; one that raises each time goes without it."""


class HandOverError(Exception):
    """A sink could not hand over what it was full of. Told to whoever looks after us, not to who happens to be recording."""


class Sink(Protocol):
    """Takes in what a series recorded. Calls never overlap: they are made under the flusher's lock, and must not block.

    What ends in an instrument has ``flush``, and may have ``seed``, ``crowded`` and ``recurring`` (see
    :mod:`~otel_metrics.recording.sinks`).
    """

    def fold(self, batch: Batch, now: float, /) -> None:
        """Take in ``batch``, recorded shortly before ``now`` (unix seconds).

        Raises ``batch.taken`` by one in the same breath, without a call in between: an attempt that a signal handler's
        exception ended is repeated from the sinks that have not taken the batch yet.
        """


Part = tuple[Batch, "Sequence[Sink]"]
"""A batch and who takes it in."""


class Split:
    """A sink that only divides its batches among others, its ``branches``."""

    __slots__ = ()

    @property
    def branches(self) -> Sequence[Sink]:
        """The sinks that get something."""
        raise NotImplementedError

    def split(self, batch: Batch) -> Iterator[Part]:
        """Yield what goes to whom; ``batch`` itself where it goes undivided."""
        raise NotImplementedError

    def fold(self, batch: Batch, now: float, /) -> None:
        """Give each branch its part."""
        for part, sinks in self.split(batch):
            for sink in sinks:
                sink.fold(part, now)


def parts_of(batch: Batch, sinks: Sequence[Sink]) -> list[Part]:
    """Return who takes in what, splits resolved."""
    parts: list[Part] = []
    undivided: list[Sink] = []
    for sink in sinks:
        if isinstance(sink, Split):
            for part, branches in sink.split(batch):
                if part is batch:
                    undivided += branches
                else:
                    parts.append((part, branches))
        else:
            undivided.append(sink)
    parts.append((batch, undivided))
    return parts


def give(parts: Sequence[Part], now: float) -> None:
    """Have every batch taken in by its sinks, from where an earlier attempt left off."""
    for batch, sinks in parts:
        while batch.taken < len(sinks):
            at = batch.taken
            sinks[at].fold(batch, now)
            batch.taken = at + 1


def deliver(parts: Sequence[Part], now: float) -> None:
    """Have every batch taken in by all of its sinks, whatever some of them raise; then raise that."""
    try:
        give(parts, now)
    except BaseException:
        finish(parts, now)
        raise


def finish(parts: Sequence[Part], now: float, attempts: int = _ATTEMPTS) -> None:
    """Go on with what an exception interrupted; past a sink that raises again and again."""
    try:
        give(parts, now)
    except BaseException:
        if attempts:
            finish(parts, now, attempts - 1)
        else:
            stuck = next(batch for batch, sinks in parts if batch.taken < len(sinks))
            stuck.taken += 1
            finish(parts, now)
        raise


def ends(sinks: Iterable[Sink]) -> Iterator[Sink]:
    """Yield every sink that keeps something, splits resolved."""
    for sink in sinks:
        if isinstance(sink, Split):
            yield from sink.branches
        else:
            yield sink
