"""The longer fuzz: `python -m tests.readers --inputs 1000000 --seconds 600`, from the root of the repository."""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict

from .harness import for_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    started = time.monotonic()
    totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, outcomes in for_seconds(options.seconds, options.inputs):
        totals[name] += outcomes
    for name, counts in totals.items():
        print(f"{name:<24} {counts.total():>9,} inputs, {counts['read']:>9,} read, {counts['refused']:>9,} refused")
    ran = sum(counts.total() for counts in totals.values())
    print(f"{ran:,} inputs in {time.monotonic() - started:.0f} s: nothing but refusals")


if __name__ == "__main__":
    main()
