"""Which of a machine's package sources `make servers` derives its own from."""

from __future__ import annotations

from packages import deb822_sources, one_line_sources

DEB822 = """\
Types: deb deb-src
# a comment between fields
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://tools.example/node
Suites: nodistro
Components: main
"""

ONE_LINE = """\
# deb http://mirror.example/old bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm main contrib
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb http://mirror.example/debian bookworm-updates main
deb https://tools.example/cloud cloud-sdk main
"""


def test_of_stanzas_only_the_base_archive_moves() -> None:
    [stanza] = deb822_sources(DEB822, "bookworm", "sid")
    assert stanza.splitlines() == [
        "Types: deb",
        "URIs: http://mirror.example/debian",
        "Suites: sid",
        "Components: main",
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
        "",
    ]


def test_of_lines_only_the_base_archive_moves_and_keeps_its_options() -> None:
    assert list(one_line_sources(ONE_LINE, "bookworm", "sid")) == [
        "deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian sid main contrib\n"
    ]


def test_a_machine_on_a_rolling_suite_is_understood() -> None:
    assert list(one_line_sources("deb http://mirror.example/debian unstable main", "forky", "testing")) == [
        "deb http://mirror.example/debian testing main\n"
    ]
