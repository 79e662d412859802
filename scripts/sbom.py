"""Check an SBOM against what is installed: ``sbom.py SBOM ENVIRONMENT``. Every package, its version, a licence."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

OURS = "otel-metrics-bridge"
"""What the SBOM is of; it stands at its head, not among the parts."""


def named(name: str) -> str:
    """Return the one spelling that a package has on an index."""
    return re.sub(r"[-_.]+", "-", name).lower()


def faults(sbom: Path, environment: Path) -> list[str]:
    """Return what the SBOM does not say, or says wrong; a line each."""
    stated = json.loads(sbom.read_text(encoding="utf-8"))
    parts = {named(part["name"]): part for part in (stated["metadata"]["component"], *stated["components"])}
    folder = next(environment.glob("lib/python*/site-packages"))
    installed = {named(each.metadata["Name"]): each.version for each in distributions(path=[str(folder)])}
    found = [] if OURS in installed else [f"{OURS} is not installed"]
    for name, version in sorted(installed.items()):
        if name not in parts:
            found.append(f"{name} is missing")
        elif parts[name].get("version") != version:
            found.append(f"{name} is {version}, not {parts[name].get('version')}")
        elif not parts[name].get("licenses"):
            found.append(f"{name} has no licence")
    return found + [f"{name} is not installed" for name in sorted(parts.keys() - installed.keys())]


if __name__ == "__main__":
    wrong = faults(*map(Path, sys.argv[1:]))
    sys.exit("\n".join(wrong) or None)
