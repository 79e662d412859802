"""Alerts on what the application does: the three of the documented monitor, and silence."""

from __future__ import annotations

from typing import Final

from otel_metrics.assets import thresholds
from otel_metrics.assets.recording import (
    DURATION_1H,
    DURATIONS_1H,
    ERRORS_1H,
    RESPONSES_1H,
    SATISFACTION_1H,
    USES_1H,
)
from otel_metrics.assets.rulefile import COUNTED, Alert, Group
from otel_metrics.assets.uids import ERRORS, PERFORMANCE, SATISFACTION, USAGE
from otel_metrics.catalogue import METRIC_CATEGORY
from otel_metrics.promql import Series, equal

RESPONSE_TIME_CATEGORY: Final = "response_time"
_RESPONSE_TIME: Final = equal(METRIC_CATEGORY, RESPONSE_TIME_CATEGORY)
_OF_FEATURE: Final = "?var-feature={{ $labels.feature | urlquery }}"


def group() -> Group:
    """Return the alerts."""
    errors, satisfaction = thresholds.ERRORS, thresholds.SATISFACTION
    response_time, silence = thresholds.RESPONSE_TIME, thresholds.SILENCE
    return Group(
        "otel_metrics_features",
        "1m",
        (
            Alert(
                "FeatureErrorsHigh",
                Series(ERRORS_1H) > errors.bound,
                "critical",
                f"{{{{ $labels.feature }}}}: {COUNTED} errors in an hour",
                f"{{{{ $labels.feature }}}} recorded {COUNTED} errors in the last hour, "
                f"more than the {errors.bound:g} that are tolerated. The count is exact: nothing is extrapolated from few errors.",
                f"{ERRORS}{_OF_FEATURE}",
                errors.hold,
                errors.keep,
            ),
            Alert(
                "FeatureSatisfactionLow",
                (Series(SATISFACTION_1H) < satisfaction.bound) & (Series(RESPONSES_1H) >= satisfaction.events),
                "warning",
                "{{ $labels.feature }}: average satisfaction {{ $value | humanizePercentage }}",
                "Users of {{ $labels.feature }} gave {{ $value | humanizePercentage }} on average in the last hour, "
                f"below {satisfaction.bound:.0%}. Hours with fewer than {satisfaction.events} responses are not judged.",
                f"{SATISFACTION}{_OF_FEATURE}",
                satisfaction.hold,
                satisfaction.keep,
            ),
            Alert(
                "FeatureResponseTimeHigh",
                (Series(DURATION_1H).where(_RESPONSE_TIME) > response_time.bound)
                & (Series(DURATIONS_1H) >= response_time.events),
                "warning",
                "{{ $labels.feature }}: average response time {{ $value | humanizeDuration }}",
                "Response times of {{ $labels.feature }} averaged {{ $value | humanizeDuration }} in the last hour, "
                f"above {response_time.bound * 1000:g} ms. Hours with fewer than {response_time.events} values are not judged.",
                f"{PERFORMANCE}{_OF_FEATURE}",
                response_time.hold,
                response_time.keep,
            ),
            Alert(
                "FeatureSilent",
                (Series(USES_1H).when(offset="1d") >= silence.events).unless(Series(USES_1H) > silence.bound),
                "warning",
                "{{ $labels.feature }}: not used any more",
                "{{ $labels.feature }} was not used at all in the last hour; at the same hour of the day before it was used "
                f"{COUNTED} times. Either nobody can reach it, or its calls no longer record.",
                f"{USAGE}{_OF_FEATURE}",
                silence.hold,
                silence.keep,
            ),
        ),
        "Does a feature fail, displease, slow down or fall silent? One hour back, per feature.",
    )
