"""What dashboards are looked at in: fresh, busy with an incident, idle, empty, imported history, 24 features."""

from __future__ import annotations

import hashlib
import math
import random
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.command import otel_metrics
from tests.dialects import CLASSIC, rules
from tests.importing import old
from tests.servers import ROOT, Servers, fetch, routing_to, wait_until
from tests.visual.company import DAY, FOUR, HOUR, LEVELS, MINUTE, NOW, RECENT, TWENTY_FOUR, Process, Trouble, of_chat
from tests.visual.past import Past

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import Prometheus

SCRAPES = {"fresh": 15}
"""Seconds between the recent scrapes of states that have not one a minute."""

BEGINS = {"imported": "now-16d"}
"""Where the period begins that is drawn of states which have nothing recent."""

CACHE = ROOT / ".cache/visual/states"
SOURCES = (
    "otel_metrics/*.py",
    *(f"otel_metrics/{part}/**/*.py" for part in ("catalogue", "exporter", "facade", "importing", "recording", "sdk")),
    *(f"tests/visual/{name}.py" for name in ("company", "past", "states")),
    "tests/importing/old.py",
)
"""What states are made from, beside the rules; dashboards are not among it."""

_OF_SERVERS = re.compile(r"prometheus_(rule|notifications|config|tsdb_head)|alertmanager_(alerts|notifications|config)")


def _fresh(past: Past) -> None:
    """Ten minutes after the start of the first process, which has no trouble."""
    _record(past, Process("first", NOW - 10 * MINUTE, NOW, scrape=SCRAPES["fresh"]))


def _busy(past: Past) -> None:
    """Nine days, some deployments, one incident a day ago; for an hour now the chat assistant is in trouble again."""
    troubles = [of_chat(NOW - 28 * HOUR, NOW - 26 * HOUR), of_chat(NOW - HOUR)]
    _record(
        past,
        Process("a1", NOW - 9 * DAY, NOW - 3.2 * DAY, troubles=troubles),
        Process("a2", NOW - 3.2 * DAY, NOW - 5 * HOUR, troubles=troubles),
        Process("a3", NOW - 5 * HOUR, NOW, troubles=troubles),
        Process("b1", NOW - 2 * HOUR, NOW, instance="10.0.0.12:9464", troubles=troubles),
    )


def _idle(past: Past) -> None:
    """A day of work; for seven hours now nobody has used anything, while the process goes on."""
    _record(past, Process("night", NOW - 1.2 * DAY, NOW, idle_from=NOW - 7 * HOUR))


def _many(past: Past) -> None:
    """24 features, for two hours."""
    _record(past, Process("many", NOW - 2 * HOUR, NOW, TWENTY_FOUR))


def _imported(past: Past) -> None:
    """Fifteen days of the old database, imported; nothing is recorded yet."""
    database = _old_database(past.folder / "old.db")
    done = otel_metrics("import", str(database), "--data", str(past.data), cwd=past.folder)
    assert done.returncode == 0, done.stdout + done.stderr


def _empty(_: Past) -> None:
    """Nothing at all."""


CONTENT = tuple(replace(feature, score=4.7, failing=feature.failing / 2) for feature in FOUR)
"""Nobody burns an error budget before the incident."""


def _incident(*troubles: Trouble, disk_fills_from: float = math.inf) -> Callable[[Past], None]:
    """A day and a half of work, with one thing that goes wrong in the last hours."""

    def state(past: Past) -> None:
        _record(
            past,
            Process("d1", NOW - 1.5 * DAY, NOW - 5 * HOUR, CONTENT, rarely=4 * MINUTE),
            Process("d2", NOW - 5 * HOUR, NOW, CONTENT, troubles=troubles, disk_fills_from=disk_fills_from),
        )

    return state


STATES: dict[str, Callable[[Past], None]] = {
    "busy": _busy,
    "fresh": _fresh,
    "idle": _idle,
    "empty": _empty,
    "imported": _imported,
    "many": _many,
}
INCIDENTS: dict[str, Callable[[Past], None]] = {
    "incident-1": _incident(Trouble("checkout", NOW - 50 * MINUTE, failing=0.35)),
    "incident-2": _incident(Trouble("search", NOW - 3 * HOUR, rise=3 * HOUR, slower=9)),
    "incident-3": _incident(Trouble("recommendations", NOW - 2.2 * HOUR, unloved=2.2)),
    "incident-4": _incident(Trouble("chat-assistant", NOW - 1.9 * HOUR, silent=True)),
    "incident-5": _incident(disk_fills_from=NOW - 1.7 * HOUR),
}
"""One thing each, whose names do not tell it: whoever sees a picture should. Drawn when asked for."""


