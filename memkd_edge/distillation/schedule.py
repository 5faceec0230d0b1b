# SPDX-License-Identifier: Apache-2.0
"""The teachers' learning rate over the epochs. Students keep theirs: for them it did not pay (models/ablation.md)."""

import math

WARM_UP_STEPS = 20
FINAL_RATE = 0.02  # of the peak learning rate, at the end of the cosine


def rate(step: int, steps: int) -> float:
    """Return the learning rate's factor: linear warm-up, then half a cosine down to `FINAL_RATE`."""
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm_up * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps)))
