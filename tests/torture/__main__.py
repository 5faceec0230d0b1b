# SPDX-License-Identifier: Apache-2.0
"""`make torture`: commands killed at random moments; ends with 1 when one does not end as if nothing had happened."""

import argparse
import random
import tempfile
from pathlib import Path

from tests.torture.commands import commands
from tests.torture.kills import fresh, killed, undisturbed


def main() -> int:
    """Kill the commands in turn until there were as many kills as asked for, and print what they broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--command", action="append", help="only this one; may be given again")
    arguments = parser.parse_args()
    chosen = {name: one for name, one in commands().items() if name in (arguments.command or [name])}
    rng, kills, faults, number = random.Random(arguments.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as root:
        expected = {}
        for name, command in chosen.items():
            with fresh(Path(root)) as folder:
                expected[name] = undisturbed(command, folder)
            print(f"{name}: {expected[name][1]:.1f} s undisturbed", flush=True)
        while kills < arguments.kills:
            name = list(chosen)[number % len(chosen)]
            number += 1
            with fresh(Path(root)) as folder:
                trial = killed(chosen[name], folder, *expected[name], min(rng.randint(1, 3), arguments.kills - kills), rng)
            kills += trial.kills
            faults += len(trial.faults)
            print(f"{kills} kills; {name}: {trial.kills}", *(f"FAULT: {fault}" for fault in trial.faults), sep="; ", flush=True)
    print(f"{number} commands, {kills} kills, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    raise SystemExit(main())
