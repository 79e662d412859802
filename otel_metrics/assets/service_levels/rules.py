"""The rules of service levels: events counted minute by minute, rates of burning, and two alerts on these.

Every level counts all its events, and the bad ones, once a minute, exactly. Long windows add up these minutes and read no raw
samples. How fast a budget burns is the share of bad events in a window, divided by the share that the objective allows: at 1 the
budget lasts for its period. The two alerts name no level, so that there are two however many levels there are.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds
from otel_metrics.assets.rulefile import Alert, Group, Recording
from otel_metrics.assets.scope import SCOPE, in_annotations
from otel_metrics.assets.service_levels.levels import KIND, SERVICE_LEVEL, Kind
from otel_metrics.assets.uids import SERVICE_LEVELS
from otel_metrics.catalogue import FEATURE, OUTCOME, SATISFIED, SECONDS
from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import (
    HistogramChange,
    Series,
    binary,
    call,
    ends_at,
    equal,
    last_over,
    number,
    seconds,
    total,
    unequal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_metrics.assets.scope import Labels
    from otel_metrics.assets.service_levels.levels import Level, ServiceLevels
    from otel_metrics.assets.thresholds import Burn, Limit
    from otel_metrics.promql import Dialect, Expression

EVENTS: Final = "service_level:events:increase1m"
BAD_EVENTS: Final = "service_level:bad_events:increase1m"
SUCCESSES: Final = "service_level:successes:increase1m"
DURATIONS: Final = "service_level:durations:increase1m"
OBJECTIVE: Final = "service_level:objective:ratio"

FAST: Final = "FeatureErrorBudgetBurnFast"
SLOW: Final = "FeatureErrorBudgetBurnSlow"

_MINUTE: Final = "1m"


def burn_rate(window: str) -> str:
    """Return the name of how fast budgets burn, over a window."""
    return f"service_level:burn_rate:ratio{window}"


def in_window(name: str, window: str) -> Expression:
    """Return the number of events in a window, from those of its minutes."""
    return call("sum_over_time", Series(name).over(window))


def groups(levels: ServiceLevels, dialect: Dialect, scope: Labels = SCOPE) -> tuple[Group, ...]:
    """Return the rules of the levels; without any there are none.

    Raises:
        ConfigurationError: a level cannot be told with what the server stores.
    """
    if not levels.levels:
        return ()
    counted = (
        Group(
            f"otel_metrics_service_level_{level.name}",
            _MINUTE,
            tuple(_counted(level, dialect, (*scope, FEATURE.name))),
            f"{level.name}: {level.promise()} {level.description}".strip(),
            dialect.delay,
        )
        for level in levels.levels
    )
    return (*counted, _rates(levels.period), _alerts(levels.period, scope))


# -------------------------------------------------------------------------------------------------------------- events


def _counted(level: Level, dialect: Dialect, by: tuple[str, ...]) -> Iterator[Recording]:
    named = {SERVICE_LEVEL: level.name}
    objective = call("vector", level.share)
    yield Recording(OBJECTIVE, objective, {**named, FEATURE.name: level.feature, KIND: level.kind.value})
    for name, expression in _COUNTS[level.kind](level, dialect, by):
        yield Recording(name, expression, named)


def _of(level: Level) -> tuple[str, ...]:
    return (equal(FEATURE, level.feature), *(equal(label, value) for label, value in level.where))


def _success(level: Level, dialect: Dialect, by: tuple[str, ...]) -> Iterator[tuple[str, Expression]]:
    def uses(matcher: str) -> Expression:
        return total(level.kind.metric, dialect.watched(_MINUTE), by, *_of(level), matcher)

    known = uses(unequal(OUTCOME, "unknown"))
    yield EVENTS, known
    # A counter is born with its first event: where nothing has ever failed, that is none, and the budget is whole.
    yield BAD_EVENTS, uses(equal(OUTCOME, "failure")) | known * 0


def _satisfaction(level: Level, dialect: Dialect, by: tuple[str, ...]) -> Iterator[tuple[str, Expression]]:
    def responses(matcher: str = "") -> Expression:
        return total(level.kind.metric, dialect.watched(_MINUTE), by, *_of(level), matcher)

    yield EVENTS, responses()
    yield BAD_EVENTS, responses(equal(SATISFIED, "false")) | responses() * 0


def _latency(level: Level, dialect: Dialect, by: tuple[str, ...]) -> Iterator[tuple[str, Expression]]:
    longest, change = seconds(level.threshold), dialect.watched_histograms(_MINUTE)
    if dialect.native:
        durations = HistogramChange(level.kind.metric, change, by, _of(level))
        yield DURATIONS, durations.values()
        recorded = Series(DURATIONS, (equal(SERVICE_LEVEL, level.name),))
        count = call("histogram_count", recorded)
        yield EVENTS, count
        # Without values the fraction is NaN, which is not at least 0; a NaN would spoil the sum of a whole month.
        yield BAD_EVENTS, (number(1) - call("histogram_fraction", 0, longest, recorded)) * count >= 0
        return
    events = HistogramChange(level.kind.metric, change, by, _of(level), native=False)
    good = HistogramChange(level.kind.metric, change, by, (*_of(level), _bound(level, longest)), native=False)
    yield EVENTS, events.count()
    yield BAD_EVENTS, events.count() - good.bucket()


def _bound(level: Level, longest: float) -> str:
    """Return the matcher of the bucket that ends at the threshold.

    Raises:
        ConfigurationError: none does.
    """
    if longest not in SECONDS:
        around = [max(b for b in SECONDS if b < longest), min(b for b in SECONDS if b > longest)]
        allowed = " or ".join(f"{bound * 1000:g}ms" for bound in around)
        raise ConfigurationError(
            f"{level.name}: threshold={level.threshold} is not allowed with classic histograms, as no bucket ends there; "
            f"allowed near it: {allowed}"
        )
    return ends_at(longest)


def _freshness(level: Level, dialect: Dialect, by: tuple[str, ...]) -> Iterator[tuple[str, Expression]]:
    def uses(matcher: str = "") -> Expression:
        return total(level.kind.metric, dialect.watched(_MINUTE), by, *_of(level), matcher)

    age = level.threshold
    # A process that has only failed so far has no counter of successes: it was watched, and there were none.
    yield SUCCESSES, uses(equal(OUTCOME, "success")) | uses() * 0
    successes = Series(SUCCESSES, (equal(SERVICE_LEVEL, level.name),))
    # Judged is what was watched a whole age ago: otherwise everything would be stale to a server that has just been started.
    yield EVENTS, last_over(successes.over(age, offset=age)) * 0 + 1
    judged = Series(EVENTS, successes.matchers)
    latest = call("max_over_time", successes.over(age)) | judged * 0
    yield BAD_EVENTS, binary(latest, "==", 0, "bool") & judged


_COUNTS: Final = {
    Kind.SUCCESS: _success,
    Kind.LATENCY: _latency,
    Kind.SATISFACTION: _satisfaction,
    Kind.FRESHNESS: _freshness,
}


# ---------------------------------------------------------------------------------------------------- rates and alerts


def _windows(period: str) -> tuple[str, ...]:
    """Return the windows over which rates of burning are recorded, the shortest first."""
    pairs = (*thresholds.BURNS_FAST, *thresholds.BURNS_SLOW)
    windows = {window for burn in pairs for window in (burn.long, burn.short)} | {period}
    return tuple(sorted(windows, key=seconds))


def _rates(period: str) -> Group:
    allowed = number(1) - Series(OBJECTIVE)
    return Group(
        "otel_metrics_burn_rates",
        _MINUTE,
        tuple(
            Recording(
                burn_rate(window),
                binary(
                    in_window(BAD_EVENTS, window) / (in_window(EVENTS, window) > 0),
                    "/",
                    allowed,
                    f"on ({SERVICE_LEVEL}) group_left ()",
                ),
            )
            for window in _windows(period)
        ),
        f"How fast do error budgets burn? At 1 a budget lasts for its period; that of {period} also tells how much of it is spent.",
    )


def _alerts(period: str, scope: Labels) -> Group:
    # Whom users dislike nobody has to mend at night.
    called = Series(OBJECTIVE, (unequal(KIND, Kind.SATISFACTION.value),))
    return Group(
        "otel_metrics_error_budgets",
        _MINUTE,
        (
            _alert(FAST, called, "critical", thresholds.BURNS_FAST, period, scope),
            _alert(SLOW, Series(OBJECTIVE), "warning", thresholds.BURNS_SLOW, period, scope),
        ),
        "Is a promise to users about to be broken? Two windows each: the long one tells that it matters, the short one that it goes on.",
    )


def _burning(burn: Burn, period: str, limit: Limit) -> Expression:
    factor = burn.factor(period)
    enough = in_window(BAD_EVENTS, burn.long) >= limit.events
    return (Series(burn_rate(burn.long)) > factor) & (Series(burn_rate(burn.short)) > factor) & enough


def _alert(name: str, judged: Series, severity: str, burns: tuple[Burn, ...], period: str, scope: Labels) -> Alert:
    limit = thresholds.BURN_FAST if name == FAST else thresholds.BURN_SLOW
    burning = reduce(or_, (_burning(burn, period, limit) for burn in burns))
    spent = ", or ".join(f"{burn.share:.0%} within {burn.long}" for burn in burns)
    return Alert(
        name,
        # What kind of trouble it is: an error budget is also one of slow uses.
        binary(burning, "*", judged**0, f"on ({SERVICE_LEVEL}) group_left ({KIND})"),
        severity,
        '{{ $labels.service_level }} ({{ $labels.kind }}): the error budget burns {{ printf "%.1f" $value }} times too fast',
        "{{ $labels.feature }} of {{ $labels.job }} spends the error budget of its {{ $labels.kind }} objective {{ $labels.service_level }} "
        f'{{{{ printf "%.1f" $value }}}} times as fast as it may: {spent} of what is there for {period}, and it goes on. '
        f"Windows with fewer than {limit.events} bad events are not judged.",
        f"{SERVICE_LEVELS}{in_annotations(scope, FEATURE.name, SERVICE_LEVEL)}",
        limit.hold,
        limit.keep,
    )
