#!/usr/bin/env bash
# Builds what a release consists of into dist/: wheel, source distribution, SBOM, checksums. Fails where one is not as promised.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh

tools=.cache/release/tools
environment "$tools" constraints.txt hatchling build twine pyroma cyclonedx-bom
# The commit's time stands for the build's, so that everybody builds the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 315532800)
export SOURCE_DATE_EPOCH

rm -rf dist .cache/release/again
for folder in dist .cache/release/again; do
    "$tools/bin/python" -m build --no-isolation --outdir "$folder" . >"$tools/build.log" 2>&1 ||
        { cat "$tools/build.log" >&2; exit 1; }
done
diff -r dist .cache/release/again || { echo "two builds of one commit differ" >&2; exit 1; }

"$tools/bin/twine" check --strict dist/*
# Of ten: the project has no page and no address of a maintainer to name yet.
"$tools/bin/pyroma" --min 8 .

# The SBOM names what an installation with all extras consists of: the versions that the tests ran with, their licences.
installed=.cache/release/installed
"$tools/bin/python" -m venv --clear --without-pip "$installed"
wheel=$(ls dist/*.whl)
"$tools/bin/python" -m pip --python "$installed" install --quiet --disable-pip-version-check \
    -c constraints.txt "$wheel[cli,otlp,web-config]"
sbom=${wheel%-py3-none-any.whl}.cdx.json
"$tools/bin/cyclonedx-py" environment --pyproject pyproject.toml --mc-type library --output-reproducible --validate --gather-license-texts \
    -o "$sbom" "$installed/bin/python"
"$tools/bin/python" scripts/sbom.py "$sbom" "$installed"

(cd dist && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
