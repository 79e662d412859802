"""Alerts on what the application does: the three of the documented monitor, and silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
from otel_metrics.assets.scope import SCOPE, in_annotations
from otel_metrics.assets.uids import ERRORS, PERFORMANCE, SATISFACTION, USAGE
from otel_metrics.catalogue import FEATURE, METRIC_CATEGORY
from otel_metrics.promql import Series, equal

if TYPE_CHECKING:
    from otel_metrics.assets.scope import Labels

RESPONSE_TIME_CATEGORY: Final = "response_time"
_RESPONSE_TIME: Final = equal(METRIC_CATEGORY, RESPONSE_TIME_CATEGORY)
_WHO: Final = "{{ $labels.feature }} of {{ $labels.job }}"


def group(scope: Labels = SCOPE) -> Group:
    """Return the alerts: on each feature of each application, or whatever else the scope tells apart."""
    of_feature = in_annotations((*scope, FEATURE.name))
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
                f"{_WHO}: {COUNTED} errors in an hour",
                f"{_WHO} recorded {COUNTED} errors in the last hour, "
                f"more than the {errors.bound:g} that are tolerated. The count is exact: nothing is extrapolated from few errors.",
                f"{ERRORS}{of_feature}",
                errors.hold,
                errors.keep,
            ),
            Alert(
                "FeatureSatisfactionLow",
                (Series(SATISFACTION_1H) < satisfaction.bound) & (Series(RESPONSES_1H) >= satisfaction.events),
                "warning",
                f"{_WHO}: average satisfaction {{{{ $value | humanizePercentage }}}}",
                f"Users gave {_WHO} {{{{ $value | humanizePercentage }}}} on average in the last hour, "
                f"below {satisfaction.bound:.0%}. Hours with fewer than {satisfaction.events} responses are not judged.",
                f"{SATISFACTION}{of_feature}",
                satisfaction.hold,
                satisfaction.keep,
            ),
            Alert(
                "FeatureResponseTimeHigh",
                (Series(DURATION_1H).where(_RESPONSE_TIME) > response_time.bound)
                & (Series(DURATIONS_1H) >= response_time.events),
                "warning",
                f"{_WHO}: average response time {{{{ $value | humanizeDuration }}}}",
                f"Response times of {_WHO} averaged {{{{ $value | humanizeDuration }}}} in the last hour, "
                f"above {response_time.bound * 1000:g} ms. Hours with fewer than {response_time.events} values are not judged.",
                f"{PERFORMANCE}{of_feature}",
                response_time.hold,
                response_time.keep,
            ),
            Alert(
                "FeatureSilent",
                (Series(USES_1H).when(offset="1d") >= silence.events).unless(Series(USES_1H) > silence.bound),
                "warning",
                f"{_WHO}: not used any more",
                f"{_WHO} was not used at all in the last hour; at the same hour of the day before it was used "
                f"{COUNTED} times. Either nobody can reach it, or its calls no longer record.",
                f"{USAGE}{of_feature}",
                silence.hold,
                silence.keep,
            ),
        ),
        "Does a feature fail, displease, slow down or fall silent? One hour back, per feature.",
    )