def built(state: str) -> Path:
    """Return the folder of a state, built unless that was done before from the same sources."""
    digest = hashlib.sha256()
    for file in sorted(file for pattern in SOURCES for file in ROOT.glob(pattern)):
        digest.update(file.read_bytes())
    digest.update("".join(rules(CLASSIC, LEVELS).values()).encode())
    folder = CACHE / f"{state}-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        for other in [*CACHE.glob(f"{state}-*"), CACHE / f".{state}"]:
            shutil.rmtree(other, ignore_errors=True)
        past = Past(CACHE / f".{state}")
        (STATES | INCIDENTS)[state](past)
        past.folder.rename(folder)
    return folder


def server(state: str) -> Prometheus:
    """Return the Prometheus of a state, not started yet."""
    return Past(built(state)).server()


def _record(past: Past, *processes: Process) -> None:
    past.store((when, text) for process in processes for when, text in process.scrapes())
    past.store(_servers())
    past.evaluate_rules(min(process.born for process in processes))


@cache
def _servers() -> list[tuple[float, str]]:
    """What Prometheus and Alertmanager say of themselves, held over the recent hours."""
    lines = []
    with tempfile.TemporaryDirectory() as folder, closing(Servers(Path(folder))) as servers:
        alertmanager = servers.alertmanager(routing_to("http://127.0.0.1:9"))
        for name, text in rules(CLASSIC, LEVELS).items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        prometheus = servers.prometheus(
            rules=sorted(Path(folder).glob("*.yml")),
            alertmanagers=[alertmanager.address],
            targets=[alertmanager.address],
        )
        wait_until(lambda: prometheus.api("alertmanagers")["activeAlertmanagers"], what="Alertmanager known")
        for server in (prometheus, alertmanager):
            labels = f'job="{server.name}",instance="{server.name}:9090"'
            text = fetch(f"{server.url}/metrics").decode()
            lines += [
                f"up{{{labels}}} 1",
                f"scrape_duration_seconds{{{labels}}} 0.004",
                f"scrape_samples_scraped{{{labels}}} 500",
            ]
            for name, own, told in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
                if _OF_SERVERS.match(name) and told != "NaN":
                    named = own.replace(folder, "/etc/prometheus/rules")
                    # The same on every machine.
                    value = len(named) % 10 / 10 if name == "prometheus_rule_group_last_duration_seconds" else told
                    lines.append(f"{name}{{{named}{',' if named else ''}{labels}}} {value}")
    return [
        (when, "".join(f"{line} {when}\n" for line in lines)) for when in range(int(NOW - RECENT), int(NOW) + 1, MINUTE)
    ]


def _old_database(path: Path) -> Path:
    """A database of the old tracker: fifteen days until the end of yesterday."""
    chance = random.Random(1)
    start = datetime(2025, 11, 4)  # noqa: DTZ001  # the old tracker wrote naive times
    old.filled(path, 30_000, 15, start)

    def times(count: int) -> list[str]:
        return [(start + timedelta(days=15) * (n / count)).isoformat() for n in range(count)]

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO error_metrics (timestamp, feature, error_type, error_severity, recovery_attempted,"
            " recovery_successful, impact_level) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    when,
                    f"feature-{chance.randrange(3)}",
                    chance.choice(("Timeout", "ValueError")),
                    chance.choice(("error", "warning", "critical")),
                    chance.random() < 0.5,
                    chance.random() < 0.5,
                    chance.choice(("low", "high")),
                )
                for when in times(1500)
            ],
        )
        connection.executemany(
            "INSERT INTO learning_effectiveness (timestamp, feature, learning_type, accuracy, confidence, sample_size,"
            " improvement_rate) VALUES (?, 'feature-1', 'ranking', ?, 0.7, 50, ?)",
            [(when, min(1, chance.gauss(0.8, 0.05)), chance.gauss(0.01, 0.02)) for when in times(1000)],
        )
    return path
