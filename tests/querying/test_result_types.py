"""Results have the keys and types that editors complete and docs/results.md explains, whatever was recorded."""

from __future__ import annotations

import copy
import json
import pickle
from contextlib import closing
from math import inf, isnan, nan
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.responses import JSONResponse

from otel_metrics.results import json_safe
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.querying.behaviour import record
from tests.querying.conformance import deviations, returned_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GETTERS: dict[str, Callable[[Runtime], Any]] = {
    "get_metric_statistics": lambda runtime: runtime.basic.get_metric_statistics("chat", "startup_ms"),
    "get_performance_metrics": lambda runtime: runtime.advanced.get_performance_metrics(),
    "get_satisfaction_metrics": lambda runtime: runtime.advanced.get_satisfaction_metrics(),
    "get_feature_usage_stats": lambda runtime: runtime.advanced.get_feature_usage_stats(),
    "get_error_stats": lambda runtime: runtime.advanced.get_error_stats(),
    "get_learning_metrics": lambda runtime: runtime.advanced.get_learning_metrics(),
    "get_optimization_metrics": lambda runtime: runtime.advanced.get_optimization_metrics(),
    "get_resource_metrics": lambda runtime: runtime.advanced.get_resource_metrics(),
    "get_comprehensive_dashboard": lambda runtime: runtime.advanced.get_comprehensive_dashboard(),
    "aggregate_daily_metrics": lambda runtime: runtime.advanced.aggregate_daily_metrics(),
}


@pytest.fixture(scope="module", params=["everything", "nothing"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    with closing(Runtime(Settings())) as found:
        if request.param == "everything":
            record(found.advanced, found.basic)
        yield found


@pytest.mark.parametrize("name", GETTERS)
def test_a_result_is_of_the_type_that_its_getter_names(runtime: Runtime, name: str) -> None:
    result = GETTERS[name](runtime)
    getter = getattr(runtime.basic if name == "get_metric_statistics" else runtime.advanced, name)
    assert list(deviations(result, returned_by(getter))) == []


@pytest.mark.parametrize("name", GETTERS)
def test_every_result_has_a_form_that_any_json_parser_takes(runtime: Runtime, name: str) -> None:
    def rejected(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    result = GETTERS[name](runtime)
    plain = copied(result)
    texts = [
        json.dumps(result),
        json.dumps(result, indent=2, sort_keys=True),
        json.dumps(json_safe(plain), allow_nan=False),
    ]
    first, *others = [json.loads(text, parse_constant=rejected) for text in texts]
    assert others == [first, first]
    assert JSONResponse(result).body
    assert copied(json.loads(json.dumps(pickle.loads(pickle.dumps(copy.deepcopy(result)))))) == first


def copied(value: Any) -> Any:
    """The same in dictionaries and lists of Python's own."""
    if isinstance(value, dict):
        return {key: copied(value[key]) for key in value}
    return [copied(entry) for entry in value] if isinstance(value, list) else value


def test_no_data_is_null_in_json_and_compares_as_a_number_elsewhere() -> None:
    with closing(Runtime(Settings())) as runtime:
        board = runtime.advanced.get_comprehensive_dashboard()
    assert json.loads(json.dumps(board, indent=2))["satisfaction"]["avg_score"] is None
    assert isnan(board["satisfaction"]["avg_score"])
    assert not board["satisfaction"]["avg_score"] < 0.7
    again = pickle.loads(pickle.dumps(board))
    assert isnan(again["satisfaction"]["avg_score"])
    assert json.loads(json.dumps(again))["satisfaction"]["avg_score"] is None


def test_what_is_no_number_becomes_null_and_all_else_stays() -> None:
    result = {"rate": nan, "rows": [{"max": -inf, "name": "nan", "count": 0}, (1.5, None, True)]}
    assert json_safe(result) == {"rate": None, "rows": [{"max": None, "name": "nan", "count": 0}, [1.5, None, True]]}
    assert isnan(cast("float", result["rate"])), "the result itself is not changed"
