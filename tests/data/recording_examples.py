# SPDX-License-Identifier: Apache-2.0
"""Small recordings for tests: who does what when, and the files that hold it."""

from pathlib import Path

import numpy as np

HEADER = "time,acc_x,acc_y,label"


def signal(subject: int, rows: int = 200, rate: float = 50.0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return stamps [n] in seconds, values [n, 2] and labels [n]: rest, then walking, whose steps have 2 Hz."""
    seconds = np.arange(rows) / rate
    labels = ["walk" if second >= rows / rate / 2 else "rest" for second in seconds]
    walking = np.array([label == "walk" for label in labels])
    swing = np.sin(2 * np.pi * 2 * seconds + subject)
    values = np.stack([walking * swing, 9.81 + 0.1 * subject * np.cos(seconds)], axis=1)
    return seconds, values, labels


def lines(seconds: np.ndarray, values: np.ndarray, labels: list[str]) -> list[str]:
    return [
        f"{second:.6g},{','.join(f'{value:.6f}' for value in row)},{label}"
        for second, row, label in zip(seconds, values, labels, strict=True)
    ]


def write(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def folder(path: Path, subjects: int = 4, recordings: int = 2, rows: int = 200) -> Path:
    """Write s1_1.csv, s1_2.csv, ... with a column of time in seconds and a label in every row."""
    path.mkdir(exist_ok=True)
    for subject in range(1, subjects + 1):
        for recording in range(1, recordings + 1):
            write(path / f"s{subject}_{recording}.csv", lines(*signal(subject, rows)))
    return path
