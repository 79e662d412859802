"""Alerts on what the application does: the three of the documented monitor, silence, and each family of metrics.

Severity ``critical`` pages: users are without something now. ``warning`` is a ticket: it can wait for working hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds
from otel_metrics.assets.recording import (
    ACCURACY_1H,
    CHANGE_1H,
    DURATION_1H,
    DURATION_P95_5M,
    DURATIONS_1H,
    ERRORS_1H,
    FEATURE_SILENT,
    LEARNINGS_1H,
    OUTCOMES_1H,
    RECOVERIES_1H,
    RESPONSES_1H,
    SAMPLES_1H,
    SATISFACTION_1H,
    UNUSED_SINCE,
    USES_1H,
)
from otel_metrics.assets.rulefile import COUNTED, Alert, Group
from otel_metrics.assets.scope import SCOPE, in_annotations
from otel_metrics.assets.uids import ERRORS, LEARNING, OPTIMIZATION, PERFORMANCE, RESOURCES, SATISFACTION, USAGE
from otel_metrics.catalogue import (
    ERRORS as ERROR_COUNTER,
)
from otel_metrics.catalogue import (
    FEATURE,
    IMPACT_CATEGORY,
    METRIC_CATEGORY,
    OUTCOME,
    RECOVERY,
    RESOURCE_UTILIZATION,
    SEVERITY,
)
from otel_metrics.promql import Series, aggregate, call, equal, like, series, sum_by, total, unequal

if TYPE_CHECKING:
    from otel_metrics.assets.scope import Labels
    from otel_metrics.assets.thresholds import Limit
    from otel_metrics.promql import Dialect, Expression

RESPONSE_TIME_CATEGORY: Final = "response_time"
_RESPONSE_TIME: Final = equal(METRIC_CATEGORY, RESPONSE_TIME_CATEGORY)
_WHO: Final = "{{ $labels.feature }} of {{ $labels.job }}"
_PERCENT: Final = "{{ $value | humanizePercentage }}"
_DURATION: Final = "{{ $value | humanizeDuration }}"
_WEEK: Final = "1w"
_PAST_WEEK: Final = "&from=now-8d&to=now"
_PAST_DAY: Final = "&from=now-2d&to=now"
"""Of links, where the period that a dashboard has by itself does not show what is compared."""

_SHRINKING_IS_BETTER: Final = like(IMPACT_CATEGORY, "task_completion_time|resource_usage")
_GROWING_IS_BETTER: Final = like(IMPACT_CATEGORY, "accuracy|user_experience")
"""The documented categories of optimizations; of others, nobody but their authors knows what is worse."""


def group(dialect: Dialect, scope: Labels = SCOPE) -> Group:
    """Return the alerts: on each feature of each application, or whatever else the scope tells apart, and on its resources."""
    of_feature = in_annotations(scope, FEATURE.name)
    by = (*scope, FEATURE.name)
    return Group(
        "otel_metrics_features",
        "1m",
        (
            *_errors(dialect, by, f"{ERRORS}{of_feature}"),
            *_satisfaction(f"{SATISFACTION}{of_feature}"),
            *_response_times(f"{PERFORMANCE}{of_feature}"),
            *_uses(by, f"{USAGE}{of_feature}"),
            *_learning(f"{LEARNING}{of_feature}"),
            _optimization(f"{OPTIMIZATION}{of_feature}"),
            *_resources((*scope, *RESOURCE_UTILIZATION.label_names), f"{RESOURCES}{in_annotations(scope)}"),
        ),
        "Does a feature fail, displease, slow down, fall silent or learn badly, is a resource full? One hour back, per feature.",
    )


def _page(name: str, expr: Expression, limit: Limit, summary: str, description: str, look: str) -> Alert:
    return Alert(name, expr, "critical", summary, description, look, limit.hold, limit.keep)


def _ticket(name: str, expr: Expression, limit: Limit, summary: str, description: str, look: str) -> Alert:
    return Alert(name, expr, "warning", summary, description, look, limit.hold, limit.keep)


def _errors(dialect: Dialect, by: Labels, look: str) -> tuple[Alert, ...]:
    errors, warnings, recovery = thresholds.ERRORS, thresholds.WARNINGS, thresholds.RECOVERY
    failed = sum_by(by, Series(RECOVERIES_1H, (equal(RECOVERY, "failed"),)))
    tried = sum_by(by, Series(RECOVERIES_1H, (unequal(RECOVERY, "none"),)))
    return (
        _page(
            "FeatureErrorsHigh",
            Series(ERRORS_1H) > errors.bound,
            errors,
            f"{_WHO}: {COUNTED} errors in an hour",
            f"{_WHO} recorded {COUNTED} errors in the last hour, "
            f"more than the {errors.bound:g} that are tolerated. The count is exact: nothing is extrapolated from few errors.",
            look,
        ),
        _ticket(
            "FeatureWarningsHigh",
            total(ERROR_COUNTER, dialect.hour, by, equal(SEVERITY, "warning")) > warnings.bound,
            warnings,
            f"{_WHO}: {COUNTED} warnings in an hour",
            f"{_WHO} recorded {COUNTED} errors of severity warning in the last hour, more than the {warnings.bound:g} that are "
            "tolerated.",
            look,
        ),
        _ticket(
            "FeatureRecoveryFailing",
            failed / (tried >= recovery.events) > recovery.bound,
            recovery,
            f"{_WHO}: {_PERCENT} of recoveries fail",
            f"{_PERCENT} of the recoveries that {_WHO} tried in the last hour failed, more than {recovery.bound:.0%}. Hours with "
            f"fewer than {recovery.events} are not judged.",
            look,
        ),
    )


def _satisfaction(look: str) -> tuple[Alert, ...]:
    satisfaction, drop = thresholds.SATISFACTION, thresholds.SATISFACTION_DROP
    scores, responses = Series(SATISFACTION_1H), Series(RESPONSES_1H)
    before = responses.when(offset=_WEEK)
    return (
        _ticket(
            "FeatureSatisfactionLow",
            (scores < satisfaction.bound) & (responses >= satisfaction.events),
            satisfaction,
            f"{_WHO}: average satisfaction {_PERCENT}",
            f"Users gave {_WHO} {_PERCENT} on average in the last hour, "
            f"below {satisfaction.bound:.0%}. Hours with fewer than {satisfaction.events} responses are not judged.",
            look,
        ),
        _ticket(
            "FeatureSatisfactionDropped",
            (scores - scores.when(offset=_WEEK) < drop.bound) & (responses >= drop.events) & (before >= drop.events),
            drop,
            f"{_WHO}: satisfaction changed by {_PERCENT} in a week",
            f"The average score of {_WHO} in the last hour differs by {_PERCENT} of the scale from that of the same hour a week before. "
            f"Hours with fewer than {drop.events} responses are not judged.",
            look + _PAST_WEEK,
        ),
    )


def _response_times(look: str) -> tuple[Alert, ...]:
    average, p95, before = thresholds.RESPONSE_TIME, thresholds.RESPONSE_TIME_P95, thresholds.AGAINST_LAST_WEEK
    seconds, count = Series(DURATION_1H).where(_RESPONSE_TIME), Series(DURATIONS_1H)
    return (
        _ticket(
            "FeatureResponseTimeHigh",
            (seconds > average.bound) & (count >= average.events),
            average,
            f"{_WHO}: average response time {_DURATION}",
            f"Response times of {_WHO} averaged {_DURATION} in the last hour, "
            f"above {average.bound * 1000:g} ms. Hours with fewer than {average.events} values are not judged.",
            look,
        ),
        _ticket(
            "FeatureResponseTimeP95High",
            (Series(DURATION_P95_5M).where(_RESPONSE_TIME) > p95.bound) & (count >= p95.events),
            p95,
            f"{_WHO}: one response time in twenty is above {_DURATION}",
            f"The 95th percentile of {_WHO}'s response times is {_DURATION} over five minutes, above {p95.bound:g} s. Hours with "
            f"fewer than {p95.events} values are not judged.",
            look,
        ),
        _ticket(
            "FeatureSlowerThanLastWeek",
            (seconds / seconds.when(offset=_WEEK) > before.bound)
            & (count >= before.events)
            & (count.when(offset=_WEEK) >= before.events),
            before,
            f'{_WHO}: {{{{ printf "%.1f" $value }}}} times as slow as a week before',
            f'Response times of {_WHO} averaged {{{{ printf "%.1f" $value }}}} times what they did in the same hour a week before. Hours '
            f"with fewer than {before.events} values are not judged.",
            look + _PAST_WEEK,
        ),
    )


def _uses(by: Labels, look: str) -> tuple[Alert, ...]:
    failures, silence, completion = thresholds.FAILURES, thresholds.SILENCE, thresholds.COMPLETION
    failed = sum_by(by, Series(OUTCOMES_1H, (equal(OUTCOME, "failure"),)))
    known = sum_by(by, Series(OUTCOMES_1H, (unequal(OUTCOME, "unknown"),)))
    # A process that has only failed so far has no counter of successes.
    done = sum_by(by, Series(OUTCOMES_1H, (equal(OUTCOME, "success"),))) | sum_by(by, Series(OUTCOMES_1H)) * 0
    before = sum_by(by, Series(OUTCOMES_1H, (equal(OUTCOME, "success"),)).when(offset=_WEEK))
    return (
        _page(
            "FeatureFailuresHigh",
            failed / (known >= failures.events) > failures.bound,
            failures,
            f"{_WHO}: {_PERCENT} of uses fail",
            f"{_PERCENT} of the uses of {_WHO} in the last hour failed, more than {failures.bound:.0%}. Hours with fewer than "
            f"{failures.events} uses of a known outcome are not judged.",
            look,
        ),
        _ticket(
            "FeatureCompletionsDropped",
            done / (before >= completion.events) < completion.bound,
            completion,
            f"{_WHO}: {_PERCENT} of the successful uses of a week before",
            f"{_WHO} was used with success {_PERCENT} as often in the last hour as in the same hour a week before, when it was at "
            f"least {completion.events} times.",
            look + _PAST_WEEK,
        ),
        _ticket(
            FEATURE_SILENT,
            Series(UNUSED_SINCE) & (Series(USES_1H).when(offset="1d") >= silence.events),
            silence,
            f"{_WHO}: not used any more",
            f"{_WHO} was last used at {{{{ $value | humanizeTimestamp }}}}; at this hour of the day before it was used at least "
            f"{silence.events} times. Either nobody can reach it, or its calls no longer record.",
            look + _PAST_DAY,
        ),
    )


def _learning(look: str) -> tuple[Alert, ...]:
    drop, few = thresholds.ACCURACY_DROP, thresholds.SAMPLES
    accuracy, learnings = Series(ACCURACY_1H), Series(LEARNINGS_1H)
    what = f"{{{{ $labels.learning_type }}}} of {_WHO}"
    return (
        _ticket(
            "FeatureLearningWorse",
            (accuracy - accuracy.when(offset=_WEEK) < drop.bound)
            & (learnings >= drop.events)
            & (learnings.when(offset=_WEEK) >= drop.events),
            drop,
            f"{what}: accuracy changed by {_PERCENT} in a week",
            f"The average accuracy of {what} in the last hour differs by {_PERCENT} of the scale from that of the same hour a week before. "
            f"Hours with fewer than {drop.events} values are not judged.",
            look + _PAST_WEEK,
        ),
        _ticket(
            "FeatureLearningSamplesFew",
            # Where nobody tells how many there are, there are none.
            (Series(SAMPLES_1H) > 0) / (learnings >= few.events) < few.bound,
            few,
            f"{what}: learns from {{{{ $value | humanize }}}} samples",
            f"What {what} recorded in the last hour is about {{{{ $value | humanize }}}} samples on average, fewer than {few.bound:g}: its "
            "accuracy and confidence say little.",
            look,
        ),
    )


def _optimization(look: str) -> Alert:
    limit, change = thresholds.OPTIMIZATION, Series(CHANGE_1H)
    return _ticket(
        "FeatureOptimizationWorse",
        (change.where(_SHRINKING_IS_BETTER) > 1 + limit.bound) | (change.where(_GROWING_IS_BETTER) < 1 - limit.bound),
        limit,
        f"{_WHO}: optimizations made {{{{ $labels.impact_category }}}} worse",
        f"Optimizations of {_WHO} in the last hour made {{{{ $labels.impact_category }}}} {_PERCENT} of what it was, on average.",
        look,
    )


def _resources(by: Labels, look: str) -> tuple[Alert, ...]:
    full, filling, used = thresholds.EXHAUSTED, thresholds.FILLING_UP, series(RESOURCE_UTILIZATION)
    hours = thresholds.FULL_IN // 3600
    what = "{{ $labels.resource_type }} {{ $labels.resource_name }} of {{ $labels.job }}"
    return (
        _page(
            "ResourceExhausted",
            aggregate("max", by, used) > full.bound,
            full,
            f"{what}: {_PERCENT} in use",
            f"{what} is {_PERCENT} in use, more than {full.bound:.0%}.",
            look,
        ),
        _ticket(
            "ResourceFillingUp",
            # What a process that has ended would have used does not matter.
            (aggregate("max", by, call("predict_linear", used.over("6h"), thresholds.FULL_IN) & used) > 1)
            & (aggregate("max", by, used) > filling.bound),
            filling,
            f"{what}: full within {hours} hours",
            f"If {what} goes on as in the last six hours, it will be {_PERCENT} in use in {hours} hours.",
            look,
        ),
    )
