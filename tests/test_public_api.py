"""What the package promises: every public name and its signature, as it stands in ``public_api.txt``."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import otel_metrics
from otel_metrics import exporter
from otel_metrics.exporter.apps import AppOptions
from otel_metrics.exporter.server import ServerOptions
from otel_metrics.settings import SettingsFields
from tests.processes import ROOT


def test_nothing_public_changes_unnoticed() -> None:
    """A change on purpose: run `.venv/bin/python scripts/public_api.py > tests/public_api.txt`, and tell users in CHANGELOG.md."""
    command = [sys.executable, str(ROOT / "scripts" / "public_api.py")]
    now = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert now.splitlines() == (ROOT / "tests" / "public_api.txt").read_text("utf-8").splitlines()


def test_public_names_are_there_and_listed() -> None:
    assert set(otel_metrics.__all__) <= set(dir(otel_metrics))
    for name in otel_metrics.__all__:
        assert getattr(otel_metrics, name) is not None


@pytest.mark.parametrize("module", [otel_metrics, exporter])
def test_a_name_that_is_not_there_is_an_attribute_error(module: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'get_advanced_metric'"):
        module.get_advanced_metric  # type: ignore[attr-defined]  # noqa: B018


def test_names_fetched_twice_are_the_same_object() -> None:
    assert otel_metrics.Settings is otel_metrics.Settings
    assert otel_metrics.testing.recording is sys.modules["otel_metrics.testing"].recording


def arguments(function: object) -> dict[str, object]:
    """Return the keyword arguments of a method with their types, as they are written."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {each.name: each.annotation for each in parameters if each.kind is each.KEYWORD_ONLY}


def fields(options: type) -> dict[str, object]:
    """Return the fields of a ``TypedDict`` in the same way."""
    return {name: getattr(each, "__forward_arg__", each) for name, each in inspect.get_annotations(options).items()}


def test_what_is_handed_on_has_the_types_of_the_reader() -> None:
    """A type checker knows the options of ``serve()``, ``asgi_app()`` and ``expose()``: there is one truth about them."""
    reader = exporter.PrometheusReader
    where = {"host": "str", "port": "int"}
    assert arguments(reader.serve) == {**where, **fields(ServerOptions)}
    for mounted in (reader.asgi_app, reader.wsgi_app):
        assert arguments(mounted) == {"metrics_path": "str", **fields(AppOptions)}


def test_settings_are_typed_where_they_are_keywords() -> None:
    """As ``configure()``, ``Settings.from_env()`` and ``testing.recording()`` take them."""
    settings = inspect.signature(otel_metrics.Settings).parameters.values()
    assert fields(SettingsFields) == {each.name: each.annotation for each in settings}
    with pytest.raises(otel_metrics.ConfigurationError, match="prometheus_url"):
        otel_metrics.configure(prometheus_ulr="http://localhost:9090")  # type: ignore[call-arg]  # a type checker knows
    with pytest.raises(otel_metrics.ConfigurationError, match="port='a'"):
        otel_metrics.configure(port="a")  # type: ignore[arg-type]


def test_an_option_that_is_not_there_is_rejected() -> None:
    with pytest.raises(TypeError, match="metrics_pth"):
        otel_metrics.serve(port=0, metrics_pth="/metrics")  # type: ignore[call-arg]  # a type checker knows, too
    with pytest.raises(TypeError, match="metrics_pth"):
        otel_metrics.asgi_app(metrics_pth="/metrics")  # type: ignore[call-arg]
