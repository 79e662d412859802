"""What ``make release`` checks, shown to fail on planted faults. CI runs the whole of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sbom import faults

if TYPE_CHECKING:
    from pathlib import Path

MIT = [{"license": {"id": "MIT"}}]


def release(folder: Path, components: list[dict[str, Any]]) -> list[str]:
    """Faults of an SBOM where our package and ``Some_Package`` are installed."""
    for name, version in (("otel-metrics-bridge", "0.1.0"), ("Some_Package", "2.0")):
        metadata = folder / "lib" / "python3" / "site-packages" / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    head = {"name": "otel-metrics-bridge", "version": "0.1.0", "licenses": MIT}
    (folder / "sbom").write_text(
        json.dumps({"metadata": {"component": head}, "components": components}), encoding="utf-8"
    )
    return faults(folder / "sbom", folder)


@pytest.mark.parametrize(
    ("components", "found"),
    [
        ([{"name": "some-package", "version": "2.0", "licenses": MIT}], []),
        ([], ["some-package is missing"]),
        ([{"name": "some.package", "version": "1.0", "licenses": MIT}], ["some-package is 2.0, not 1.0"]),
        ([{"name": "some-package", "version": "2.0"}], ["some-package has no licence"]),
        (
            [{"name": "some-package", "version": "2.0", "licenses": MIT}, {"name": "left-out", "version": "1"}],
            ["left-out is not installed"],
        ),
    ],
)
def test_an_sbom_that_is_not_what_is_installed_is_a_fault(
    tmp_path: Path, components: list[dict[str, Any]], found: list[str]
) -> None:
    assert release(tmp_path, components) == found
