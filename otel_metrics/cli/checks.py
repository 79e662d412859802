"""What ``otel-metrics doctor`` checks, as data: a question, what is looked at, why it matters and what to do."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import urllib3
from prometheus_client.parser import text_string_to_metric_families
from urllib3.exceptions import HTTPError, NameResolutionError

from otel_metrics import catalogue as c
from otel_metrics.assets import kubernetes, render, service_levels
from otel_metrics.assets.rulefile import Recording
from otel_metrics.assets.service_levels.levels import SERVICE_LEVEL
from otel_metrics.cli import processes
from otel_metrics.errors import ConfigurationError, MetricsError
from otel_metrics.naming import series_name
from otel_metrics.promql import (
    DIALECTS,
    INSTANCE,
    PROMETHEUS,
    PROMETHEUS_3_5,
    THANOS,
    Series,
    aggregate,
    call,
    difference,
    like,
    seconds,
    series,
    sum_by,
    unequal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from otel_metrics.assets.rulefile import Group
    from otel_metrics.assets.scope import Labels
    from otel_metrics.catalogue import Metric
    from otel_metrics.promql import Dialect, Expression
    from otel_metrics.querying.client import Access

    Found = Mapping[str, str]

_CLOCK: Final = 5.0
"""Seconds that two clocks may differ: a point in time of an answer is known to the second."""

_RETENTION: Final = 30
"""Days that the longest panels look back."""

_START_TIMES: Final = "created-timestamp-zero-ingestion"
_FEW: Final = 5

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_SELECTOR: Final = re.compile(rf"{{(?:[^{{}}\"]|{_QUOTED})*}}")
_MATCHER: Final = re.compile(rf"\w+\s*[=!~]+\s*{_QUOTED}")


class CannotLookError(MetricsError):
    """What a check has to look at does not answer."""


class NothingToSeeError(MetricsError):
    """This kind of server does not tell it."""


@dataclass(frozen=True, slots=True)
class Page:
    """What an endpoint answered: ``behind`` is how many seconds its clock is behind ours, if it tells."""

    samples: tuple[tuple[str, Found, float], ...]
    behind: float | None

    def of(self, metric: Metric) -> list[tuple[Found, float]]:
        """Return the series of a metric."""
        wanted = series_name(metric)
        return [(labels, value) for name, labels, value in self.samples if name == wanted]


@dataclass(frozen=True)
class Deployment:
    """What is looked at; each part of it is asked once.

    ``endpoints`` are addresses of processes; ``server`` is the Prometheus; ``root`` a folder with rendered files. Without one of
    them the checks on it are left out. ``scope`` holds the labels that rules and dashboards were rendered with.
    """

    endpoints: tuple[str, ...]
    server: str | None
    root: Path | None
    scope: Labels
    access: Access
    timeout: float

    @cached_property
    def _pool(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(ssl_context=self.access.trust())

    @cached_property
    def pages(self) -> dict[str, Page | str]:
        """What each endpoint answered, or why it did not."""
        return {url: self._page(url) for url in self.endpoints}

    @cached_property
    def answering(self) -> list[tuple[str, Page]]:
        """The endpoints that answered."""
        return [(url, page) for url, page in self.pages.items() if isinstance(page, Page)]

    @cached_property
    def asked(self) -> bool:
        """Whether there is a server that answers."""
        if self.server is None:
            return False
        try:
            self.api("status/buildinfo")
        except CannotLookError:
            return False
        except NothingToSeeError:
            pass
        return True

    def _page(self, url: str) -> Page | str:
        try:
            answer = self._get(url, {"Accept": "text/plain"})
            if answer.status != 200:
                return f"HTTP status {answer.status}"
            families = text_string_to_metric_families(answer.data.decode())
            samples = tuple((each.name, each.labels, each.value) for family in families for each in family.samples)
        except CannotLookError as error:
            return str(error)
        except ValueError as error:  # no exposition
            return f"what it answers is no metrics: {error}"
        date = answer.headers.get("Date")
        return Page(samples, time.time() - parsedate_to_datetime(date).timestamp() if date else None)

    def api(self, path: str, **fields: str) -> Any:
        """Return ``data`` of an answer of the server's API.

        Raises:
            CannotLookError: it does not answer, or will not.
            NothingToSeeError: it has no such page.
        """
        answer = self._get(f"{self.server}/api/v1/{path}", self.access.headers(), fields)
        if answer.status in {400, 404, 405, 501}:
            raise NothingToSeeError(f"{self.server} does not tell it")
        if answer.status != 200:
            raise CannotLookError(f"{self.server}: HTTP status {answer.status}")
        try:
            return answer.json()["data"]
        except (KeyError, TypeError, ValueError):
            raise CannotLookError(f"{self.server}: not the answer of a Prometheus HTTP API") from None

    def ask(self, expression: Expression) -> list[tuple[Found, float]]:
        """Return the series of an instant query."""
        found = self.api("query", query=str(expression))["result"]
        return [(each["metric"], float(each["value"][1])) for each in found if "value" in each]

    @cached_property
    def rules(self) -> dict[str, Mapping[str, Any]]:
        """The rules that the server has loaded, with the interval of their group, by name."""
        groups = self.api("rules")["groups"]
        return {
            _key(rule["name"], rule.get("labels", {})): {
                **rule,
                "ours": group["name"].startswith("otel_metrics"),
                "interval": group["interval"],
                "took": group.get("evaluationTime", 0.0),
            }
            for group in groups
            for rule in group["rules"]
        }

    def resolves(self, url: str) -> str:
        """Return why nothing answers at ``url``; empty if something does, or if its name is not known here."""
        try:
            self._get(url, {})
        except CannotLookError as error:
            cause = error.__cause__
            return "" if isinstance(getattr(cause, "reason", cause), NameResolutionError) else str(error)
        return ""

    def _get(
        self, url: str, headers: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                "GET", url, headers=headers, fields=fields, timeout=self.timeout, retries=False, redirect=False
            )
        except (HTTPError, OSError) as error:
            raise CannotLookError(f"{url}: {error.__cause__ or error}") from error


@dataclass(frozen=True, slots=True)
class Check:
    """One question. ``look`` gives what is wrong, a line for each place; it needs one of the named parts of a deployment."""

    name: str
    question: str
    needs: tuple[str, ...]
    look: Callable[[Deployment], Iterable[str]]
    why: str
    cure: str


# -------------------------------------------------------------------------------------------------------- the process


def _endpoint(at: Deployment) -> Iterator[str]:
    for url, page in at.pages.items():
        if isinstance(page, str):
            yield f"{url} cannot be scraped: {page}"


def _process(at: Deployment) -> Iterator[str]:
    for url, page in at.answering:
        bound = page.of(c.SERIES)
        if not bound:
            yield f"{url} answers, but not with metrics of this library"
        elif not any(value for _, value in bound):
            yield f"{url} has recorded nothing yet"


def _told(metric: Metric, *by: str) -> Callable[[Deployment], Iterator[str]]:
    """Return what looks for a metric of ours that should be zero: in the processes, and on the server for the last hour."""
    labels = by or metric.label_names
    counted = metric.kind is c.Kind.COUNTER
    on_server = difference("1h")(series(metric)) if counted else series(metric)

    def look(at: Deployment) -> Iterator[str]:
        for url, page in at.answering:
            for found, value in page.of(metric):
                if value > 0:
                    yield f"{url}: {_named(found, labels)}{value:g}{' since it started' * counted}"
        if at.asked:
            for found, value in at.ask(sum_by(("job", *labels), on_server) > 0):
                yield f"job {found.get('job', '?')}: {_named(found, labels)}{value:g}{' in the last hour' * counted}"

    return look


def _named(found: Found, names: Iterable[str]) -> str:
    return "".join(f"{name} {found.get(name, '?')}, " for name in names)


def _clock(at: Deployment) -> Iterator[str]:
    for url, page in at.answering:
        if page.behind is not None and abs(page.behind) > _CLOCK:
            yield f"{url}: {_apart(page.behind)}"
    if at.asked:
        before = time.time()
        ((_, told),) = at.ask(call("vector", call("time")))
        behind = (before + time.time()) / 2 - told
        if abs(behind) > _CLOCK:
            yield f"{at.server}: {_apart(behind)}"


def _apart(behind: float) -> str:
    return f"its clock is {abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'} the one here"


# --------------------------------------------------------------------------------------------------------- the server


def _prometheus(at: Deployment) -> Iterator[str]:
    version = str(at.api("status/buildinfo").get("version", ""))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    state = at.api("status/runtimeinfo")
    if numbers < (oldest := processes.OLDEST["prometheus"]):
        yield f"{at.server} is version {version}; rules and getters need {'.'.join(map(str, oldest))} or later"
    if state.get("reloadConfigSuccess") is False:
        yield f"{at.server} could not load its configuration and goes on with the one before"


def _targets(at: Deployment) -> Iterator[str]:
    for target in at.api("targets", state="active")["activeTargets"]:
        if target["health"] == "down":
            yield f"job {target['labels'].get('job', '?')}, {target['scrapeUrl']}: {target['lastError']}"


def _telemetry(at: Deployment) -> Iterator[str]:
    known = {found.get(INSTANCE) for found, _ in at.ask(series(c.SERIES))}
    if not known:
        yield f"{at.server} has no application with this library"
        return
    for url, page in at.answering:
        for found, _ in page.of(c.SERIES):
            if found.get(INSTANCE) not in known:
                yield f"{at.server} does not scrape the process at {url}"


def _self_scrape(at: Deployment) -> Iterator[str]:
    if not at.ask(Series("prometheus_build_info")):
        yield f"{at.server} does not scrape itself"


def _start_times(at: Deployment) -> Iterator[str]:
    if _START_TIMES not in at.api("status/flags").get("enable-feature", ""):
        yield f"{at.server} runs without --enable-feature={_START_TIMES}"


def _retention(at: Deployment) -> Iterator[str]:
    kept = str(at.api("status/runtimeinfo")["storageRetention"])
    days = seconds(kept) / c.SECONDS_PER_DAY
    if 0 < days < _RETENTION:
        yield f"{at.server} keeps {kept}"


def _rules(at: Deployment) -> Iterator[str]:
    variant = _loaded_variant(at)
    expected = _expressions(variant, at.scope)
    if at.root:
        try:
            expected |= _bare_rules(service_levels.groups(service_levels.below(at.root), variant, at.scope))
        except ConfigurationError as error:
            yield f"service levels of {at.root}: {error}"
    yield from _several("not loaded", [name for name in expected if name not in at.rules])
    other = [name for name, expr in expected.items() if name in at.rules and _bare(at.rules[name]["query"]) != expr]
    # Their expressions are the same, and the server does not tell what it is.
    thanos = f" (on Thanos, `--dialect {THANOS.name}`)" if variant.name == PROMETHEUS_3_5.name else ""
    yield from _several(f"not what `otel-metrics render --dialect {variant.name}` writes{thanos}", other)
    for name, rule in at.rules.items():
        if not rule["ours"]:
            continue
        if rule["health"] == "err":
            yield f"{name} fails: {rule.get('lastError', '')}"
        elif rule["took"] > rule["interval"]:
            yield f"the group of {name} takes {rule['took']:.1f} s, longer than its interval of {rule['interval']:g} s"


def _several(what: str, names: list[str]) -> Iterator[str]:
    if names:
        more = ", …" * (len(names) > _FEW)
        yield f"{len(names)} {'rule is' if len(names) == 1 else 'rules are'} {what}: {', '.join(names[:_FEW])}{more}"


def _variants() -> Iterator[Dialect]:
    for dialect in DIALECTS.values():
        for histograms in dialect.stores:
            yield dialect.storing(histograms)


def _expressions(dialect: Dialect, scope: Labels) -> dict[str, str]:
    """Return the rules for a server, by name."""
    return _bare_rules(group for groups in render.rules(dialect, scope).values() for group in groups)


def _bare_rules(groups: Iterable[Group]) -> dict[str, str]:
    return {
        _key(rule.record, rule.labels) if isinstance(rule, Recording) else rule.name: _bare(str(rule.expr))
        for group in groups
        for rule in group.rules
    }


def _key(name: str, labels: Found) -> str:
    """Return what tells a rule from others: the rules of each service level have the same names."""
    return f"{name} of {labels[SERVICE_LEVEL]}" if SERVICE_LEVEL in labels else name


def _bare(expression: str) -> str:
    """Return an expression as it is however it was laid out, its durations spelled, its matchers ordered."""
    spelled = re.sub(r"\b(?:\d+(?:ms|[smhdwy]))+\b", lambda found: f"{seconds(found[0]):g}s", expression)
    ordered = _SELECTOR.sub(lambda found: "{" + ",".join(sorted(_MATCHER.findall(found[0]))) + "}", spelled)
    return re.sub(r"\s+", "", ordered)


def _loaded_variant(at: Deployment) -> Dialect:
    """Return for which kind of server the rules are that the server has loaded; the shipped one if it has none."""
    loaded = {name: _bare(rule["query"]) for name, rule in at.rules.items()}

    def alike(dialect: Dialect) -> int:
        return len(_expressions(dialect, at.scope).items() & loaded.items())

    return max(_variants(), key=alike) if any(alike(each) for each in _variants()) else PROMETHEUS


def _histograms(at: Deployment) -> Iterator[str]:
    if not at.rules.keys() & _expressions(PROMETHEUS, at.scope).keys():
        return
    names = "|".join(series_name(metric) for metric in c.CATALOGUE if metric.kind is c.Kind.HISTOGRAM)
    ours = unequal(INSTANCE, "")

    def stored(pattern: str) -> bool:
        return bool(at.ask(aggregate("count", (), Series("", (like("__name__", pattern), ours)))))

    native, classic = stored(names), stored(f"({names})_bucket")
    if _loaded_variant(at).native and classic and not native:
        yield f"{at.server} stores classic histograms, its rules read native ones"
    if not _loaded_variant(at).native and native and not classic:
        yield f"{at.server} stores native histograms, its rules read classic ones"


def _alertmanager(at: Deployment) -> Iterator[str]:
    active = at.api("alertmanagers")["activeAlertmanagers"]
    if not active:
        yield f"{at.server} knows no Alertmanager"
    for each in active:
        address = each["url"].removesuffix("/api/v2/alerts")
        if why := at.resolves(f"{address}/-/ready"):
            yield f"the Alertmanager of {at.server} does not answer: {why}"
    failed = _sent("alertmanager_notifications_failed_total") / (_sent("alertmanager_notifications_total") > 0)
    for found, share in at.ask(failed > 0):
        yield f"{share:.0%} of its notifications by {found.get('integration', '?')} failed in the last 15 minutes"


def _sent(name: str) -> Expression:
    """Return how fast a counter of Alertmanager grows, by way of notification."""
    return sum_by(("integration",), call("rate", Series(name).over("15m")))


def _duplicates(at: Deployment) -> Iterator[str]:
    for instance, places in _places(at).items():
        if len(places) > 1:
            shown = " and ".join(f"job {job}, {address}" for job, address in sorted(places))
            yield f"the process {instance} is scraped as {shown}"


def _places(at: Deployment) -> dict[str, set[tuple[str, str]]]:
    """Return as what each process is scraped."""
    places: dict[str, set[tuple[str, str]]] = {}
    for found, _ in at.ask(series(c.SERIES)):
        if instance := found.get(INSTANCE):
            places.setdefault(instance, set()).add((found.get("job", ""), found.get("instance", "")))
    return places


def _jobs(at: Deployment) -> Iterator[str]:
    # A process that is scraped twice is another fault: it counts for one of its jobs.
    job_of = {instance: min(job for job, _ in places) for instance, places in _places(at).items()}
    service_of = {found.get(INSTANCE): found.get("service_name", "?") for found, _ in at.ask(Series("target_info"))}
    jobs: dict[tuple[str, str], set[str]] = {}
    for metric in (c.USAGE, c.ERRORS, c.SATISFACTION_RESPONSES, c.DAILY_COUNT):
        for found, _ in at.ask(aggregate("group", (c.FEATURE.name, INSTANCE), series(metric))):
            instance = found.get(INSTANCE, "")
            if job := job_of.get(instance):
                jobs.setdefault((found.get(c.FEATURE.name, ""), service_of.get(instance, "?")), set()).add(job)
    for (feature, service), names in sorted(jobs.items()):
        if len(names) > 1:
            yield f"feature {feature} of service {service} is recorded by the jobs {' and '.join(sorted(names))}"


# ---------------------------------------------------------------------------------------------------------- the files


def _dashboards(at: Deployment) -> Iterator[str]:
    root = at.root or Path()
    levels, compared = service_levels.below(root), []
    for variant in _variants():
        with suppress(ConfigurationError):  # a service level that this kind of server cannot tell
            compared.append(_drifted(root, render.files(variant, scope=at.scope, levels=levels)))
    for path in min(compared, key=len):
        yield f"{path.relative_to(root).as_posix()} {'is of another version' if path.exists() else 'is missing'}"


def _drifted(root: Path, rendered: Mapping[str, str]) -> list[Path]:
    """Return the dashboards that are not as rendered, be they files, or objects of Kubernetes, or both."""
    found = []
    objects = root / kubernetes.CONFIG_MAPS
    if objects.is_file() and objects.read_text("utf-8") != kubernetes.files(rendered)[kubernetes.CONFIG_MAPS]:
        found.append(objects)
    if not objects.is_file() or (root / render.DASHBOARDS).is_dir():
        folder = root / render.DASHBOARDS
        found += [path for path in render.check(root, rendered) if path.is_relative_to(folder)]
    return found


CHECKS: Final = (
    Check(
        "endpoint",
        "Can the process be scraped?",
        ("endpoints",),
        _endpoint,
        "Nothing that it records reaches a dashboard or an alert.",
        "Does it run, and was otel_metrics.serve() called? It listens on loopback unless it is given a host. "
        "401: credentials. 404: the address needs its path, such as /metrics.",
    ),
    Check(
        "process",
        "Does it record?",
        ("answering",),
        _process,
        "Something else has its port, or its record calls are never reached.",
        "Compare the port with that of serve(); call configure() once, before anything is recorded.",
    ),
    Check(
        "prometheus",
        "Is the server one that is supported, with the configuration it was given?",
        ("server",),
        _prometheus,
        "What was changed since is not in force.",
        "promtool check config; its log says more.",
    ),
    Check(
        "arguments",
        "Are arguments of record calls rejected?",
        ("answering", "asked"),
        _told(c.REJECTED),
        "What is rejected is in no metric.",
        "The application's log names the first argument of each kind; OTM_STRICT=true raises at the call, for tests.",
    ),
    Check(
        "label overflow",
        "Has a label more values than are kept?",
        ("answering", "asked"),
        _told(c.LABEL_OVERFLOW),
        "New values are counted as 'other'.",
        "Do not put ids or messages into this label; if it is meant to have so many, raise label_caps.",
    ),
    Check(
        "names",
        "Are metrics left out because their name is taken?",
        ("answering", "asked"),
        _told(c.COLLISIONS),
        "They are in no scrape.",
        "The application's log names both instruments: rename one.",
    ),
    Check(
        "files of the endpoint",
        "Are users and certificates usable?",
        ("answering", "asked"),
        _told(c.INVALID_FILES),
        "The endpoint goes on with the ones before, which may be those that were withdrawn.",
        "The application's log names the file and what is wrong with it.",
    ),
    Check(
        "workers",
        "Do processes answer at one address, each for itself?",
        ("answering", "asked"),
        _told(c.UNMERGED),
        "Every scrape shows another one of them: counters jump, and totals are wrong.",
        "Set OTM_MULTIPROCESS_DIR for all of them, see docs/workers.md.",
    ),
    Check(
        "multiprocess directory",
        "Can processes share what they record?",
        ("answering", "asked"),
        _told(c.SHARED_ERRORS),
        "What they record waits in each of them, or is left out.",
        "docs/workers.md says what each reason means: a full disk, another owner, a network file system.",
    ),
    Check(
        "clock",
        "Do the clocks agree?",
        ("answering", "asked"),
        _clock,
        "Values are counted to the wrong day, and getters ask for the wrong hour.",
        "Synchronize the machine's time (chrony, systemd-timesyncd).",
    ),
    Check(
        "targets",
        "Are all targets scraped?",
        ("asked",),
        _targets,
        "Their dashboards stand still, and their alerts cannot fire.",
        "Look from the server's host: curl the address. Inside a container, localhost is the container.",
    ),
    Check(
        "telemetry",
        "Does the server have the application's metrics?",
        ("asked",),
        _telemetry,
        "Dashboards are empty, and getters that ask the server find nothing.",
        "Add the process to scrape_configs, as in prometheus/prometheus.yml.",
    ),
    Check(
        "self-scrape",
        "Does Prometheus scrape itself?",
        ("asked",),
        _self_scrape,
        "The alerts on dropped samples, failing rules and an unreachable Alertmanager cannot fire.",
        "Add the job `prometheus` of the shipped prometheus/prometheus.yml.",
    ),
    Check(
        "start times",
        "Are counters counted from their start?",
        ("asked",),
        _start_times,
        "What a process counts before its first scrape is lost.",
        f"Start Prometheus with --enable-feature={_START_TIMES}.",
    ),
    Check(
        "retention",
        "Are samples kept long enough?",
        ("asked",),
        _retention,
        f"Panels compare months; the daily table and imported history end there. {_RETENTION} days are the least.",
        "Raise storage.tsdb.retention.time; the shipped configuration has 400d.",
    ),
    Check(
        "rules",
        "Are the rules loaded, of this version, and do they work?",
        ("asked",),
        _rules,
        "Alerts do not fire, the overview and the daily table have gaps.",
        "otel-metrics render --root FOLDER, load FOLDER/prometheus/rules/*.yml and reload Prometheus.",
    ),
    Check(
        "native histograms",
        "Are histograms stored as the rules read them?",
        ("asked",),
        _histograms,
        "Averages and percentiles are empty, and alerts on them cannot fire.",
        "Set scrape_native_histograms: true (before 3.8: --enable-feature=native-histograms), or render --histograms classic.",
    ),
    Check(
        "alertmanager",
        "Do alerts reach somebody?",
        ("asked",),
        _alertmanager,
        "Alerts fire and nobody is told.",
        "Set `alerting` in prometheus.yml, and the receiver's address in Alertmanager's configuration.",
    ),
    Check(
        "duplicate scrapes",
        "Is every process scraped once?",
        ("asked",),
        _duplicates,
        "What it records is counted as often as it is scraped.",
        "Take one of the two targets out of scrape_configs.",
    ),
    Check(
        "jobs",
        "Does every feature of a service belong to one job?",
        ("asked",),
        _jobs,
        "Getters, rules and dashboards keep jobs apart: none of them sees all of the feature.",
        "Give all processes of one application the same job; give two applications names of their own (OTEL_SERVICE_NAME).",
    ),
    Check(
        "dashboards",
        "Are the dashboards those of this version?",
        ("root",),
        _dashboards,
        "Panels ask for what is no longer recorded.",
        "otel-metrics render --root FOLDER, with the options it was first rendered with; give --by to doctor, too.",
    ),
)
