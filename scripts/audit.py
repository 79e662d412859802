"""Compare the pins of constraints.txt with known vulnerabilities: ``make audit``, without a network.

The vulnerabilities are in ``advisories.json`` beside this script: of the packages that are pinned, from databases in the OSV format,
with their source and date. ``audit.py --refresh`` writes it anew, from OSV's export for PyPI, or from the zip file that is named.

Exit status: 0, none is known; 1, a pin has one; 2, the data are missing, or do not cover every pin.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, Final

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT: Final = Path(__file__).resolve().parent.parent
PINS: Final = "constraints.txt"
DATA: Final = "scripts/advisories.json"
EXPORT: Final = "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"
"""What OSV collects for PyPI, under CC BY 4.0: the advisory databases of PyPA, of GitHub and others."""

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Makes text of everything, so that 1.10 stays 1.10."""

ACCEPTED: Final[dict[str, str]] = {}
"""Id of an advisory -> why the pin stays. Reviewed with every release; one that no pin needs is an error."""

Advisory = dict[str, Any]


def pins(text: str) -> list[tuple[str, str]]:
    """Return every name and version that a file of constraints pins, on whatever Python or system it does."""
    found = set()
    for line in text.splitlines():
        if line := line.partition("#")[0].strip():
            pin = Requirement(line)
            (version,) = (each.version for each in pin.specifier)
            found.add((canonicalize_name(pin.name), version))
    return sorted(found)


def parsed(text: str) -> Version | None:
    """Return a version; None if it has no place in the order of versions, as some of before 2014."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def within(version: Version, events: list[dict[str, str]]) -> bool:
    """Return whether the events of a range say that a version is affected, by the rules of the OSV format."""
    ordered: list[tuple[Version, str]] = []
    inside = False
    for event in events:
        for kind, text in event.items():
            if kind == "introduced" and text == "0":
                inside = True  # before any version, also 0a1
            elif (place := parsed(text)) is not None:
                ordered.append((place, kind))
    limits = [place for place, kind in ordered if kind == "limit"]
    if limits and version >= max(limits):
        return False
    for place, kind in sorted(ordered, key=lambda item: item[0]):
        if kind == "introduced" and version >= place:
            inside = True
        elif (kind == "fixed" and version >= place) or (kind == "last_affected" and version > place):
            inside = False
    return inside


def affected(text: str, advisory: Advisory) -> bool:
    """Return whether a version lies in a range, or is listed."""
    version = parsed(text)
    if version is None:
        return text in advisory["versions"]
    listed = any(parsed(other) == version for other in advisory["versions"])
    return listed or any(within(version, events) for events in advisory["ranges"])


def fixed(text: str, advisory: Advisory) -> str:
    """Say in which version after this one it is mended."""
    found = {event["fixed"] for events in advisory["ranges"] for event in events if "fixed" in event}
    later = sorted(place for place in map(parsed, found) if place is not None and place > Version(text))
    return f"fixed in {later[0]}" if later else "no fixed version is known"


def audit(root: Path, today: dt.date) -> int:
    """Say what is known of the pins, and return the exit status."""
    pinned = pins((root / PINS).read_text(encoding="utf-8"))
    file = root / DATA
    if not file.is_file():
        print(f"NOT AUDITED: there is no {DATA}; scripts/audit.py --refresh writes it, where there is a network")
        return 2
    data = json.loads(file.read_text(encoding="utf-8"))
    age = (today - dt.date.fromisoformat(data["date"])).days
    print(f"{len(pinned)} pins, advisories of {data['date']} ({age} days old), from {data['source']}")
    unused, vulnerable = set(ACCEPTED), False
    for name, version in pinned:
        for advisory in data["advisories"].get(name, ()):
            if affected(version, advisory):
                ids = (advisory["id"], *advisory["aliases"])
                reasons = [ACCEPTED[each] for each in ids if each in ACCEPTED]
                unused.difference_update(ids)
                vulnerable |= not reasons
                said = f"accepted: {reasons[0]}" if reasons else "VULNERABLE"
                print(f"{name} {version}: {', '.join(ids)}: {fixed(version, advisory)}: {said}")
    for each in sorted(unused):
        print(f"{each} is accepted, but no pin has it")
    if vulnerable or unused:
        return 1
    if missing := sorted({name for name, _ in pinned} - data["advisories"].keys()):
        print(
            f"NOT AUDITED: {DATA} is older than the pins of {', '.join(missing)}; scripts/audit.py --refresh mends that"
        )
        return 2
    return 0


def refresh(root: Path, source: str) -> None:
    """Write the file of advisories from a zip file, or its address, with advisories as JSON (OSV) or YAML (PyPA).

    Raises:
        OSError: it cannot be had.
        ValueError: there is no advisory in it.
    """
    content = io.BytesIO(urllib.request.urlopen(source).read()) if "://" in source else Path(source)  # noqa: S310
    found: dict[str, list[Advisory]] = {name: [] for name, _ in pins((root / PINS).read_text(encoding="utf-8"))}
    newest = ""
    with zipfile.ZipFile(content) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith((".json", ".yaml")):
                continue
            text = archive.read(name)
            entry = json.loads(text) if name.endswith(".json") else yaml.load(text, _LOADER)  # noqa: S506 (text only)
            if not isinstance(entry, dict) or "modified" not in entry:
                continue  # no advisory
            newest = max(newest, entry["modified"])
            for part in () if "withdrawn" in entry else entry.get("affected", ()):
                package = part.get("package", {})
                if package.get("ecosystem") == "PyPI" and (package_name := canonicalize_name(package["name"])) in found:
                    found[package_name].append(_kept(entry, part))
    if not newest:
        raise ValueError(f"{source}: there is no advisory in it")
    data = {"source": source if "://" in source else Path(source).name, "date": newest[:10], "advisories": found}
    (root / DATA).write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _kept(entry: Advisory, part: Advisory) -> Advisory:
    """Return what is needed of an advisory: of the versions that are listed, those which are in no range."""
    ranges = [each["events"] for each in part.get("ranges", ()) if each["type"] == "ECOSYSTEM"]
    kept: Advisory = {"id": entry["id"], "aliases": entry.get("aliases", []), "ranges": ranges, "versions": []}
    return {**kept, "versions": [version for version in part.get("versions", ()) if not affected(version, kept)]}


def main(arguments: list[str], root: Path = ROOT, today: dt.date | None = None) -> int:
    """Refresh if that is asked for, then audit."""
    if arguments[:1] == ["--refresh"] and len(arguments) <= 2:
        refresh(root, *arguments[1:] or [EXPORT])
    elif arguments:
        print(__doc__)
        return 2
    return audit(root, today or dt.datetime.now(dt.timezone.utc).date())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
