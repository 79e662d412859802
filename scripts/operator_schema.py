"""Turn CustomResourceDefinitions of the Prometheus Operator into the JSON schemas that manifests are validated with.

    python scripts/operator_schema.py VERSION CRD.yaml … > tests/assets/prometheus-operator.schema.json

The files are in example/prometheus-operator-crd of its repository. Descriptions are left out, and what is not named is rejected: a
cluster would drop it silently.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

DROPPED = {"description", "format", "status"}


def strict(node: Any) -> Any:
    """Return a schema without prose and without what is Kubernetes' own, closed where it names properties."""
    if isinstance(node, list):
        return [strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: strict(value) for key, value in node.items() if key not in DROPPED and not key.startswith("x-")}
    if "properties" in node:
        kept["properties"] = {name: strict(value) for name, value in node["properties"].items() if name != "status"}
        kept["additionalProperties"] = False
    # Go's spelling of a case-insensitive pattern.
    if str(kept.get("pattern", "")).startswith("^(?i)"):
        del kept["pattern"]
    return kept


def main() -> None:
    """Write the schemas of the files that are named."""
    version, *files = sys.argv[1:]
    comment = f"From prometheus-operator {version}, example/prometheus-operator-crd (Apache-2.0), by scripts/operator_schema.py."
    kinds = {}
    for file in files:
        definition = yaml.safe_load(Path(file).read_text(encoding="utf-8"))["spec"]
        kinds[definition["names"]["kind"]] = strict(definition["versions"][0]["schema"]["openAPIV3Schema"])
    lines = ",\n".join(f"{json.dumps(kind)}: {json.dumps(schema)}" for kind, schema in kinds.items())
    print(f'{{"$comment": {json.dumps(comment)},\n{lines}}}')


if __name__ == "__main__":
    main()
