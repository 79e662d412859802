#!/usr/bin/env bash
# Runs the suite's core against the wheel, on every supported Python at hand: those on PATH, and pyenv's.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh

# Fast, and what an application calls: recording, exporter, facade, getters of this process.
core=(
    tests/facade tests/scenario
    tests/recording/test_{day_totals,exemplars,foreign_code,threads}.py
    tests/exporter/test_{collisions,exemplars,exponential,formats,names,negotiation,reader}.py
    tests/querying/test_{read_back,statistics}.py
    tests/test_{catalogue,naming,runtime,settings,units}.py
)

at_hand() { # prints an interpreter of a version, if there is one
    local candidate
    for candidate in "python$1" $(ls -rvd "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python 2>/dev/null); do
        # A shim of pyenv may be there for a version that is not chosen.
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

rm -rf .cache/wheel
.venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps -w .cache/wheel .
root=$PWD
wheel=$(ls "$root"/.cache/wheel/*.whl)
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
ran='' missing=''
for version in 3.10 3.11 3.12 3.13 3.14; do
    PYTHON=$(at_hand "$version")
    if [ -z "$PYTHON" ]; then
        missing+=" $version"
        continue
    fi
    folder=$root/.cache/pythons/$version
    environment "$folder" constraints.txt "$wheel[cli,otlp]" hypothesis jsonschema pytest pytest-timeout
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall "$wheel"
    # The tests are the checkout's. It comes after the wheel on the path, and is not the working directory.
    printf '%s\n' "$root" "$root/scripts" >"$(ls -d "$folder"/lib/python*/site-packages)/checkout.pth"
    (
        cd "$elsewhere"
        "$folder/bin/python" -c 'import otel_metrics, sys; sys.exit(not otel_metrics.__file__.startswith(sys.prefix))'
        "$folder/bin/python" -V
        "$folder/bin/pytest" -q -c "$root/pyproject.toml" -o pythonpath= -p no:cacheprovider "${core[@]/#/$root/}"
    )
    ran+=" $version"
done
echo "The wheel was tested on Python$ran; not found:${missing:- none}"
