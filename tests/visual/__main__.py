"""``python -m tests.visual``: draw the dashboards as Grafana would, look at every picture, say what is wrong.

Without arguments every picture that is looked at is drawn, which is what ``make visual`` does. Names of dashboards (or
files) draw these only; ``--state``, ``--width`` and the rest choose what they are drawn with. Pictures, an index and
the texts that they show go to ``build/visual``. Exit status 1 when something is wrong or differs from what was reviewed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from otel_metrics.assets.dashboards import texts
from tests.dialects import CLASSIC
from tests.servers import ROOT
from tests.visual import gallery, states
from tests.visual.company import LEVELS
from tests.visual.drawing import Picture, draw
from tests.visual.past import running

DASHBOARDS = texts(CLASSIC, levels=LEVELS)
"""As the server at hand understands them; past histograms are classic ones."""

OUT = ROOT / "build/visual"
WIDTH = 1600
EVERY = [
    ("busy", 1280),
    ("busy", 1600),
    ("busy", 2560),
    *((state, WIDTH) for state in states.STATES if state != "busy"),
]


def begins(state: str) -> dict[str, str]:
    """The period that is drawn of a state, where it is not each dashboard's own."""
    return {"from": states.BEGINS[state]} if state in states.BEGINS else {}


def main() -> int:
    """Draw and look."""
    parser = argparse.ArgumentParser(prog="python -m tests.visual", description=__doc__)
    parser.add_argument("dashboards", nargs="*", help="names, or files (default: all)")
    parser.add_argument(
        "--state",
        action="append",
        choices=states.STATES | states.INCIDENTS,
        help="may be repeated (default: all but incidents)",
    )
    parser.add_argument("--width", action="append", type=int, help="in pixels; may be repeated (default: 1600)")
    parser.add_argument("--from", dest="begin", help="begin of the period, such as now-7d (default: the dashboard's)")
    parser.add_argument("--to", help="end of the period (default: the dashboard's)")
    parser.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="value of a variable")
    parser.add_argument("--open", action="store_true", help="open folded rows")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pictures (default: build/visual)")
    parser.add_argument("--accept", action="store_true", help="what is drawn now is what was reviewed")
    arguments = parser.parse_args()

    drafts = {Path(name).stem: Path(name).read_text(encoding="utf-8") for name in arguments.dashboards if "/" in name}
    named = {name: DASHBOARDS[name] for name in arguments.dashboards if "/" not in name}
    chosen = (drafts | named) or DASHBOARDS
    looks = EVERY
    if arguments.state or arguments.width:
        looks = [(state, width) for state in arguments.state or states.STATES for width in arguments.width or [WIDTH]]
    elif arguments.dashboards:
        looks = [("busy", WIDTH)]
    more = {
        "from": arguments.begin,
        "to": arguments.to,
        "variables": dict(pair.split("=", 1) for pair in arguments.var),
    }
    options = {name: value for name, value in more.items() if value}

    # The company records something that is no number, which is its business.
    logging.getLogger("otel_metrics").setLevel(logging.ERROR)
    started = time.monotonic()
    names = list(dict.fromkeys(state for state, _ in looks))
    with ProcessPoolExecutor(2) as pool:  # a clock of its own for each
        list(pool.map(states.built, names))
    print(f"data: {time.monotonic() - started:.0f} s", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(states.server(name))) for name in names}
        pictures = [
            # The narrow ones show what folded rows hide.
            Picture(f"{state}-{name}-{width}", servers[state].url, json.loads(text), width,
                    states.SCRAPES.get(state, 60), {"open": arguments.open or (state, width) == ("busy", 1280), **begins(state), **options})
            for state, width in looks
            for name, text in chosen.items()
        ]  # fmt: skip
        results = []
        for result in draw(pictures, arguments.out):
            results.append(result)
            print(f"[{len(results)}/{len(pictures)}] {result.name}: {len(result.trouble) or 'no'} problems", flush=True)
            for problem in result.trouble:
                print(f"    {problem}")
    as_reviewed = not drafts and not options and not arguments.open and not states.INCIDENTS.keys() & names
    if arguments.accept:
        gallery.accept(results, arguments.out, every=looks == EVERY and not arguments.dashboards)
    differing = gallery.compare(results, arguments.out) if as_reviewed else {}
    for name, found in differing.items():
        print(f"{name} is other than reviewed, {'in words' if found.fails else 'in colours only'}:")
        print("".join(f"    {line[:160]}\n" for line in found.lines[:12]), end="")
    index = gallery.write(results, differing, arguments.out)
    wrong = sum(bool(result.trouble) for result in results)
    print(
        f"{len(results)} pictures in {time.monotonic() - started:.0f} s: {wrong} with problems, "
        f"{len(differing)} other than reviewed; see {index}"
    )
    return 1 if wrong or any(found.fails for found in differing.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
