"""What happens to bad input: rejected, counted and logged once per kind; in strict mode raised."""

from __future__ import annotations

import logging
import sys
from collections import Counter, deque
from threading import RLock
from typing import Generic, TypeVar

from otel_metrics.errors import InvalidArgumentError
from otel_metrics.log import say

Key = TypeVar("Key")


class Counts(Generic[Key]):
    """How often each of some things has happened: a counter's series. May outlive the configuration under which it did."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._counts: Counter[Key] = Counter()

    def add(self, key: Key) -> bool:
        """Count one more; return whether it is the first."""
        with self._lock:
            self._counts[key] += 1
            return self._counts[key] == 1

    def so_far(self) -> dict[Key, int]:
        """Return how often each has happened."""
        with self._lock:
            return dict(self._counts)


class Rejections:
    """Collects the rejected arguments of record calls.

    The counts are exposed as ``otel_metrics_rejected_total`` when metrics are collected, so that rejecting costs no
    measurement and cannot recurse. ``counts`` are those to go on with.
    """

    def __init__(self, *, strict: bool, counts: Counts[tuple[str, str]] | None = None) -> None:
        self.strict = strict
        self.total = 0
        self._lock = RLock()
        self._counts = counts or Counts()
        self._unsaid: deque[tuple[str, BaseException | None]] = deque()

    def reject(
        self, call: str, argument: str, value: object, reason: str, allowed: str, *, later: bool = False
    ) -> None:
        """Reject ``value``; with ``later`` it is logged by :meth:`say`.

        Raises:
            InvalidArgumentError: in strict mode.
        """
        if self.strict:
            raise InvalidArgumentError(call, argument, value, reason, allowed)
        if self._first(call, f"{argument}_{reason}"):
            self._unsaid.append((str(InvalidArgumentError(call, argument, value, reason, allowed)), None))
            if not later:
                self.say()

    def failed(self, call: str, *, later: bool = False) -> None:
        """Count and log an error of our own (inside an ``except`` block), which must not reach the caller; raise it in strict mode.

        With ``later`` it is logged by :meth:`say`, in strict mode too: who meets it then is not who has caused it.
        """
        if self.strict and not later:
            raise  # noqa: PLE0704  # the one that is being handled
        if self._first(call, "internal_error"):
            self._unsaid.append((f"{call}: internal error", sys.exc_info()[1]))
            if not later:
                self.say()

    def say(self) -> None:
        """Log what happened for the first time, without a lock: a log handler may wait for whoever waits for that."""
        while self._unsaid:
            try:
                text, error = self._unsaid.popleft()
            except IndexError:  # another thread says it
                return
            level = logging.WARNING if error is None else logging.ERROR
            say(level, "%s; further ones are only counted", text, error=error)

    def _first(self, call: str, reason: str) -> bool:
        with self._lock:
            self.total += 1
        return self._counts.add((call, reason))

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many arguments were rejected so far, by (call, reason)."""
        return self._counts.so_far()
