"""Where an import writes to, as :mod:`~otel_metrics.importing.importer` knows it: a day comes as one OpenMetrics file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, ClassVar, Final, NamedTuple

from otel_metrics.errors import ImportFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORK: Final = "otel-metrics-import"
"""Folder for everything of ours: what is at work, what is remembered, what was rejected."""

HEAD_SECONDS: Final = 3 * 3600
"""What a Prometheus keeps outside of blocks. A block that is newer than the oldest of it would make it drop the rest."""


class Day(NamedTuple):
    """A day that is ready to be stored."""

    name: str
    """What tells it apart in the server: its ``service_instance_id``."""
    content: str
    """Hash of what it holds."""
    rows: int
    """Old rows that it was made of."""
    samples: int
    file: Path
    """OpenMetrics text, which the target may take away."""


class Target(ABC):
    """A place that takes days. ``work``: our folder there; made if it is not there.

    Raises:
        ImportFailedError: the folder cannot be made.
    """

    retention: ClassVar[str] = "--storage.tsdb.retention.time"
    """The flag that says how long a server keeps data."""
    kept_days: ClassVar[int] = 15
    """Days that it keeps without that."""
    forgets: ClassVar[str] = "deletes it within hours"
    """What it does with older data."""

    def __init__(self, work: Path) -> None:
        self.work = work
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImportFailedError(f"{work}: {error.strerror}") from error

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other imports out.

        Raises:
            ImportFailedError: another one is at work here.
        """
        with (self.work / "lock").open("w") as lock:
            try:
                take_lock(lock)
            except OSError:
                raise ImportFailedError(f"another import is at work in {self.work}") from None
            yield

    def head_start(self, now: float) -> float | None:
        """Return the unix time from which on no day may be written yet, if there is one."""
        del now
        return None

    def recover(self) -> None:
        """Mend what an interrupted import left."""
        self.clean()

    def known(self, name: str, content: str) -> str | None:
        """Return why a day of that content is not written again, if that is known before it is made."""
        del name, content
        return None

    def at_once(self) -> int:
        """Return how many days can be stored at the same time.

        Raises:
            ImportFailedError: not even one.
        """
        return 1

    @abstractmethod
    def store(self, day: Day) -> bool:
        """Store a day; return False if it turns out to be there. Several threads may.

        Raises:
            ImportFailedError: it could not be stored.
        """

    def show(self) -> None:  # noqa: B027  # most places show at once what they have
        """Have queries see what was stored.

        Raises:
            ImportFailedError: nothing answers.
        """

    def file(self, name: str) -> Path:
        """Return where to write the OpenMetrics text of a day."""
        return self.work / f"{name}.om"

    def clean(self) -> None:
        """Remove what is only needed while importing; nobody may be at work on it."""
        for file in self.work.glob("*.om"):
            file.unlink(missing_ok=True)


def take_lock(file: IO[str]) -> None:
    """Take the lock that Prometheus takes, until the file is closed.

    Raises:
        OSError: somebody else has it.
    """
    import fcntl  # not there on Windows, where the other commands shall work

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
