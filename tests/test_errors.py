"""Errors travel between processes, and can be copied, whole."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import pickle
from typing import TYPE_CHECKING

import pytest

import otel_metrics
from otel_metrics.cli.processes import ServerError
from otel_metrics.errors import ImportFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.errors import MetricsError

ERRORS = [
    otel_metrics.InvalidArgumentError("record_error", "feature", b"\xff", "type", "a string"),
    otel_metrics.RefusedError("http://prometheus:9090 cannot answer: HTTP status 503", 503),
    otel_metrics.BadQueryError("http://prometheus:9090: bad_data: parse error", "bad_data"),
    otel_metrics.BadAnswerError("no vector"),
    otel_metrics.QueryTimeoutError("no answer within 10 s"),
    otel_metrics.UnreachableError("nobody"),
    otel_metrics.ConfigurationError("port=99999 is not allowed"),
    ImportFailedError("old.db is damaged"),
    ServerError("prometheus did not start"),
]


def pickled(error: MetricsError) -> MetricsError:
    found: MetricsError = pickle.loads(pickle.dumps(error))
    return found


def test_a_message_is_one_line_whatever_the_value_looks_like() -> None:
    class Table:
        def __repr__(self) -> str:
            return "0    3.0\n\x1b[31m\rdtype: float64"

    error = otel_metrics.InvalidArgumentError("record_error", "feature", Table(), "type", "a string")
    assert str(error).isprintable()
    assert "feature=0    3.0 [31m dtype: float64 is not" in str(error)


def test_a_message_about_a_very_long_value_is_made_at_once() -> None:
    error = otel_metrics.InvalidArgumentError(
        "record_error", "feature", ["a" + " " * 400_000 + "b"], "type", "a string"
    )
    assert len(str(error)) < 200


@pytest.mark.parametrize("how", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_is_the_same(error: MetricsError, how: Callable[[MetricsError], MetricsError]) -> None:
    same = how(error)
    assert type(same) is type(error)
    assert (str(same), same.args, vars(same)) == (str(error), error.args, vars(error))


def fails(number: int) -> None:
    raise ERRORS[number]


def test_a_pool_passes_them_on() -> None:
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        found = [pool.submit(fails, number).exception(timeout=300) for number in range(len(ERRORS))]
    assert [(type(error), str(error)) for error in found] == [(type(error), str(error)) for error in ERRORS]
