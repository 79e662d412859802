#!/usr/bin/env bash
# Runs the behaviour of recording against the oldest OpenTelemetry SDK that pyproject.toml admits, in an environment of its
# own: scripts/oldest_sdk.sh [arguments of pytest]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh

version=$(sed -n 's/.*"opentelemetry-sdk>=\([0-9.]*\)".*/\1/p' pyproject.toml)
exporter=$(sed -n 's/.*"opentelemetry-exporter-prometheus>=\([0-9.b]*\)".*/\1/p' pyproject.toml)
# Tools come in the versions of constraints.txt; of OpenTelemetry the oldest, with what that version itself asks for.
constraints=.cache/oldest-sdk/constraints.txt
mkdir -p .cache/oldest-sdk
grep -v -i -e '^opentelemetry' -e '^protobuf' -e '^googleapis' constraints.txt >"$constraints"
environment ".cache/oldest-sdk/$version" "$constraints" \
    "opentelemetry-sdk==$version.*" "opentelemetry-exporter-prometheus==$exporter" \
    prometheus-client urllib3 rich PyYAML jsonschema hypothesis pytest pytest-timeout
echo "opentelemetry-sdk $version"
[ $# -gt 0 ] || set -- tests/recording tests/facade
exec ".cache/oldest-sdk/$version/bin/python" -m pytest -p no:cacheprovider "$@"
