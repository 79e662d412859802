"""``python -m examples.learning_engine``: run the engine for a while, or with ``--serve`` until it is stopped."""

from __future__ import annotations

import argparse
import logging
import signal
import threading

from examples.learning_engine import incident
from examples.learning_engine.corpus import sources
from examples.learning_engine.engine import LearningEngine
from otel_metrics import configure, serve, shutdown


def main() -> None:
    """Run the engine and serve its metrics meanwhile."""
    parser = argparse.ArgumentParser(prog="python -m examples.learning_engine", description=__doc__)
    parser.add_argument("--generations", type=int, help="how many generations to run")
    parser.add_argument("--seconds", type=float, default=20.0, help="begin new generations for so long (default: 20)")
    parser.add_argument("--serve", action="store_true", help="go on until stopped, with a pause after every generation")
    parser.add_argument(
        "--pause", type=float, default=10.0, help="seconds between generations with --serve (default: 10)"
    )
    parser.add_argument(
        "--incident", type=float, default=120.0, help="seconds until the incident with --serve (default: 120)"
    )
    parser.add_argument("--host", help="address to serve /metrics on (default: loopback only)")
    parser.add_argument("--port", type=int, help="port to serve /metrics on, 0 for any free one (default: 9464)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")

    settings = {name: value for name in ("host", "port") if (value := getattr(arguments, name)) is not None}
    # One rejected value is part of the example; strict mode would raise instead.
    configure(strict=False, **settings)
    engine = LearningEngine(sources())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: engine.stop())
    with serve() as server:
        print(f"Metrics: {server.url}", flush=True)
        if arguments.serve:
            trouble = threading.Timer(arguments.incident, _announce, [engine])
            trouble.daemon = True
            trouble.start()
            completed = engine.run(pause=arguments.pause)
            trouble.cancel()
        else:
            completed = engine.run(generations=arguments.generations, seconds=arguments.seconds)
    for generation in completed:
        print(
            f"generation {generation.number + 1}: learnt {generation.learnt} documents, answered {len(generation.answers)} questions, "
            f"{generation.accuracy:.1%} right (guessing: {generation.chance:.1%}), {generation.confidence:.1%} sure"
        )
    shutdown()


def _announce(engine: LearningEngine) -> None:
    print(f"Incident, for the next generation: {incident.WHAT}", *incident.WHERE, sep="\n  ", flush=True)
    print("  Here that takes five minutes to fire, and an hour and a quarter to resolve.", flush=True)
    engine.incident.set()


if __name__ == "__main__":
    main()
