"""``make grafana-check``: the shipped dashboards in a real Grafana, over the busy company's data in a real Prometheus.

The Grafana is the one at ``GRAFANA_URL`` (with ``GRAFANA_TOKEN``, of a service account that may administrate; it has to
reach this machine's loopback), or else a program ``grafana`` or ``grafana-server`` on PATH, started for the check. Every
dashboard is asked back from it, every panel's queries go through its query endpoint, and a picture of each is put into
``build/grafana``. Exit status 1 when a query fails, a panel is empty, or there is no Grafana.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import math
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from otel_metrics.assets.dashboards import texts
from otel_metrics.promql import seconds
from tests.assets import faults
from tests.dialects import CLASSIC
from tests.servers import ROOT, Process
from tests.visual import states
from tests.visual.company import LEVELS, NOW
from tests.visual.drawing import CACHE
from tests.visual.past import running

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
OUT = ROOT / "build/grafana"
WIDTH = 1600
SOURCE = "otel-metrics-check"
"""The uid of the data source and of the folder; dashboards get it before their own uid, so that yours stay as they are."""

EMPTY_WHEN_BUSY = {
    ("performance", "Average ratios"),
    ("performance", "Average values in other units"),
    *((name, "Alerts, firing and pending") for name in ("learning", "optimization", "resources", "telemetry")),
    ("telemetry", "Series under 'other', by label"),
    ("telemetry", "Evaluations of rules that failed, per quarter of an hour"),
    ("telemetry", "Notifications, per quarter of an hour"),
}
"""Panels, by dashboard and title, that have nothing to show while the company is busy, and say so."""

EMPTY = "the panel is empty"
NONE = (
    "No Grafana is here, and none has ever been seen by this project: nothing was checked.\n"
    "Set GRAFANA_URL and GRAFANA_TOKEN, or put the program grafana (or grafana-server) on PATH."
)


class Grafana:
    """The HTTP API of a Grafana."""

    def __init__(self, url: str, authorization: str) -> None:
        self.url = url.rstrip("/")
        self.authorization = authorization

    def ask(self, path: str, body: Json | None = None, method: str | None = None) -> Any:
        """Return the answer of an API path; a rejected query's answer says why, so that is returned too.

        Raises:
            OSError: no answer, or one that is an error and no answer to a query.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            if '"results"' in text:
                return json.loads(text)
            raise OSError(f"{path}: {error.code} {text[:300]}") from None

    def provision(self, prometheus: str, dashboards: dict[str, Json]) -> None:
        """Give it a data source and a folder of its own with the dashboards; what an earlier check left is replaced."""
        self.forget()
        source = shipped_source(prometheus) | {"name": SOURCE, "uid": SOURCE, "isDefault": False}
        self.ask("/api/datasources", source)
        self.ask("/api/folders", {"uid": SOURCE, "title": SOURCE})
        for dashboard in dashboards.values():
            mine = {**dashboard, "id": None, "uid": uid(dashboard), "title": f"{dashboard['title']} (check)"}
            self.ask("/api/dashboards/db", {"dashboard": mine, "folderUid": SOURCE, "overwrite": True})

    def forget(self) -> None:
        """Take away what ``provision`` gave."""
        for path in (f"/api/folders/{SOURCE}", f"/api/datasources/uid/{SOURCE}"):
            with contextlib.suppress(OSError):
                self.ask(path, method="DELETE")


