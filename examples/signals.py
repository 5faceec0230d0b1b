# SPDX-License-Identifier: Apache-2.0
"""Made-up recordings for the examples: four people at rest or shaking a sensor, 50 samples a second."""

import numpy as np
import pandas as pd


def recordings(people: int = 4, seconds: float = 24.0, rate: float = 50.0) -> pd.DataFrame:
    """Return a row for each sample: recording, subject, time in s, two channels, and what the person does."""
    frames = []
    for person in range(people):
        generator = np.random.default_rng(person)
        time = np.arange(0, seconds, 1 / rate)
        shaking = (time // 3).astype(int) % 2 == 1
        x = 9.8 + generator.normal(0, 0.2, (len(time), 2))
        x[:, 0] += shaking * (2 + 0.3 * person) * np.sin(2 * np.pi * 3 * time)
        frames.append(
            pd.DataFrame(
                {
                    "recording": f"r{person}",
                    "subject": f"p{person}",
                    "time": time,
                    "acc_x": x[:, 0],
                    "acc_y": x[:, 1],
                    "label": np.where(shaking, "shake", "rest"),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
