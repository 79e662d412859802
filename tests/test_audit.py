"""``make audit``: a pin that is vulnerable is found, one that is mended is not, and what cannot be told is said."""

from __future__ import annotations

import datetime as dt
import http.server
import io
import json
import threading
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import audit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TODAY = dt.date(2026, 3, 1)

PLANTED: dict[str, Any] = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1000"],
    "modified": "2026-01-30T12:00:00Z",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Some_Package"},
            "ranges": [
                {"type": "GIT", "repo": "somewhere", "events": [{"introduced": "0"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "1.2"}, {"fixed": "1.10.1"}]},
            ],
            "versions": ["1.2", "1.10", "0.9.post1"],
        },
        {"package": {"ecosystem": "npm", "name": "other"}, "versions": ["3.0"]},
    ],
}


def packed(*entries: dict[str, Any], suffix: str = "json") -> bytes:
    """A database as a zip file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("README.md", "advisories")
        archive.writestr("settings.json", "[]")
        for number, entry in enumerate(entries):
            archive.writestr(f"vulns/{number}.{suffix}", json.dumps(entry))  # which is YAML, too
    return content.getvalue()


class Project:
    """A folder with pins and advisories."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = folder
        self._capture = capture
        (folder / "scripts").mkdir()

    def pin(self, text: str) -> None:
        (self.root / "constraints.txt").write_text(text, encoding="utf-8")

    def refresh(self, *entries: dict[str, Any], suffix: str = "json") -> tuple[int, str]:
        database = self.root / "database.zip"
        database.write_bytes(packed(*entries, suffix=suffix))
        return self.audit("--refresh", str(database))

    def audit(self, *arguments: str) -> tuple[int, str]:
        """The exit status, and what is said."""
        status = audit.main([*arguments], self.root, TODAY)
        return status, self._capture.readouterr().out


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_vulnerable_pin_is_named_with_its_advisory_and_what_mends_it(project: Project, suffix: str) -> None:
    project.pin("other==3.0\nsome.package==1.10\n")
    status, said = project.refresh(PLANTED, suffix=suffix)
    assert status == 1
    assert said == (
        "2 pins, advisories of 2026-01-30 (30 days old), from database.zip\n"
        "some-package 1.10: PYSEC-2026-1, CVE-2026-1000: fixed in 1.10.1: VULNERABLE\n"
    )


@pytest.mark.parametrize(
    ("version", "status"),
    [("1.1.9", 0), ("1.2rc1", 0), ("1.2", 1), ("1.9", 1), ("1.10.1rc1", 1), ("1.10.1", 0), ("2.0", 0), ("0.9-1", 1)],
)
def test_from_the_version_that_brought_it_up_to_the_one_that_mends_it(
    project: Project, version: str, status: int
) -> None:
    project.pin(f"some-package=={version}\n")
    assert project.refresh(PLANTED)[0] == status


@pytest.mark.parametrize(
    ("events", "inside", "outside"),
    [
        ([{"introduced": "0"}, {"fixed": "2"}], ["0a1", "1.9"], ["2.0", "2.0.post1"]),
        ([{"introduced": "0"}], ["0.1", "99"], []),
        ([{"introduced": "1"}, {"last_affected": "1.5"}], ["1", "1.5.0"], ["0.9", "1.5.1"]),
        ([{"introduced": "1"}, {"fixed": "2"}, {"introduced": "3"}, {"fixed": "4"}], ["1.5", "3.5"], ["0", "2.5", "4"]),
        ([{"fixed": "10"}, {"introduced": "9"}], ["9.5"], ["8", "10"]),
        ([{"introduced": "0"}, {"limit": "3"}], ["2.9"], ["3", "4"]),
        ([{"introduced": "1!0"}, {"fixed": "1!2"}], ["1!1"], ["5", "1!2"]),
        ([{"introduced": "0"}, {"fixed": "2004d"}, {"fixed": "2"}], ["1"], ["2"]),
    ],
    ids=str,
)
def test_ranges_mean_what_the_format_says(events: list[dict[str, str]], inside: list[str], outside: list[str]) -> None:
    advisory = {"ranges": [events], "versions": []}
    assert [version for version in (*inside, *outside) if audit.affected(version, advisory)] == inside


def test_a_package_with_one_pin_for_old_pythons_and_one_for_new_ones_is_audited_with_both(project: Project) -> None:
    project.pin(
        "# two of one\nsome-package==1.9; python_version < '3.11'  # the last one\n\n"
        "Some_Package[extra]==2.0 ; python_version >= '3.11'\n"
    )
    status, said = project.refresh(PLANTED)
    assert status == 1
    assert said == (
        "2 pins, advisories of 2026-01-30 (30 days old), from database.zip\n"
        "some-package 1.9: PYSEC-2026-1, CVE-2026-1000: fixed in 1.10.1: VULNERABLE\n"
    )


def test_without_a_fixed_version_that_is_said(project: Project) -> None:
    project.pin("some-package==1.2\n")
    part = {**PLANTED["affected"][0], "ranges": []}
    assert (
        "some-package 1.2: PYSEC-2026-1, CVE-2026-1000: no fixed version is known: VULNERABLE"
        in project.refresh({**PLANTED, "affected": [part]})[1]
    )


def test_an_advisory_that_was_withdrawn_is_none(project: Project) -> None:
    project.pin("some-package==1.2\n")
    assert project.refresh({**PLANTED, "withdrawn": "2026-02-01T00:00:00Z"})[0] == 0


def test_what_is_accepted_passes_with_its_reason_for_as_long_as_it_is_needed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-2026-1000": "we never call it"})
    project.pin("some-package==1.2\n")
    status, said = project.refresh(PLANTED)
    assert (status, said.splitlines()[1].partition("fixed")[2]) == (0, " in 1.10.1: accepted: we never call it")

    project.pin("some-package==1.10.1\n")
    status, said = project.audit()
    assert (status, said.splitlines()[1]) == (1, "CVE-2026-1000 is accepted, but no pin has it")


def test_what_cannot_be_audited_is_said(project: Project) -> None:
    project.pin("some-package==1.10.1\n")
    status, said = project.audit()
    assert (status, said.partition(":")[0]) == (2, "NOT AUDITED")

    project.refresh(PLANTED)
    project.pin("some-package==1.10.1\nnewcomer==1.0\n")
    status, said = project.audit()
    assert status == 2
    assert said.splitlines()[1].startswith("NOT AUDITED: scripts/advisories.json is older than the pins of newcomer")


def test_a_database_comes_from_an_address(project: Project) -> None:
    project.pin("some-package==1.2\n")
    with served(packed(PLANTED)) as address:
        status, said = project.audit("--refresh", address)
    assert status == 1
    assert f"from {address}" in said


def test_what_is_no_database_leaves_the_data_alone(project: Project) -> None:
    project.pin("some-package==1.2\n")
    project.refresh(PLANTED)
    with pytest.raises(ValueError, match="no advisory"):
        project.refresh()
    assert project.audit()[0] == 1


@contextmanager
def served(content: bytes) -> Iterator[str]:
    """Serve bytes at an address of this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/all.zip"
        finally:
            server.shutdown()
            thread.join()