class OwnGrafana(Process):
    """A Grafana that is started for the check, with nothing but this in it."""

    name = "grafana"
    ready_path = "/api/health"

    def __init__(self, folder: Path, binary: str) -> None:
        super().__init__(folder)
        self.binary = binary
        self.password = secrets.token_urlsafe()

    def command(self) -> list[str]:
        program = Path(self.binary).resolve()
        homes = [home for home in (program.parent.parent, Path("/usr/share/grafana")) if (home / "conf").is_dir()]
        settings = {
            "PATHS_DATA": self.folder / "data",
            "PATHS_LOGS": self.folder / "logs",
            "PATHS_PLUGINS": self.folder / "plugins",
            "SERVER_HTTP_ADDR": "127.0.0.1",
            "SERVER_HTTP_PORT": self.port,
            "SECURITY_ADMIN_PASSWORD": self.password,
            # It is to call nobody.
            "ANALYTICS_REPORTING_ENABLED": "false",
            "ANALYTICS_CHECK_FOR_UPDATES": "false",
            "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "PLUGINS_PREINSTALL_DISABLED": "true",
        }
        server = [self.binary, *(["server"] if program.name == "grafana" else [])]
        home = [f"--homepath={homes[0]}"] if homes else []
        return ["env", *(f"GF_{name}={value}" for name, value in settings.items()), *server, *home]

    def api(self) -> Grafana:
        """Return its API, as its administrator."""
        return Grafana(self.url, "Basic " + base64.b64encode(f"admin:{self.password}".encode()).decode())


def uid(dashboard: Json) -> str:
    """Return the uid that a dashboard has in the Grafana."""
    return f"check-{dashboard['uid']}"[:40]


def shipped_source(prometheus: str) -> Json:
    """Return the shipped data source with another address, and the interval of the company's scrapes."""
    file = ROOT / "grafana/provisioning/datasources/prometheus.yml"
    (source,) = (one for one in yaml.safe_load(file.read_text("utf-8"))["datasources"] if one["type"] == "prometheus")
    return {**source, "url": prometheus, "jsonData": {**source["jsonData"], "timeInterval": "60s"}}


