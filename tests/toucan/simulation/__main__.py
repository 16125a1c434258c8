"""``python -m tests.toucan.simulation``: one seed, a range of them, or as many as there is time for."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator

import structlog

from .mutations import MUTATIONS
from .run import run_scenario
from .scenario import DURATION_S, SHAPES, draw_scenario

SEED_BITS = 32


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.toucan.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="plays this one")
    parser.add_argument("--seeds", metavar="A:B", help="plays A to B - 1")
    parser.add_argument("--hours", type=float, help="plays fresh seeds for so long")
    parser.add_argument(
        "--duration",
        type=float,
        default=DURATION_S,
        metavar="S",
        help="virtual seconds in which things go wrong",
    )
    parser.add_argument("--shape", choices=SHAPES, default="anything", help="what goes wrong")
    parser.add_argument("--mutation", choices=MUTATIONS, help="breaks something on purpose")
    parser.add_argument("--go-on", action="store_true", help="does not stop at the first violation")
    parser.add_argument("--lines", type=int, default=60, help="so much of what happened is shown")
    return parser.parse_args()


def _seeds(arguments: argparse.Namespace) -> Iterator[int]:
    if arguments.seed is not None:
        yield arguments.seed
    elif arguments.seeds:
        first, _, last = arguments.seeds.partition(":")
        yield from range(int(first), int(last))
    else:
        stop_at = time.monotonic() + (arguments.hours or 0.05) * 3600
        while time.monotonic() < stop_at:
            yield secrets.randbits(SEED_BITS)


def main() -> int:
    """Returns 1 if something was violated."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    arguments = _arguments()
    mutation = MUTATIONS[arguments.mutation] if arguments.mutation else None
    counts: Counter[str] = Counter()
    began_at, runs, violations = time.monotonic(), 0, 0
    for seed in _seeds(arguments):
        outcome = run_scenario(
            draw_scenario(seed, duration_s=arguments.duration, shape=arguments.shape), mutation
        )
        counts += outcome.counts
        runs += 1
        if outcome.violation:
            violations += 1
            print(outcome.report(arguments.lines), flush=True)
            if not arguments.go_on:
                break
        elif not runs % 100:
            print(f"{runs} seeds, {violations} violations, {time.monotonic() - began_at:.0f} s", flush=True)
    print(f"{runs} seeds, {violations} violations, {time.monotonic() - began_at:.0f} s")
    for name, count in sorted(counts.items()):
        print(f"{count:10}  {name}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
