"""Shorten a generated JSON schema: no descriptions, one definition a line, so that a new version is a readable difference."""

from __future__ import annotations

import json
import sys
from typing import Any


def without_prose(node: Any) -> Any:
    """Return a schema without what is for readers only; a property that happens to have such a name stays."""
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: without_prose(value) for name, value in child.items()}
        if key == "properties"
        else without_prose(child)
        for key, child in node.items()
        if key not in {"description", "default", "deprecated"}
    }


def main() -> None:
    """Read a schema from standard input and write it shorter to standard output."""
    schema = without_prose(json.load(sys.stdin))
    lines = (f"{json.dumps(name)}: {json.dumps(body)}" for name, body in sorted(schema["definitions"].items()))
    head = {
        "$schema": schema["$schema"],
        "$comment": f"From @grafana/schema {sys.argv[1]} by scripts/grafana_schema.sh.",
    }
    print(json.dumps(head)[:-1] + f', "$ref": {json.dumps(schema["$ref"])}, "definitions": {{')
    print(",\n".join(lines))
    print("}}")


if __name__ == "__main__":
    main()
