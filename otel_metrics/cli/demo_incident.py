"""The incident of the demo: announced, explained, watched in Prometheus until it is over."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.catalogue import FEATURE
from otel_metrics.cli import server_option, terminal
from otel_metrics.cli.dashboard import FIRING
from otel_metrics.promql import call
from otel_metrics.querying.questions import inquiry_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.runtime import Runtime

_LOOK: Final = 0.2
_PATIENCE: Final = 6.0
"""Hours, as they pass to the alerts, until which an alert should have changed."""

_FIRED: Final = call("last_over_time", FIRING.over("1d"))

Alerts = set[tuple[str, str]]
"""Their names, and the features that they are about."""


def tell(engine: Any, url: str, hour: float, *, generations: int | None, seconds: float | None) -> bool:
    """Let the ``engine`` have its incident, say what happens, and stop it; ``True`` if exactly the announced alert fired and resolved.

    That begins after so many ``generations``, or after the one during which so many ``seconds`` have passed. ``hour`` is how many
    seconds an hour is to the alerts in the Prometheus at ``url``.
    """
    incident = importlib.import_module("examples.learning_engine.incident")
    announced = {(incident.ALERT, incident.FEATURE)}
    with server_option.connected(url) as runtime:

        def until(what: str, condition: Callable[[], bool], patience: float = _PATIENCE * hour) -> bool:
            deadline = time.monotonic() + patience
            while not condition():
                if engine.stopped.wait(_LOOK):
                    return False
                if time.monotonic() > deadline:
                    _say(f"Waited {patience:g} seconds in vain for {what}.", "bold red")
                    return False
            return True

        try:
            begin = time.monotonic() + (seconds or 0)
            done = generations or 1
            if not until("work", lambda: engine.progress.generation > done and time.monotonic() >= begin, float("inf")):
                return False
            if others := _alerts(runtime, _FIRED):
                _say(f"{_named(others)} fired, and should not have.", "bold red")
                return False
            _say("All is well: no alert has fired.", "green")
            done = engine.progress.generation
            engine.incident.set()
            if not until("the incident to begin", lambda: engine.progress.generation > done):
                return False
            _say(f"Incident: {incident.WHAT}", "bold yellow")
            for line in incident.WHERE:
                terminal.say("        ", line)
            if not until(f"{_named(announced)} to fire", lambda: announced <= _alerts(runtime, FIRING)):
                return False
            _say(f"{_named(announced)} fires.", "bold red")
            if not until("the folder to be back", lambda: not engine.incident.is_set()):
                return False
            _say("The folder is back; the alert stays until its errors are an hour old, and a quarter more.")
            if not until(f"{_named(announced)} to resolve", lambda: not announced & _alerts(runtime, FIRING)):
                return False
            _say(f"{_named(announced)} is resolved: the incident is over.", "green")
            if others := _alerts(runtime, _FIRED) - announced:
                _say(f"{_named(others)} fired, too, and should not have.", "bold red")
            return not others
        finally:
            engine.stop()


def _alerts(runtime: Runtime, asked: Any) -> Alerts:
    rows = runtime.source.ask(inquiry_of(str(asked), 1, time.time())).rows
    return {(row.labels["alertname"], row.labels.get(FEATURE.name, "")) for row in rows}


def _named(alerts: Alerts) -> str:
    return ", ".join(" of ".join(filter(None, alert)) for alert in sorted(alerts))


def _say(text: str, style: str = "") -> None:
    terminal.say(time.strftime("%H:%M:%S"), terminal.plain(text, style))
