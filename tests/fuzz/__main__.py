# SPDX-License-Identifier: Apache-2.0
"""`make fuzz`: many damaged inputs for every reader; ends with 1 when one is neither answered nor refused."""

import argparse
import resource
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.readers import readers
from tests.fuzz.trial import PLACE, HangError, attempt

MEMORY_MIB = 512  # beyond what the packages and the sound inputs take


def main() -> int:
    """Try the inputs and print what failed, and the peak of the memory that reading took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="of all readers together")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--reader", action="append", help="only this one; may be given again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=PLACE) as folder:
        chosen = {name: one for name, one in readers(Path(folder)).items() if name in (arguments.reader or [name])}
        failures, tried, before = 0, 0, _peak()
        for name, reader in chosen.items():
            began, seen = time.monotonic(), set()
            for number in range(-(-arguments.inputs // len(chosen))):
                tried += 1
                try:
                    attempt(reader, f"{name}/{arguments.seed}/{number}")
                except (Exception, HangError) as error:
                    failures += 1
                    place = (type(error), traceback.extract_tb(error.__traceback__)[-1].lineno)
                    if place not in seen:
                        seen.add(place)
                        traceback.print_exception(error)
            grown = f"{_peak() - before:.0f} MiB more than at the start"
            print(f"{name}: {number + 1} inputs in {time.monotonic() - began:.1f} s, {grown}", flush=True)
    print(f"{tried} inputs, {failures} failures, memory {before:.0f} MiB at the start, {_peak():.0f} at most")
    return int(failures > 0 or _peak() - before > MEMORY_MIB)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