def request(dashboard: Json, panel: Json) -> Json:
    """Return what Grafana's page sends to ``/api/ds/query`` for a panel: variables are the page's, ``$__…`` the server's."""
    period = panel.get("timeFrom") or dashboard["time"]["from"].removeprefix("now-")
    length = seconds(period)
    points = max(100, panel["gridPos"]["w"] * WIDTH // 24)
    step = max(length / points, seconds(panel.get("interval") or "1m"))
    names = "|".join(re.escape(one["name"]) for one in dashboard["templating"]["list"])
    variable = re.compile(rf"\$(?:{names})\b|\$\{{(?:{names})(?::\w+)?\}}")
    return {
        "from": f"{(NOW - length) * 1000:.0f}",
        "to": f"{NOW * 1000:.0f}",
        "queries": [
            {
                **target,
                "expr": variable.sub(".*", target["expr"]),
                "datasource": {"type": "prometheus", "uid": SOURCE},
                "intervalMs": round(step * 1000),
                "maxDataPoints": points,
            }
            for target in panel["targets"]
            if not target.get("hide")
        ],
    }


def complaints(answer: Json) -> list[str]:
    """Return what is wrong with the answer to a panel's queries."""
    results = answer["results"]
    failed = [f"{name}: {one['error']}" for name, one in sorted(results.items()) if one.get("error")]
    return failed or ([] if any(map(_finite, _numbers(results))) else [EMPTY])


def _numbers(results: Json) -> Iterator[Any]:
    for frame in (frame for one in results.values() for frame in one.get("frames") or ()):
        for field, values in zip(frame["schema"]["fields"], frame["data"]["values"], strict=True):
            if field["type"] == "number":
                yield from values


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def check(grafana: Grafana, prometheus: str, dashboards: dict[str, Json]) -> list[str]:
    """Provision, ask every dashboard back, ask every panel's queries; return what is wrong."""
    grafana.provision(prometheus, dashboards)
    wrong = []
    for name, shipped in dashboards.items():
        stored = grafana.ask(f"/api/dashboards/uid/{uid(shipped)}")["dashboard"]
        panels = list(faults.panels(stored))
        if len(panels) != len(list(faults.panels(shipped))):
            wrong.append(f"{name}: Grafana has another number of panels")
        found = [
            f"{panel['title']}: {complaint}"
            for panel in panels
            for complaint in complaints(grafana.ask("/api/ds/query", request(stored, panel)))
            if complaint != EMPTY or (name, panel["title"]) not in EMPTY_WHEN_BUSY
        ]
        print(f"{name}: {len(panels)} panels, {len(found) or 'no'} problems", flush=True)
        wrong += [f"{name}: {complaint}" for complaint in found]
    return wrong


_SHOOT = """
import { chromium } from 'playwright-core';
const { chromiumPath, url, authorization, names, out, to } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox', '--disable-gpu'] });
const page = await browser.newPage({ viewport: { width: 1600, height: 2400 }, extraHTTPHeaders: { authorization } });
for (const [name, uid] of Object.entries(names)) {
  await page.goto(`${url}/d/${uid}?kiosk&to=${to}&from=${to - 21_600_000}`, { waitUntil: 'networkidle' });
  await page.screenshot({ path: `${out}/${name}.png` });
}
await browser.close();
"""


def shoot(grafana: Grafana, dashboards: dict[str, Json]) -> str:
    """Take a picture of every dashboard, by Grafana's image renderer or the browser of the visual checks; say how."""
    OUT.mkdir(parents=True, exist_ok=True)
    names = {name: uid(dashboard) for name, dashboard in dashboards.items()}
    if grafana.ask("/api/frontend/settings").get("rendererAvailable"):
        for name, one in names.items():
            fields = {
                "width": WIDTH,
                "height": 2400,
                "kiosk": "",
                "from": f"{(NOW - 21_600) * 1000:.0f}",
                "to": f"{NOW * 1000:.0f}",
            }
            path = f"/render/d/{one}?{urllib.parse.urlencode(fields)}"
            headers = {"Authorization": grafana.authorization}
            with urllib.request.urlopen(
                urllib.request.Request(grafana.url + path, headers=headers), timeout=120
            ) as answer:
                (OUT / f"{name}.png").write_bytes(answer.read())
        return f"pictures by Grafana's image renderer: {OUT}"
    if not (CACHE / "chromium").exists():
        return "no pictures: neither an image renderer nor the browser of scripts/visual.py is here"
    told = {
        "chromiumPath": str((CACHE / "chromium").resolve()),
        "url": grafana.url,
        "authorization": grafana.authorization,
        "names": names,
        "out": str(OUT),
        "to": round(NOW * 1000),
    }
    script = CACHE / "viewer/shoot.mjs"
    script.write_text(_SHOOT, encoding="utf-8")
    subprocess.run(["node", script.name, json.dumps(told)], cwd=script.parent, timeout=600, check=True)
    return f"pictures by Chromium: {OUT}"


@contextlib.contextmanager
def at_hand(folder: Path) -> Iterator[Grafana | None]:
    """The Grafana that there is: at the address that is set, or started for us."""
    url, binary = os.environ.get("GRAFANA_URL"), shutil.which("grafana") or shutil.which("grafana-server")
    if url:
        yield Grafana(url, f"Bearer {os.environ.get('GRAFANA_TOKEN', '')}")
    elif binary:
        with running(OwnGrafana(folder, binary)) as own:
            yield own.api()
    else:
        yield None


def main() -> int:
    """Check, and say what is wrong."""
    logging.getLogger("otel_metrics").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, at_hand(Path(folder)) as grafana:
        if grafana is None:
            print(NONE, file=sys.stderr)
            return 1
        print(f"Grafana {grafana.ask('/api/health').get('version')} at {grafana.url}")
        dashboards = {name: json.loads(text) for name, text in texts(CLASSIC, levels=LEVELS).items()}
        with running(states.server("busy")) as prometheus:
            try:
                wrong = check(grafana, prometheus.url, dashboards)
                print(shoot(grafana, dashboards))
            finally:
                grafana.forget()
    print("\n".join(wrong) or "No query fails, no panel is empty.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
