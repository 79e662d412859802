"""Counts that are exposed as a counter's series: they only ever go up."""

from __future__ import annotations

from collections import Counter
from threading import RLock
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Counts(Generic[Key]):
    """How often each of some things has happened. May outlive the configuration under which it did."""

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
