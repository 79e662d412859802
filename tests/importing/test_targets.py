"""The import into VictoriaMetrics and into OpenMetrics files: what comes back from real servers, and that nothing is doubled."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from otel_metrics.cli import main
from otel_metrics.importing.openmetrics_folder import OpenMetricsFolder
from otel_metrics.importing.target import Day
from otel_metrics.importing.victoria_metrics import VictoriaMetrics
from otel_metrics.settings import Settings
from tests.command import otel_metrics
from tests.importing import old
from tests.processes import program

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.engines import QueryServer
    from tests.engines import VictoriaMetrics as VictoriaMetricsServer
    from tests.servers import Servers

END = datetime(2024, 3, 3, tzinfo=timezone.utc).timestamp()
SAME = "432 statistics computed by SQL, 0 different"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return old.filled(tmp_path_factory.mktemp("old") / "old.db", 900, 3)


@pytest.fixture(scope="module")
def files(database: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What the import writes of it."""
    folder = tmp_path_factory.mktemp("files")
    done = otel_metrics("import", str(database), "--openmetrics", str(folder))
    assert done.returncode == 0, done.stderr
    assert "3 days written, 0 not" in done.stdout
    return sorted(folder.glob("*.om"))


@pytest.fixture(scope="module")
def server(session_servers: Servers) -> VictoriaMetricsServer:
    return session_servers.victoria_metrics()


def lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def counted(files: list[Path]) -> dict[str, int]:
    """Name of every metric -> its samples."""
    return dict(Counter(line.partition("{")[0] for file in files for line in lines(file)))


def stored(server: QueryServer, names: Iterable[str]) -> dict[str, float | None]:
    return {name: server.value(f"sum(count_over_time({name}[10d]))", END) for name in names}


def day(file: Path, text: str) -> Day:
    file.write_text(text, encoding="utf-8")
    return Day("import-2024-02-29", "", 0, 0, file)


def made_blocks(file: Path, data: Path) -> None:
    """As documented."""
    subprocess.run(
        [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=24h", file, data],
        check=True,
        capture_output=True,
    )


def samples_in(data: Path) -> int:
    return sum(json.loads(path.read_text(encoding="utf-8"))["stats"]["numSamples"] for path in data.glob("*/meta.json"))


# ----------------------------------------------------------------------------------------------------- VictoriaMetrics


def test_victoria_metrics_gives_back_what_it_was_sent_and_has_it_once(
    server: VictoriaMetricsServer, database: Path, files: list[Path], tmp_path: Path
) -> None:
    """Also after a second run. Where getters read from is another matter."""
    command = ("import", str(database), "--victoria-metrics", server.url, "--verify")
    done = otel_metrics(*command, cwd=tmp_path, OTM_PROMETHEUS_URL="http://localhost:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 days written, 0 not" in done.stdout
    assert SAME in done.stdout
    assert "-retentionPeriod" in done.stdout
    sent = counted(files)
    assert len(sent) > 15
    assert stored(server, sent) == sent
    again = otel_metrics(*command, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "0 days written, 3 not" in again.stdout
    assert "imported before" in again.stdout
    assert SAME in again.stdout
    assert stored(server, sent) == sent


def test_what_arrived_before_an_interruption_is_not_sent_again(server: VictoriaMetricsServer, tmp_path: Path) -> None:
    text = [
        f'cut{{a="{name}"}} 1.5 17092080{second}.999\n' for name in ("x", 'say \\"\\\\\\n') for second in (10, 20, 30)
    ]
    target = VictoriaMetrics(server.url, Settings(), tmp_path, batch=sum(map(len, text[:2])) + 12)
    file = tmp_path / "day.om"
    assert target.store(day(file, "".join(text[:4]) + "# EOF\n"))
    assert server.value("sum(count_over_time(cut[1h]))", 1709208060) == 4
    assert target.store(day(file, "".join(text) + "# EOF\n"))
    assert server.value("sum(count_over_time(cut[1h]))", 1709208060) == 6
    assert server.value("sum(sum_over_time(cut[1h]))", 1709208060) == 9
    assert not target.store(day(file, "".join(text) + "# EOF\n"))
    assert server.value("sum(count_over_time(cut[1h]))", 1709208060) == 6


def test_credentials_come_from_files(
    servers: Servers,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = servers.victoria_metrics(flags=["-httpAuth.username=shop", "-httpAuth.password=s3cret"])
    command = ("import", str(database), "--verify", "--before", "2024-02-29", "--victoria-metrics")
    (tmp_path / "password").write_text("s3cret\n", encoding="utf-8")
    credentials = {"OTM_PROMETHEUS_USERNAME": "shop", "OTM_PROMETHEUS_PASSWORD_FILE": str(tmp_path / "password")}
    done = otel_metrics(*command, server.url, cwd=tmp_path, **credentials)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "144 statistics computed by SQL, 0 different" in done.stdout
    monkeypatch.chdir(tmp_path)
    assert main([*command, server.url]) == 1
    assert "HTTP status 401" in capsys.readouterr().err


def test_a_server_that_does_not_answer(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", str(database), "--victoria-metrics", "http://localhost:1"]) == 1
    printed = capsys.readouterr()
    assert "http://localhost:1: " in printed.err
    assert "days written" not in printed.out


# --------------------------------------------------------------------------------------------------- OpenMetrics files


def test_promtool_makes_blocks_of_the_files_and_twice_is_once(
    servers: Servers, database: Path, files: list[Path], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    assert [file.name for file in files] == [f"import-2024-{date}.om" for date in ("02-28", "02-29", "03-01")]
    for file in (*files, files[0]):
        made_blocks(file, data)
    assert samples_in(data) == sum(len(lines(file)) for file in (*files, files[0]))
    server = old.server_on(servers, data)
    assert stored(server, counted(files)) == counted(files)
    before = [file.read_bytes() for file in files]
    done = otel_metrics(
        "import", str(database), "--openmetrics", str(files[0].parent), "--verify", "--prometheus", server.url
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert SAME in done.stdout
    assert [file.read_bytes() for file in files] == before


def test_a_file_that_is_too_large_becomes_several(files: list[Path], tmp_path: Path) -> None:
    folder, text = tmp_path / "small", files[0].read_text(encoding="utf-8")
    target = OpenMetricsFolder(folder, largest=len(text) // 3)
    assert target.store(day(tmp_path / "day.om", text))
    parts = sorted(folder.glob("*.om"))
    assert [part.name for part in parts] == [f"import-2024-02-29.{n}om" for n in ("2.", "3.", "4.", "")]
    assert max(part.stat().st_size for part in parts) <= len(text) // 3
    for part in parts:
        made_blocks(part, tmp_path / "data")
    assert samples_in(tmp_path / "data") == len(lines(files[0]))
    assert OpenMetricsFolder(folder).store(day(tmp_path / "day.om", text))
    assert [part.name for part in folder.glob("*.om")] == ["import-2024-02-29.om"]


def test_files_end_where_a_server_may_have_no_blocks_yet(tmp_path: Path) -> None:
    """A block that reached into its last three hours would make it drop them."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    path = old.filled(tmp_path / "old.db", 300, 3, start=datetime(now.year, now.month, now.day) - timedelta(days=2))  # noqa: DTZ001
    assert main(["import", str(path), "--openmetrics", str(tmp_path / "files")]) == 0
    written = sorted((tmp_path / "files").glob("*.om"))
    assert len(written) == (2 if now.hour >= 4 else 1)
    for file in written:
        newest = max(float(line.rsplit(" ", 1)[1]) for line in lines(file))
        assert newest <= datetime.now(timezone.utc).timestamp() - 3 * 3600
