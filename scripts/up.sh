#!/bin/sh
# Start the whole stack in containers; says what is missing instead of failing with somebody else's message.
set -eu
cd "$(dirname "$0")/.."

if ! command -v docker >/dev/null || ! docker info >/dev/null 2>&1; then
    echo "No container engine answers: install Docker Engine (or Podman with its docker command) and start it." >&2
    echo "Without containers, \`.venv/bin/otel-metrics stack\` runs Prometheus and Alertmanager as plain processes." >&2
    exit 1
fi
if docker compose version >/dev/null 2>&1; then
    compose="docker compose"
elif command -v docker-compose >/dev/null; then
    compose="docker-compose"
else
    echo "Compose is missing: install the docker-compose-plugin, or run \`make servers\`." >&2
    exit 1
fi
scripts/make_secrets.sh
exec $compose up --build --detach --wait "$@"
