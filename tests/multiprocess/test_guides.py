"""The guides of docs/workers.md and docs/guides: each is run as it stands there, and counts every request, or task, whichever process did it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.processes import ROOT, Process, fetch, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = 40


def guide(page: str, title: str | None = None) -> dict[str, str]:
    """The code blocks of a page, or of one section, by language; what stands in several is one program."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    if title:
        (text,) = re.findall(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    blocks: dict[str, str] = {}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
        blocks[language] = blocks.get(language, "") + block
    return blocks


class Application(Process):
    """What a guide starts, on a port of its own."""

    name = "application"
    ready_path = "/metrics"

    def __init__(self, folder: Path, program: str, command: list[str], path: str) -> None:
        super().__init__(folder)
        self._path = path
        self._program = program
        self._command = command

    def command(self) -> list[str]:
        (self.folder / "shop.py").write_text(self._program.replace("port=8000", f"port={self.port}"), encoding="utf-8")
        here = [re.sub(r"(0\.0\.0\.0)?:8000", self.address, part) for part in self._command]
        here = [str(self.port) if part == "8000" else part.replace("/run/shop", str(self.folder)) for part in here]
        path = os.pathsep.join([str(self.folder), *filter(None, sys.path), str(ROOT)])
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = [f"PYTHONPATH={path}", f"PATH={programs}", "CELERY_BROKER_URL=filesystem://"]
        return ["/usr/bin/env", *environment, *here]

    def counted(self) -> float:
        text = fetch(f"{self.url}/metrics").decode()
        return sum(map(float, re.findall(r"^feature_usage_total\{.*\} (\S+)$", text, re.MULTILINE)))

    def request(self) -> None:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: fetch(f"{self.url}{self._path}"), range(TIMES)))

    def send_tasks(self) -> None:
        command = [
            *self.command()[:4],
            sys.executable,
            "-c",
            f"import shop; [shop.order.delay() for _ in range({TIMES})]",
        ]
        subprocess.run(command, cwd=self.folder, check=True)


def run(
    folder: Path, program: str, command: str | list[str], work: Callable[[Application], None], path: str = "/order"
) -> None:
    words = shlex.split(command.partition("\n")[0].removeprefix("$ ")) if isinstance(command, str) else command
    application = Application(folder, program, words, path)
    application.start()
    try:
        work(application)
        wait_until(lambda: application.counted() == TIMES, what=f"{TIMES} counted")
        lines = fetch(f"{application.url}/metrics").decode().splitlines()
        assert [line for line in lines if line.startswith("otel_metrics_shared_errors_total")] == []
    finally:
        application.stop()


GUNICORN = ("workers.md", "gunicorn: any WSGI application")


@pytest.mark.parametrize(
    ("program", "command", "path"),
    [
        (GUNICORN, GUNICORN, "/order"),
        (GUNICORN, ("workers.md", "uWSGI"), "/order"),
        (("workers.md", "Flask"), ("workers.md", "Flask"), "/order"),
        (("guides/django.md", "The project"), ("guides/django.md", "The project"), "/order"),
        (("guides/fastapi.md",), ("guides/fastapi.md", "The application"), "/order/apple"),
    ],
    ids=["gunicorn", "uWSGI", "Flask", "Django", "FastAPI"],
)
def test_a_web_server(tmp_path: Path, program: tuple[str, ...], command: tuple[str, ...], path: str) -> None:
    run(tmp_path, guide(*program)["python"], guide(*command)["console"], Application.request, path)


def test_kubernetes(tmp_path: Path) -> None:
    (container,) = yaml.safe_load(guide("guides/kubernetes.md", "One pod, several processes")["yaml"])["spec"][
        "containers"
    ]
    environment = [f"{each['name']}={each['value']}" for each in container["env"]]
    run(tmp_path, guide(*GUNICORN)["python"], [*environment, *container["command"]], Application.request)


def test_celery(tmp_path: Path) -> None:
    (tmp_path / "data_in").mkdir()
    (tmp_path / "data_out").symlink_to("data_in")  # a broker of files, for a worker in the folder of its clients
    its = guide("guides/celery.md")
    run(tmp_path, its["python"], its["console"], Application.send_tasks)
