"""What has been imported into a data directory: per import name and day, what it held and which blocks it became."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from otel_metrics.importing.errors import ImportFailedError

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class DayState:
    """One imported day. ``done`` is false between the decision to publish its blocks and their being in place."""

    content: str
    rows: int
    blocks: Sequence[str]
    done: bool

    def holds(self, blocks: Container[str]) -> bool:
        """Return whether the day is in place as a whole, if ``blocks`` are there."""
        return self.done and all(name in blocks for name in self.blocks)

    def gone(self, blocks: Container[str]) -> bool:
        """Return whether nothing of the day is left."""
        return not any(name in blocks for name in self.blocks)


class State:
    """The file that remembers, replaced as a whole, so that it is never half-written.

    Raises:
        ImportFailedError: it cannot be read; without it days could be doubled.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._days: dict[str, DayState] = {}
        if path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))["days"]
                self._days = {name: DayState(**day) for name, day in found.items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ImportFailedError(f"{path} is not readable as the memory of an import: {error!r}") from error

    def get(self, name: str) -> DayState | None:
        """Return what is known of a day, by its instance id."""
        return self._days.get(name)

    def unfinished(self) -> dict[str, DayState]:
        """Return the days whose blocks may not all be in place."""
        return {name: day for name, day in self._days.items() if not day.done}

    def put(self, name: str, day: DayState) -> None:
        """Remember a day, on disk when this returns."""
        with self._lock:
            self._days[name] = day
            self._write()

    def drop(self, name: str) -> None:
        """Forget a day."""
        with self._lock:
            self._days.pop(name, None)
            self._write()

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump({"days": {name: asdict(day) for name, day in sorted(self._days.items())}}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
