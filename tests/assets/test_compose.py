"""docker-compose.yml: valid, hardened, and its servers start with exactly the flags and files that it gives them."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_metrics.assets import data_files, render
from otel_metrics.promql import PROMETHEUS
from recipes import SERVERS  # scripts/recipes.py
from tests.assets.observed import Example
from tests.dialects import AT_HAND
from tests.servers import ROOT, Process, fetch, program

if TYPE_CHECKING:
    from collections.abc import Iterator


COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


class Service(Process):
    """A service of the compose file as a plain process.

    Its container's file system becomes a folder: what is mounted are links to the same sources at the same places. Only
    that folder's path and the port to listen on are put into the arguments. An older Prometheus gets what `render` makes for it.
    """

    def __init__(self, folder: Path, name: str, ready_path: str) -> None:
        self.name, self.ready_path = name, ready_path
        super().__init__(folder)
        self.service = SERVICES[name]
        self.root = folder / "root"
        sources = ROOT
        if name == "prometheus" and AT_HAND != PROMETHEUS:
            sources = folder / "rendered"
            data_files.copy_missing(sources, AT_HAND.name)
            render.write(sources, render.files(AT_HAND))
        for mount in self.service["volumes"]:
            place = self.root / mount["target"].lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if mount["type"] == "bind":
                place.symlink_to(sources / mount["source"])
            else:
                place.mkdir()

    def placed(self, argument: str) -> str:
        """Return an argument of the container for this process."""
        targets = [mount["target"] for mount in self.service["volumes"]]
        name, equals, value = argument.partition("=")
        if any(value == target or value.startswith(f"{target}/") for target in targets):
            return f"{name}{equals}{self.root}{value}"
        [published] = self.service["ports"]
        return re.sub(rf"\b(0\.0\.0\.0|127\.0\.0\.1):{published.rpartition(':')[2]}\b", self.address, argument)

    def command(self) -> list[str]:
        return [program(self.name), *map(self.placed, self.service["command"])]

    def health(self) -> subprocess.CompletedProcess[str]:
        """Run the command of its health check."""
        kind, name, *arguments = self.service["healthcheck"]["test"]
        assert kind == "CMD"
        beside = Path(program(self.name)).resolve().parent / name
        command = str(beside) if beside.exists() else program(name)
        return subprocess.run([command, *map(self.placed, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, "prometheus", "/-/ready")
    service.start()
    yield service
    service.stop()


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, "alertmanager", "/-/ready")
    service.start()
    yield service
    service.stop()


def test_compose_takes_the_file() -> None:
    done = subprocess.run(
        [program("docker-compose"), "config", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == {"learning-engine", "prometheus", "alertmanager", "grafana"}


@every_service
def test_containers_are_unprivileged(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["user"].partition(":")[0]) > 0
    # Grafana's bundled plugins write beside themselves.
    assert service.get("read_only") or service["image"].startswith("grafana/")
    assert not service.get("privileged")


@every_service
def test_nothing_listens_beyond_loopback(service: dict[str, Any]) -> None:
    assert service["ports"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@every_service
def test_images_are_pinned_and_watched(service: dict[str, Any]) -> None:
    assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_images_are_the_versions_that_are_tested(name: str) -> None:
    [tested] = [server.module.release for server in SERVERS if server.name == name and server.module]
    assert SERVICES[name]["image"] == f"prom/{name}:v{tested}"


@every_service
def test_what_is_mounted_exists_and_cannot_be_written(service: dict[str, Any]) -> None:
    for mount in service.get("volumes", ()):
        if mount["type"] == "bind":
            assert (ROOT / mount["source"]).exists(), mount
            assert mount["read_only"]
        else:
            assert mount["source"] in COMPOSE["volumes"]


def test_no_password_is_in_the_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert name.endswith("__FILE")
                assert value.removeprefix("/run/secrets/") in service["secrets"]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/secrets/" in ignored
    assert all(secret["file"].startswith("./secrets/") for secret in COMPOSE["secrets"].values())


def test_secrets_are_made_at_random_once(tmp_path: Path) -> None:
    copies = []
    for name in ("a", "b"):
        folder = tmp_path / name / "scripts"
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "scripts/make_secrets.sh", folder)
        for _ in range(2):
            subprocess.run([folder / "make_secrets.sh"], check=True, capture_output=True)
        secrets = tmp_path / name / "secrets"
        assert {path.name for path in secrets.iterdir()} == {
            Path(secret["file"]).name for secret in COMPOSE["secrets"].values()
        }
        assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
        copies.append((secrets / "grafana_admin_password").read_text(encoding="utf-8"))
    assert copies[0] != copies[1]
    assert re.fullmatch(r"[0-9a-f]{48}", copies[0])


def test_the_application_image_is_built_from_what_is_there() -> None:
    lines = (ROOT / "examples/Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [
        source for line in lines if line.startswith("COPY ") and "--from" not in line for source in line.split()[1:-1]
    ]
    ignored = (ROOT / "examples/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored
    assert any(line.startswith("USER 10001") for line in lines)
    # What the wheel takes along has to be in the image that builds it.
    wheel = re.findall(
        r'^"([^"]+)" = "otel_metrics/_shipped', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    for source in wheel:
        assert any(source == name or source.startswith(f"{name}/") for name in copied), source


def test_prometheus_starts_as_composed(prometheus: Service) -> None:
    groups = json.loads(fetch(f"{prometheus.url}/api/v1/rules"))["data"]["groups"]
    assert {Path(group["file"]).name for group in groups} == {
        "recording.yml",
        "daily.yml",
        "feature_alerts.yml",
        "service_levels.yml",
        "telemetry_alerts.yml",
    }
    targets = json.loads(fetch(f"{prometheus.url}/api/v1/targets"))["data"]
    jobs = {target["scrapePool"] for target in targets["activeTargets"]}
    # Targets appear some seconds after the start.
    assert jobs <= {"learning-engine", "prometheus", "alertmanager"}
    flags = json.loads(fetch(f"{prometheus.url}/api/v1/status/flags"))["data"]
    assert flags["storage.tsdb.retention.time"] in {"400d", "57w1d", "1y35d", "1y5w"}
    assert "unknown option" not in prometheus.log.read_text(encoding="utf-8").lower()


def test_health_of_prometheus_is_noticed(prometheus: Service) -> None:
    done = prometheus.health()
    assert done.returncode == 0, done.stdout + done.stderr
    prometheus.stop()
    assert prometheus.health().returncode != 0


def test_alertmanager_starts_as_composed_without_a_secret(alertmanager: Service) -> None:
    status = json.loads(fetch(f"{alertmanager.url}/api/v2/status"))
    assert "/run/secrets/alert_webhook_url" in status["config"]["original"]


def test_health_of_the_application_is_noticed(tmp_path: Path) -> None:
    kind, python, option, code = SERVICES["learning-engine"]["healthcheck"]["test"]
    assert (kind, python, option) == ("CMD", "python", "-c")
    application = Example(tmp_path)
    application.start()
    command = [sys.executable, option, code.replace("127.0.0.1:9464", application.address)]
    healthy = subprocess.run(command, capture_output=True, text=True, check=False)
    application.stop()
    assert healthy.returncode == 0, healthy.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_health_of_alertmanager_is_noticed(alertmanager: Service) -> None:
    done = alertmanager.health()
    assert done.returncode == 0, done.stdout + done.stderr
    alertmanager.stop()
    assert alertmanager.health().returncode != 0


def test_targets_are_the_services_and_their_ports() -> None:
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    ports = {name: service["ports"][0].rpartition(":")[2] for name, service in SERVICES.items()}
    for job in config["scrape_configs"]:
        [target] = job["static_configs"][0]["targets"]
        host, _, port = target.partition(":")
        assert ports[host if host != "localhost" else job["job_name"]] == port
    [manager] = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert manager == f"alertmanager:{ports['alertmanager']}"
