"""The steps of docs/guides/migrate.md and docs/tutorial.md, executed as they stand, with the wheel, for an application of the reader's own."""

from __future__ import annotations

import copy
import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import venv
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.command import Running, environment
from tests.importing import old
from tests.processes import DEADLINE
from tests.servers import ROOT, fetch, free_port, program, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers import Servers

GUIDE = (ROOT / "docs" / "guides" / "migrate.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")

OLD_IMPORT = "from shared.metrics import get_advanced_metrics, get_metrics_collector\n"
SHOP = """
import json
import sys

advanced, basic = get_advanced_metrics(), get_metrics_collector()
for milliseconds in (100.0, 200.0, 300.0):
    advanced.record_performance_metric("checkout", "response_time", "pay", milliseconds, unit="ms")
advanced.record_feature_usage("checkout", "pay", duration_ms=250.0, success=sys.argv[1] == "one")
advanced.record_satisfaction("search", "overall", 4.0, feedback="Anna likes it")
advanced.record_error("search", "Timeout", "high", error_message="Anna had to wait")
basic.record_learning_metric("search", "ranking", 0.5)
for line in sys.stdin:
    getter, arguments = json.loads(line)
    print("answer:", json.dumps(getattr(advanced, getter)(**arguments)), flush=True)
"""


def step(number: int) -> str:
    """The text of one step."""
    return GUIDE.partition(f"\n**{number}. ")[2].partition(f"\n**{number + 1}. ")[0].partition("\n## ")[0]


def code(text: str) -> str:
    """Its first snippet."""
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def commands(text: str, changes: Mapping[str, str]) -> list[list[str]]:
    """Its commands as words, with other addresses and files."""
    lines = [line.replace("\\\n", " ") for line in re.findall(r"(?m)^\$ ((?:.*\\\n)*.*)$", text)]
    for placeholder, real in changes.items():
        lines = [line.replace(placeholder, real) for line in lines]
    return [shlex.split(line, comments=True) for line in lines]


