#!/usr/bin/env bash
# Runs the behaviour of recording against the oldest OpenTelemetry SDK that pyproject.toml admits, in an environment of its
# own: scripts/oldest_sdk.sh [arguments of pytest]
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/.*"opentelemetry-sdk>=\([0-9.]*\)".*/\1/p' pyproject.toml)
exporter=$(sed -n 's/.*"opentelemetry-exporter-prometheus>=\([0-9.b]*\)".*/\1/p' pyproject.toml)
# Tools come in the versions of constraints.txt; of OpenTelemetry the oldest, with what that version itself asks for.
constraints=.cache/oldest-sdk/constraints.txt
environment=.cache/oldest-sdk/$version
if [ ! -e "$environment/.installed" ]; then
    mkdir -p .cache/oldest-sdk
    grep -v -i -e '^opentelemetry' -e '^protobuf' -e '^googleapis' constraints.txt >"$constraints"
    "${PYTHON:-python3}" -m venv --clear "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" \
        "opentelemetry-sdk==$version.*" "opentelemetry-exporter-prometheus==$exporter" \
        prometheus-client urllib3 rich PyYAML jsonschema hypothesis pytest pytest-timeout
    touch "$environment/.installed"
fi
echo "opentelemetry-sdk $version"
[ $# -gt 0 ] || set -- tests/recording tests/facade
exec "$environment/bin/python" -m pytest -p no:cacheprovider "$@"
