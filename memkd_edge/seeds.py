# SPDX-License-Identifier: Apache-2.0
"""Every random generator's seed, derived from the one seed of a run.

Each is seed * stride + number. A stride is larger than any number that occurs beside it, so runs of different seeds never share a
generator; it is prime and differs from rule to rule, so that the rules' seeds do not fall in step either.
"""

_LIMIT = 2**63  # of what torch takes as a seed


def of_teacher(seed: int, number: int) -> int:
    """Return the seed of the run's teacher `number`, one of its initialisations."""
    return (seed * 1_009 + number) % _LIMIT


def of_teacher_epoch(teacher: int, epoch: int) -> int:
    """Return the seed of one epoch of the teacher whose seed is `teacher`: the order of its series and their noise."""
    return (teacher * 1_000_003 + epoch) % _LIMIT


def of_candidate(seed: int, number: int) -> int:
    """Return the seed of the initial weights of students `number`, whatever their method."""
    return (seed * 100_003 + number) % _LIMIT


def of_epoch(seed: int, epoch: int) -> int:
    """Return the seed of the order of the series in one epoch of the students."""
    return (seed * 1_000_000_007 + 2 * epoch) % _LIMIT


def of_chunk(seed: int, number: int) -> int:
    """Return the seed of the noise on a chunk of streams, and of which lanes are reset before it."""
    return (seed * 1_000_000_009 + number) % _LIMIT


def of_step(seed: int, step: int) -> int:
    """Return the seed of what one training step of the students draws; never that of an epoch."""
    return (seed * 1_000_000_007 + 2 * step + 1) % _LIMIT
