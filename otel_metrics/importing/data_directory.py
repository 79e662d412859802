"""The Prometheus data directory: whether a server lives there, how blocks get in, and what was imported into it before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.errors import ImportFailedError
from otel_metrics.importing.target import HEAD_SECONDS, WORK, Target, take_lock

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from otel_metrics.importing.target import Day

_META: Final = "meta.json"
"""What makes a folder a block."""

_LAVISH: Final = {"GOGC": "400"}
"""Collects garbage less often: a day needs little memory, and promtool a quarter less time."""

_AT_ONCE: Final = 2
"""Days that promtool works on at once: it waits for the disk as long as it computes."""

_RESERVED: Final = 512 * 2**20
"""Bytes that promtool reserves for a block's chunks, and gives back when the block is done, however small it is."""

_BESIDE: Final = 64 * 2**20
"""Bytes for everything else: text and index of a day, and the rest of the blocks."""


class DataDirectory(Target):
    """A data directory of Prometheus, with or without a server in it. Our folder is on the same disk, and Prometheus ignores it.

    Args:
        path: what the server gets as ``--storage.tsdb.path``; made if it is not there.
        promtool: the program.
    """

    def __init__(self, path: Path, promtool: Path) -> None:
        super().__init__(path / WORK)
        self.path = path
        self._promtool = promtool
        self._staging = self.work / "blocks"
        """One folder of new blocks per file, until they are moved into place."""
        self._held: set[str] = set()

    @cached_property
    def _state(self) -> State:
        return State(self.work / "state.json")  # read once the directory is claimed

    def running(self) -> bool:
        """Return whether a server has the directory open."""
        try:
            with (self.path / "lock").open("r+") as lock:
                take_lock(lock)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def head_start(self, now: float) -> float | None:
        """Return the unix time from which on a server keeps data outside of blocks, or None if it keeps none there."""
        segments = [path for path in (self.path / "wal").glob("*") if path.is_file()]
        written = max((path.stat().st_mtime for path in segments if path.stat().st_size), default=None)
        if self.running():
            return now - HEAD_SECONDS
        return None if written is None else min(written, now) - HEAD_SECONDS

    def recover(self) -> None:
        """Finish or take back the days that an interrupted import was about to publish, and clear away what else it left."""
        held = self.held()
        for name, day in self._state.unfinished().items():
            if self.publish(day.blocks) or held.issuperset(day.blocks):
                self._state.put(name, replace(day, done=True))
            else:
                self.withdraw(day.blocks)
                self._state.drop(name)
        self.clean()
        self._held = self.held()

    def known(self, name: str, content: str) -> str | None:
        """Return why a day is left alone."""
        found = self._state.get(name)
        # What retention has deleted is imported again. Samples that are still there as well are the same, and count once.
        if found is None or found.gone(self._held) or (found.content == content and not found.holds(self._held)):
            return None
        if found.content == content:
            return "imported before"
        return "imported before with other content: remove its series from the server, and its entry in the state file"

    def store(self, day: Day) -> bool:
        """Make blocks of a day, and move them into place."""
        blocks = self.stage(day.file, day.samples)
        # Written before the first block moves: an interruption between two of them is recognised and mended.
        state = DayState(day.content, day.rows, blocks, done=False)
        self._state.put(day.name, state)
        if not self.publish(blocks):
            raise ImportFailedError(f"blocks of {day.name} could not be moved into place")
        self._state.put(day.name, replace(state, done=True))
        return True

    def at_once(self) -> int:
        """Return how many days promtool can work on at once in the space that is free.

        Raises:
            ImportFailedError: none.
        """
        free = shutil.disk_usage(self.work).free
        fitting = min((free - _BESIDE) // _RESERVED, _AT_ONCE)
        if fitting < 1:
            raise ImportFailedError(
                f"{self.path}: {free // 2**20} MiB are free, and {(_RESERVED + _BESIDE) // 2**20} MiB are needed: "
                "promtool reserves 512 MiB for a day until its block is done, however small that is"
            )
        return fitting

    def stage(self, file: Path, samples: int) -> list[str]:
        """Turn an OpenMetrics file into blocks beside the server's, and return their names. Several threads may.

        Raises:
            ImportFailedError: promtool failed, or dropped a sample, which it does without a word.
        """
        self._staging.mkdir(exist_ok=True)
        # A new one each time: promtool outlives us if we are killed, and goes on writing into the one that it was given.
        staging = Path(tempfile.mkdtemp(prefix=f"{file.stem}-", dir=self._staging))
        command = [
            str(self._promtool),
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "--max-block-duration=24h",
            "--quiet",
            str(file),
            str(staging),
        ]
        # A session of its own: Ctrl-C reaches us alone, and the day at hand is finished.
        done = subprocess.run(
            command, env={**os.environ, **_LAVISH}, capture_output=True, text=True, check=False, start_new_session=True
        )
        if done.returncode != 0:
            shutil.rmtree(staging, ignore_errors=True)
            raise ImportFailedError(f"promtool: {_last_line(done.stderr or done.stdout)}")
        metas = [_meta(path) for path in staging.iterdir() if (path / _META).is_file()]
        stored = sum(meta["stats"]["numSamples"] for meta in metas)
        if stored != samples:
            raise ImportFailedError(
                f"promtool stored {stored} of {samples} samples of {file.name}; nothing of it was kept"
            )
        return sorted(meta["ulid"] for meta in metas)

    def publish(self, names: Sequence[str]) -> bool:
        """Move staged blocks into place, those that are not there yet; return whether all are."""
        for name in names:
            staged = next(self._staging.glob(f"*/{name}"), None)
            if staged is not None and not (self.path / name).exists():
                staged.rename(self.path / name)
        _sync(self.path)
        return all((self.path / name / _META).is_file() for name in names)

    def withdraw(self, names: Sequence[str]) -> None:
        """Remove blocks that are in place, renamed first so that no half of one is ever loaded."""
        for name in names:
            if (self.path / name).exists():
                gone = self.work / f"{name}.gone"
                (self.path / name).rename(gone)
                shutil.rmtree(gone, ignore_errors=True)

    def held(self) -> set[str]:
        """Return the names of all blocks that are there, by themselves or compacted into larger ones."""
        while True:
            found: set[str] = set()
            # NAME.tmp-for-deletion and the like are no blocks any more, or not yet.
            blocks = [path.parent for path in self.path.glob(f"*/{_META}") if not path.parent.suffix]
            try:
                for block in blocks:
                    found.update(_names(block))
            except FileNotFoundError:  # compacted meanwhile: into a block that we may have missed
                continue
            return found

    def clean(self) -> None:
        """Remove what is only needed while importing; nobody may be at work on it."""
        shutil.rmtree(self._staging, ignore_errors=True)
        super().clean()


def _meta(block: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((block / _META).read_text(encoding="utf-8"))
    return found


def _names(block: Path) -> tuple[str, ...]:
    """Return the names of a block and of those that it was made from; none if it is damaged, as servers pass it over, too."""
    try:
        meta = _meta(block)
    except ValueError:  # empty after a power failure, for example
        return ()
    return (block.name, *meta["compaction"].get("sources", ()))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


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
