"""Which programs belong to which set of servers, and what is left when one cannot be built."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from modules import build_all  # the modules of scripts/
from recipes import PROMETHEUS, SERVERS, Server
from servers import folders, serves, version_of
from tests.servers import program

SERVER = Server("prometheus", "3.5", "prometheus", dataclasses.replace(PROMETHEUS, release="3.16.0"))
COMPOSE = Server("docker-compose", "2.20", "docker-compose")


@pytest.mark.parametrize(
    ("version", "current", "oldest", "at_hand"),
    [
        ("3.4.2", False, False, False),
        ("3.5", False, True, True),
        ("3.15.9", False, True, True),
        ("3.16.0", True, False, True),
        ("3.17.0", False, False, True),
    ],
)
def test_the_current_set_is_exact_and_the_oldest_one_is_older(
    version: str, current: bool, oldest: bool, at_hand: bool
) -> None:
    assert serves(SERVER, version, "current") is current
    assert serves(SERVER, version, "oldest") is oldest
    assert serves(SERVER, version, None) is at_hand


@pytest.mark.parametrize("wanted", ["current", "oldest", None])
def test_what_is_not_built_serves_in_both_sets(wanted: str | None) -> None:
    assert serves(COMPOSE, "2.40.3", wanted)
    assert not serves(COMPOSE, "2.19.9", wanted)


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_tests_run_on_the_versions_of_their_set(server: Server) -> None:
    version = version_of(Path(program(server.name)), server.version_args)
    assert version is not None
    assert serves(server, version, folders()[2])


def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "GOPROXY": "off", "PIP_NO_INDEX": "1"})
    problems = build_all([PROMETHEUS], tmp_path / "built", tmp_path / "building")
    assert problems
    assert list(tmp_path.iterdir()) == [tmp_path / "built"]
    assert list((tmp_path / "built").iterdir()) == []
