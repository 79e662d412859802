"""``otel-metrics doctor`` finds what is planted, and nothing where all is well; the servers are real."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_metrics.promql import of_prometheus
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.command import otel_metrics
from tests.engines import Prometheus
from tests.servers import free_port, routing_to, version, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers import Servers

PLANTED = """\
# TYPE otel_metrics_series gauge
otel_metrics_series{service_instance_id="planted"} 1
# TYPE otel_metrics_unmerged gauge
otel_metrics_unmerged 1
# TYPE otel_metrics_collisions gauge
otel_metrics_collisions 2
# TYPE otel_metrics_invalid_files gauge
otel_metrics_invalid_files 1
# TYPE otel_metrics_shared_errors_total counter
otel_metrics_shared_errors_total{reason="no_space"} 3
"""


class Page(BaseHTTPRequestHandler):
    """What a process in trouble would answer, at a time long ago."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(PLANTED.encode())

    def date_time_string(self, _timestamp: float | None = None) -> str:
        return super().date_time_string(1_700_000_000)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(page: type[Page]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with serving(Page) as address:
        yield address


@pytest.fixture(scope="module")
def good() -> Iterator[str]:
    """An application without faults."""
    with contextlib.closing(Runtime(Settings(port=0, host="127.0.0.1"))) as runtime:
        runtime.advanced.record_feature_usage("kiosk", "open", duration_ms=5.0, success=True)
        yield runtime.serve().url


@pytest.fixture(scope="module")
def bad() -> Iterator[str]:
    """An application with a feature of another one's, bad arguments and too many labels."""
    with contextlib.closing(Runtime(Settings(port=0, host="127.0.0.1", label_caps={"action": 1}))) as runtime:
        runtime.advanced.record_feature_usage("kiosk", "open", duration_ms=5.0, success=True)
        runtime.advanced.record_feature_usage("kiosk", "close", duration_ms=5.0, success=True)
        runtime.advanced.record_feature_usage("kiosk", "open", duration_ms=-1.0, success=True)
        yield runtime.serve().url


def prometheus(
    servers: Servers, jobs: Mapping[str, str], *, features: str = "", flags: tuple[str, ...] = (), **config: Any
) -> Prometheus:
    """Start a Prometheus that scrapes `jobs` (names and addresses, its own for an empty one)."""
    server = Prometheus(
        servers._new_folder("prometheus"), "", flags=[*flags, *([f"--enable-feature={features}"] if features else [])]
    )
    server.port = free_port()  # it scrapes itself
    addresses = {job: address.removeprefix("http://").removesuffix("/metrics") for job, address in jobs.items()}
    text = {
        **config,
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", **config.get("global", {})},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address or server.address]}]}
            for job, address in addresses.items()
        ],
    }
    server.config.write_text(yaml.safe_dump(text))
    return servers._started(server)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules for the Prometheus at hand."""
    folder = tmp_path_factory.mktemp("rendered")
    dialect = of_prometheus(version("prometheus")).name
    assert otel_metrics("render", "--root", str(folder), "--dialect", dialect).returncode == 0
    return folder / "prometheus" / "rules"


def alerting(address: str) -> dict[str, Any]:
    return {"alertmanagers": [{"static_configs": [{"targets": [address]}]}]}


def states(done: Any) -> dict[str, str]:
    return {each["check"]: each["state"] for each in json.loads(done.stdout)}


def test_nothing_is_found_where_all_is_well(session_servers: Servers, good: str, rules: Path) -> None:
    features, native = "created-timestamp-zero-ingestion", {"scrape_native_histograms": True}
    if version("prometheus") < (3, 8):
        features, native = f"{features},native-histograms", {}
    alertmanager = session_servers.alertmanager(routing_to("http://127.0.0.1:9/"))
    server = prometheus(
        session_servers,
        {"prometheus": "", "kiosk": good},
        features=features,
        flags=("--storage.tsdb.retention.time=400d",),
        rule_files=[f"{rules}/*.yml"],
        alerting=alerting(alertmanager.address),
        **{"global": native},
    )
    server.wait_for("otel_metrics_series and on() prometheus_build_info and on() feature_usage_total")
    server.wait_for('{__name__="feature_usage_duration_seconds"}')

    done = otel_metrics(
        "doctor", "--endpoint", good, "--prometheus", server.url, "--root", str(rules.parents[1]), "--format", "json"
    )

    assert [each["findings"] for each in json.loads(done.stdout)] == [[]] * 21
    assert set(states(done).values()) == {"healthy"}
    assert done.returncode == 0


def test_what_is_planted_is_found(
    session_servers: Servers, good: str, bad: str, page: str, rules: Path, tmp_path: Path
) -> None:
    dead, closed = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    shutil.copytree(rules.parents[1], tmp_path / "own")
    own = tmp_path / "own" / "prometheus" / "rules"
    recording = yaml.safe_load((own / "recording.yml").read_text())
    for group in recording["groups"]:
        group["interval"] = "250ms"
    recording["groups"][0]["rules"][0]["expr"] = "up * on () up"  # fails, as many match many
    (own / "recording.yml").write_text(yaml.safe_dump(recording))
    levels = yaml.safe_load((own / "service_levels.yml").read_text())
    promised = levels["groups"][0]["rules"][0]
    del levels["groups"][1]
    promised["expr"] = "vector(0.5)"
    (own / "service_levels.yml").write_text(yaml.safe_dump(levels))
    (own / "telemetry_alerts.yml").unlink()
    (tmp_path / "own" / "grafana" / "dashboards" / "usage.json").unlink()
    server = prometheus(
        session_servers,
        {"prometheus": "", "kiosk": good, "shop": bad, "again": bad, "planted": page, "gone": dead},
        rule_files=[f"{own}/*.yml"],
        alerting=alerting(closed),
    )
    server.wait_for("count(otel_metrics_series) == 4")
    server.wait_for('up{job="gone"} == 0')
    server.config.write_text("no configuration")
    with contextlib.suppress(OSError):
        server.reload()
    wait_until(lambda: any(r["health"] == "err" for g in server.api("rules")["groups"] for r in g["rules"]))
    arguments = ["--prometheus", server.url, "--root", str(tmp_path / "own"), "--format", "json"]
    for endpoint in (bad, f"http://{page}/metrics", f"http://{closed}/metrics", f"{server.url}/metrics"):
        arguments += ["--endpoint", endpoint]

    done = otel_metrics("doctor", *arguments)

    found = {each["check"]: "\n".join(each["findings"]) for each in json.loads(done.stdout) if each["findings"]}
    expected = {
        "endpoint": [f"http://{closed}/metrics cannot be scraped", "refused"],
        "process": [f"{server.url}/metrics answers, but not with metrics of this library"],
        "arguments": [
            f"{bad}: call record_feature_usage, reason duration_ms_negative, 1 since it started",
            "job shop: ",
        ],
        "label overflow": [f"{bad}: label action, 1 since it started", "job shop: label action, 1 in the last hour"],
        "names": [f"http://{page}/metrics: 2", "job planted: 2"],
        "files of the endpoint": ["job planted: 1"],
        "workers": ["job planted: 1"],
        "multiprocess directory": ["job planted: reason no_space, 3 in the last hour"],
        "clock": [f"http://{page}/metrics: its clock is ", " s behind the one here"],
        "prometheus": ["could not load its configuration"],
        "targets": [f"job gone, http://{dead}/metrics: ", "refused"],
        "start times": ["created-timestamp-zero-ingestion"],
        "retention": ["keeps 15d"],
        "rules": [
            "rules are not loaded: TelemetryTargetDown",
            "feature:feature_usage:increase1h",
            "service_level:objective:ratio of reading-succeeds",
            "fails: ",
        ],
        "native histograms": ["stores classic histograms, its rules read native ones"],
        "alertmanager": [f"http://{closed}/-/ready", "refused"],
        "duplicate scrapes": ["is scraped as job again, ", "and job shop, "],
        "jobs": ["feature kiosk of service unknown_service:python is recorded by the jobs again and kiosk"],
        "dashboards": ["grafana/dashboards/usage.json is missing"],
    }
    assert found.keys() == expected.keys()
    for check, words in expected.items():
        for part in words:
            assert part in found[check]
    assert done.returncode == 1


def test_an_empty_prometheus(session_servers: Servers) -> None:
    done = otel_metrics("doctor", "--prometheus", prometheus(session_servers, {}).url)

    for line in (
        "has no application with this library",
        "does not scrape itself",
        "knows no Alertmanager",
        "rules are not loaded: feature:feature_usage:increase1h",
    ):
        assert line in " ".join(done.stdout.split())
    assert "Do: Add the job `prometheus`" in " ".join(done.stdout.split())
    assert done.returncode == 1


def test_what_cannot_be_looked_at_is_said_once() -> None:
    done = otel_metrics("doctor", "--prometheus", f"http://127.0.0.1:{free_port()}", "--format", "json")

    assert states(done) == {"prometheus": "cannot look"}
    assert done.returncode == 2


def test_what_is_found_before_the_server_fails_is_said() -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    answers = {
        "/api/v1/status/buildinfo": [],  # of a server that is no Prometheus
        "/api/v1/alertmanagers": {"activeAlertmanagers": [{"url": f"{closed}/api/v2/alerts"}]},
    }

    class Failing(Page):
        def do_GET(self) -> None:
            data = answers.get(self.path)
            self.send_response(500 if data is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": data}).encode())

    with serving(Failing) as address:
        done = otel_metrics("doctor", "--prometheus", f"http://{address}", "--format", "json")

    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert found["prometheus"]["state"] == "cannot look"
    assert found["alertmanager"]["state"] == "found"
    assert f"{closed}/-/ready" in found["alertmanager"]["findings"][0]
    assert "HTTP status 500" in found["alertmanager"]["findings"][1]
    assert done.returncode == 1


def test_what_a_server_does_not_tell_is_no_fault(session_servers: Servers) -> None:
    done = otel_metrics("doctor", "--prometheus", session_servers.victoria_metrics().url, "--format", "json")

    assert states(done)["start times"] == "does not apply"
    assert "cannot look" not in states(done).values()


def test_files_are_compared_with_what_their_options_write(tmp_path: Path) -> None:
    assert otel_metrics("render", "--root", str(tmp_path), "--by", "team").returncode == 0
    assert otel_metrics("doctor", "--root", str(tmp_path), "--by", "team").returncode == 0
    done = otel_metrics("doctor", "--root", str(tmp_path))
    assert "overview.json is of another version" in done.stdout
    assert done.returncode == 1


def test_files_for_kubernetes(tmp_path: Path) -> None:
    assert otel_metrics("render", "--format", "kubernetes", "--root", str(tmp_path)).returncode == 0
    assert otel_metrics("doctor", "--root", str(tmp_path)).returncode == 0
    maps = tmp_path / "kubernetes" / "dashboards.yaml"
    maps.write_text(maps.read_text().replace("Overview", "Survey"))
    done = otel_metrics("doctor", "--root", str(tmp_path))
    assert "kubernetes/dashboards.yaml is of another version" in done.stdout
    assert done.returncode == 1


def test_a_process_alone(good: str) -> None:
    done = otel_metrics("doctor", "--endpoint", good)
    assert done.returncode == 0
    assert "healthy        process: Does it record?" in done.stdout
    assert done.stdout.splitlines()[-1] == "9 questions asked; something is wrong about none of them."


def test_what_could_not_be_looked_at_is_not_called_well(good: str) -> None:
    done = otel_metrics("doctor", "--endpoint", good, "--prometheus", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 2
    last = "10 questions asked; something is wrong about none of them; 1 could not be looked at."
    assert done.stdout.splitlines()[-1] == last