class Installation:
    """The wheel in a virtual environment of its own, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        wheels = folder / "wheels"
        subprocess.run([*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", wheels, ROOT], check=True)
        (wheel,) = wheels.glob("*.whl")
        venv.create(folder / "venv", symlinks=True)
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        target = ["--python", str(self.bin / "python"), "install", "--no-index", "--no-deps"]
        subprocess.run([*pip, *target, wheel], check=True)
        # What the wheel depends on. Our own editable installation is not among it: it rests on a .pth file that is not read there.
        others = [path for path in sys.path if path.endswith("site-packages")]
        (packages / "others.pth").write_text("\n".join(others))

    def variables(self, **more: str) -> dict[str, str]:
        """A home of its own, the servers of the tests, no settings."""
        path = os.pathsep.join([str(self.bin), str(Path(program("prometheus")).parent), os.environ["PATH"]])
        return {"HOME": str(self.folder), "XDG_STATE_HOME": "", "PATH": path, "COLUMNS": "120", **more}

    def running(self, words: list[str], **variables: str) -> Running:
        """A command beside the test."""
        command = self.bin / words[0]
        return Running(*words[1:], program=[command], cwd=self.folder, **self.variables(**variables))

    def done(self, words: list[str], **variables: str) -> str:
        """What a command prints that ends well."""
        done = subprocess.run(
            [self.bin / words[0], *words[1:]],
            cwd=self.folder,
            env=environment(**self.variables(**variables)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shop(self, worker: str, start: str = "", **variables: str) -> Running:
        """One process of the application, with the import of step 1 and with ``start`` where it starts."""
        script = self.folder / f"shop_{worker}.py"
        script.write_text((OLD_IMPORT + start + SHOP).replace(OLD_IMPORT, code(GUIDE)))
        return self.running(["python", script.name, worker], **variables)


def ask(shop: Running, getter: str, **arguments: object) -> Any:
    """What a getter says inside the application."""
    before = shop.output.count("answer:")
    shop.say(json.dumps([getter, arguments]) + "\n")
    shop.until(lambda: len(re.findall(r"answer: .*\n", shop.output)) > before)
    return json.loads(re.findall(r"answer: (.*)\n", shop.output)[-1])


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("reader"))


def test_step_1_answers_from_the_process_and_puts_texts_nowhere(installation: Installation) -> None:
    assert "site-packages" in installation.done(["python", "-c", "import otel_metrics; print(otel_metrics.__file__)"])
    with installation.shop("one") as shop:
        usage = ask(shop, "get_feature_usage_stats", feature="checkout", hours=24)
        assert (usage["source"], usage["total_usage"], usage["success_rate"]) == ("local", 1, 1.0)
        assert ask(shop, "get_error_stats", hours=24)["total_errors"] == 1
        assert "Anna" not in shop.output


def test_step_2_the_mounted_endpoint_answers_without_a_redirect(installation: Installation) -> None:
    mount = re.findall(r"```python\n(.*?)```", step(2), re.DOTALL)[1]
    text = f"import otel_metrics\nfrom starlette.applications import Starlette\napp = Starlette()\n{mount}"
    (installation.folder / "web.py").write_text(text)
    port = free_port()
    with installation.running(["python", "-m", "uvicorn", "--app-dir", ".", "--port", str(port), "web:app"]) as site:
        site.wait_for("Uvicorn running")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        connection.request("GET", "/internal/metrics")
        answer = connection.getresponse()
        assert (answer.status, b"otel_metrics_" in answer.read()) == (200, True)
        connection.close()


def test_steps_2_to_6_for_two_workers_of_a_shop(installation: Installation, servers: Servers) -> None:
    ports = [free_port() for _ in range(4)]
    day = datetime.now(timezone.utc).replace(tzinfo=None, hour=0, minute=0, second=0) - timedelta(days=40)
    state = installation.folder / ".local" / "state" / "otel-metrics"
    database = old.create(installation.folder / "shop.db")
    rows = [
        {"timestamp": (day + timedelta(hours=hour)).isoformat(), "feature": "checkout", "metric_category": "response_time",
         "metric_name": "pay", "value": value, "unit": "ms"}
        for hour, value in ((9, 10.0), (10, 20.0), (11, 60.0))
    ]  # fmt: skip
    old.insert(database, "system_performance", rows)
    changes = {
        "localhost:9464": f"localhost:{ports[0]}",
        "localhost:9465": f"localhost:{ports[1]}",
        "localhost:9090": f"localhost:{ports[2]}",
        "localhost:9093": f"localhost:{ports[3]}",
        "OLD.db": str(database),
        "DIRECTORY": str(state / "prometheus" / "data"),
    }
    url = f"http://localhost:{ports[2]}"
    stack, test_alert = commands(step(3), changes)
    stack += ["--prometheus-port", str(ports[2]), "--alertmanager-port", str(ports[3])]
    start = (code(step(2)).replace("\n\n", f"\n\n{code(step(5))}")).replace("localhost:9090", f"localhost:{ports[2]}")
    webhook = servers.webhook()

    with (
        installation.shop("one", start, OTEL_EXPORTER_PROMETHEUS_PORT=str(ports[0])) as one,
        installation.shop("two", start, OTEL_EXPORTER_PROMETHEUS_PORT=str(ports[1])) as two,
    ):
        with installation.running(stack) as running:
            running.wait_for("Ctrl-C")
            (state / "alertmanager" / "alert_webhook_url").write_text(webhook.url)
            _, _, header, _, body, address = test_alert
            fetch(f"http://{address}", body.encode(), dict([header.split(": ")]))

            def both_scraped() -> bool:
                query = 'count(feature_usage_total{job="shop",outcome=~"success|failure"}>0)'
                result = json.loads(fetch(f"{url}/api/v1/query?query={query}"))["data"]["result"]
                return bool(result) and result[0]["value"][1] == "2"

            wait_until(both_scraped, what="both workers scraped")
            (dashboard,) = commands(step(4), changes)
            lines = installation.done(dashboard).splitlines()
            (cells,) = (line.split() for line in lines if line.strip().startswith("response_time"))
            assert cells[:2] == ["response_time", "6"]
            assert float(cells[2]) == pytest.approx(200.0)
            for shop in (one, two):
                usage = ask(shop, "get_feature_usage_stats", feature="checkout", hours=1)
                assert (usage["source"], usage["scope"]) == ("prometheus", {"job": "shop"})
                assert (usage["total_usage"], usage["success_rate"]) == (2, 0.5)
            found, write, verify = commands(step(6), changes)
            assert "Nothing was written" in installation.done(found)
            webhook.wait_for(lambda post: post["alerts"][0]["labels"]["alertname"] == "Try")
            running.signal(signal.SIGINT)
            assert running.wait() == 0
        # The server need not be stopped for this; but a running one loads what is new once a minute only.
        assert "1 day written" in installation.done(write)
        with installation.running(stack) as running:
            running.wait_for("Ctrl-C")
            installation.done(verify, OTM_PROMETHEUS_URL=url)
            (row,) = ask(one, "aggregate_daily_metrics", date=f"{day:%Y-%m-%d}")
            assert (row["feature"], row["count"], row["unit"]) == ("checkout", 3, "ms")
            assert row["avg_value"] == pytest.approx(30.0)
        assert "Anna" not in one.output + two.output


def test_the_readme_has_the_same_steps() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Moving")[2].partition("\n### ")[0]
    steps = re.findall(r"```\w+\n.*?```", readme, re.DOTALL)
    assert len(steps) == 6
    assert [step for step in steps if step not in GUIDE] == []


def test_the_tutorial(installation: Installation) -> None:
    """All of it but Docker, with ports of its own and scrapes once a second."""
    reader = copy.copy(installation)
    reader.folder = folder = installation.folder / "tutorial"
    folder.mkdir()
    for file in ("shop.py", "ask.py", "test_shop.py"):
        (folder / file).write_text(code(TUTORIAL.partition(f"`{file}`:\n")[2]))
    endpoint, prometheus, alertmanager = (f"localhost:{free_port()}" for _ in range(3))
    ask_it = folder / "ask.py"
    ask_it.write_text(ask_it.read_text().replace("localhost:9090", prometheus))
    lines = commands(TUTORIAL, {"localhost:9464": endpoint, "localhost:9090": prometheus})
    ours = {words[1]: words for words in lines if words[0] in {"otel-metrics", "python"}}
    (pytest_it,) = (words for words in lines if words[0] == "pytest")

    reader.done(ours["render"])
    assert len(list((folder / "deploy" / "grafana" / "dashboards").glob("*.json"))) == 14
    often = folder / "deploy" / "prometheus" / "prometheus.yml"
    often.write_text(re.sub(r"(scrape_interval|scrape_timeout): 1\ds", r"\1: 1s", often.read_text()))
    with reader.running(ours["shop.py"], OTEL_EXPORTER_PROMETHEUS_PORT=endpoint.partition(":")[2]) as shop:
        assert shop.wait_for(r"http://\S+") == f"http://{endpoint}/metrics"
        places = ["--prometheus-port", prometheus[10:], "--alertmanager-port", alertmanager[10:], "--root", "deploy"]
        with reader.running([*ours["stack"], *places]) as stack:
            stack.wait_for("Ctrl-C")
            dashboard = ours["dashboard"], {"OTM_PROMETHEUS_URL": f"http://{prometheus}"}
            wait_until(lambda: "CardDeclinedError" in reader.done(dashboard[0], **dashboard[1]))
            assert "response_time" in reader.done(dashboard[0], **dashboard[1])
            reader.done(ours["doctor"])
            assert re.fullmatch(r"\d+ uses; \d+% succeeded\n\d+ errors\n", reader.done(ours["ask.py"]))
    assert "1 passed" in reader.done(["python", "-m", *pytest_it, "-p", "no:cacheprovider"])
