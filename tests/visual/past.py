"""A Prometheus with a past: samples into blocks, and what the shipped rules would have recorded and alerted at the time."""

from __future__ import annotations

import json
import re
import urllib.parse
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from tests.dialects import CLASSIC, groups, in_turns
from tests.servers import Process, Prometheus, fetch, promtool
from tests.visual.company import DAY, HOUR, LEVELS, MINUTE, NOW, RECENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Json = dict[str, Any]
_P = TypeVar("_P", bound=Process)
FLAGS = (
    "--storage.tsdb.retention.time=50y",
    # What lies there already is good as it is.
    "--no-storage.tsdb.allow-overlapping-compaction",
    "--storage.tsdb.min-block-duration=1d",
    "--storage.tsdb.max-block-duration=1d",
)


_ALERTS = re.compile(r"\bALERTS(?:_FOR_STATE)?(?:\{[^}]*\})?")


class Past:
    """A storage folder that is filled with samples of the past."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)

    def server(self) -> Prometheus:
        """Return a Prometheus, not started yet, that shows what has been stored until its start, and scrapes nothing."""
        return Prometheus(self.folder, "global: {}\n", flags=FLAGS, data=self.data)

    def store(self, samples: Iterable[tuple[float, str]]) -> None:
        """Store expositions, each given with its time; no Prometheus may be running."""
        days: dict[int, Path] = {}
        with ExitStack() as stack:
            files: dict[int, TextIO] = {}
            for when, text in samples:
                day = int(when // DAY)
                if day not in files:
                    days[day] = self.folder / f"{day}.om"
                    files[day] = stack.enter_context(days[day].open("w", encoding="utf-8"))
                files[day].write(text)
            for file in files.values():
                file.write("# EOF\n")
        for path in days.values():
            # promtool reads a file once for every block, so it gets a day and makes one block of it.
            done = promtool(
                "tsdb", "create-blocks-from", "openmetrics", "-q", "--max-block-duration=24h", path, self.data
            )
            assert done.returncode == 0, done.stdout + done.stderr
            path.unlink()

    def evaluate_rules(self, start: float) -> None:
        """Store what the shipped rules record from ``start`` on, and the alerts of recent hours.

        Rules that read what others record come after them, by as many restarts as that takes: a running Prometheus
        sees new blocks after a minute only. ``promtool tsdb create-blocks-from rules`` shifts evaluations by a hash of
        the file's path, leaves alerts out and needs the same restarts, so queries over a range do it here.
        """
        for turn in in_turns(groups(CLASSIC, LEVELS)):
            self._store_answers(
                [(rule, _seconds(group["interval"])) for group in turn for rule in group["rules"]], start
            )

    def _store_answers(self, rules: list[tuple[Json, float]], start: float) -> None:
        samples: list[tuple[float, str]] = []
        with running(self.server()) as server:
            for rule, interval in rules:
                # Alerts that have ended are not marked as stale here, as a server does: only what is stored at the moment counts.
                expr = _ALERTS.sub(r"(\g<0> and timestamp(\g<0>) == time())", rule["expr"])
                if "alert" in rule:
                    for series in _asked(server, expr, NOW - RECENT, NOW, interval):
                        samples += _alerting(rule, series, interval)
                    continue
                for begin, end, step in (
                    (start, NOW - RECENT, max(interval, 5 * MINUTE)),
                    (max(start, NOW - RECENT), NOW, interval),
                ):
                    for series in _asked(server, expr, begin, end, step):
                        name = written({**series["metric"], **rule.get("labels", {}), "__name__": rule["record"]})
                        samples += [(when, f"{name} {value} {when:.0f}\n") for when, value in series["values"]]
        self.store(samples)


@contextmanager
def running(server: _P) -> Iterator[_P]:
    """A server, started and stopped."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([smhd])", text).groups()  # type: ignore[union-attr]
    return float(int(number) * {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}[unit])


def _asked(server: Prometheus, expr: str, start: float, end: float, step: float) -> Iterator[Json]:
    """The series of a query over a range, at multiples of its step; a day at once."""
    moment = -(-start // step) * step
    while moment <= end:
        last = min(end, moment + DAY - step)
        fields = urllib.parse.urlencode({"query": expr, "start": moment, "end": last, "step": step}).encode()
        yield from json.loads(fetch(f"{server.url}/api/v1/query_range", fields))["data"]["result"]
        moment += DAY


def _alerting(rule: Json, series: Json, interval: float) -> Iterator[tuple[float, str]]:
    """ALERTS and ALERTS_FOR_STATE of one alert, by its times of waiting and of firing on."""
    patience, persistence = (_seconds(rule.get(name, "0s")) for name in ("for", "keep_firing_for"))
    labels = {**series["metric"], **rule.get("labels", {}), "alertname": rule["alert"]}
    labels.pop("__name__", None)
    true = {when for when, _ in series["values"]}
    since = last = 0.0
    firing = False
    when = min(true)
    while when <= NOW:
        if when in true:
            since, last = since or when, when
            firing = firing or when - since >= patience
        elif not firing or when - last >= persistence:
            since, firing = 0.0, False
        if since:
            state = written({**labels, "__name__": "ALERTS", "alertstate": "firing" if firing else "pending"})
            yield when, f"{state} 1 {when:.0f}\n"
            yield when, f"{written({**labels, '__name__': 'ALERTS_FOR_STATE'})} {since:.0f} {when:.0f}\n"
        when += interval


def written(labels: dict[str, str]) -> str:
    """A series as an exposition writes it; ``__name__`` is among its labels."""
    pairs = ",".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items() if name != "__name__"
    )
    return f"{labels['__name__']}{{{pairs}}}"
