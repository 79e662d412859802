"""What is written goes where it is said to go, and can be read by those who have to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_metrics.assets import data_files, files, render
from otel_metrics.cli import processes, stack
from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import PROMETHEUS
from tests.servers import program

if TYPE_CHECKING:
    from collections.abc import Iterator


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_text("data")
    return path


@pytest.mark.usefixtures("umask")
def test_what_is_rendered_can_be_read_by_containers_whatever_the_umask(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for path in (*data_files.copy_missing(root, PROMETHEUS.name), *render.write(root, render.files(PROMETHEUS))):
        assert mode(path) == 0o644
        assert mode(path.parent) == 0o755
    assert not [path for path in root.rglob("*") if path.name.startswith(".")]


@pytest.mark.usefixtures("umask")
def test_what_stack_writes_is_for_its_user_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with processes.locked(state):
        server = stack.alertmanager(Path(program("alertmanager")), data_files.root(), state / "alertmanager", port=1)
        with files.open_own(server.log):
            pass
        stack._receiver(state / "alertmanager")
    found = [path for path in state.rglob("*") if path.is_file()]
    assert sorted(path.name for path in found) == ["alert_webhook_url", "alertmanager.log", "alertmanager.yml", "lock"]
    assert {mode(path) for path in found} == {0o600}
    assert mode(state) == mode(state / "alertmanager") == 0o700


@pytest.mark.parametrize("name", ["prometheus/rules/recording.yml", "prometheus/prometheus.yml", "docs/metrics.md"])
def test_render_does_not_follow_a_link_in_place_of_a_file(tmp_path: Path, precious: Path, name: str) -> None:
    link = tmp_path / "root" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "new" if "prometheus.yml" in name else precious)
    root = tmp_path / "root"
    with pytest.raises(ConfigurationError, match="symbolic link"):
        _ = data_files.copy_missing(root, PROMETHEUS.name) + render.write(root, render.files(PROMETHEUS))
    assert precious.read_text() == "data"
    assert not (tmp_path / "new").exists()


def test_render_does_not_follow_a_link_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "grafana").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        render.write(tmp_path / "root", render.files(PROMETHEUS))
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["lock", "alertmanager/alertmanager.log", "alertmanager/alertmanager.yml"])
def test_stack_does_not_follow_a_link(tmp_path: Path, precious: Path, name: str) -> None:
    link = tmp_path / "state" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)
    with pytest.raises(ConfigurationError, match="symbolic link"), processes.locked(tmp_path / "state"):
        stack.alertmanager(
            Path(program("alertmanager")), data_files.root(), tmp_path / "state" / "alertmanager", port=1
        ).start()
    assert precious.read_text() == "data"


def test_the_file_for_the_webhook_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "alert_webhook_url").symlink_to(tmp_path / "new")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        stack._receiver(tmp_path)
    assert not (tmp_path / "new").exists()


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "after \ud800", below=tmp_path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
