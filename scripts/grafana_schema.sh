#!/bin/sh
# Generate tests/assets/grafana-dashboard.schema.json, which dashboards are validated with, from Grafana's own types.
# Needs node and npm; run it after a new version of Grafana, and say the version of @grafana/schema (default: as committed).
set -eu
cd "$(dirname "$0")/.."
version="${1:-13.2.3}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

cp scripts/grafana_schema/dashboard.ts "$work"
(
    cd "$work"
    npm init --yes >/dev/null
    npm install --silent --ignore-scripts --no-audit --no-fund "@grafana/schema@$version" ts-json-schema-generator@2.4.0
    # The package's types refer to things that are not in it; those fields are simply not checked.
    npx ts-json-schema-generator --path dashboard.ts --type Dashboard --no-type-check --out schema.json
)
python3 scripts/grafana_schema/compact.py "$version" <"$work/schema.json" >tests/assets/grafana-dashboard.schema.json
