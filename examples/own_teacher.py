# SPDX-License-Identifier: Apache-2.0
"""A torch module of your own teaches: it gives logits and a hidden sequence, of any width."""

import numpy as np
import torch
from signals import recordings
from torch import Tensor, nn

import memkd_edge as me

STEPS = 100


class Teacher(nn.Module):
    """A GRU; [B, T, C] -> logits [B, K] and hidden states [B, T, H]."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(channels, 48, batch_first=True)
        self.head = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden, _ = self.gru(x)
        return self.head(hidden[:, -1]), hidden


def windows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut windows of one label: x [N, T, C], y [N], and whose they are [N]."""
    frame = recordings(people=8)
    x, y, groups = [], [], []
    for subject, one in frame.groupby("subject"):
        signal, labels = one[["acc_x", "acc_y"]].to_numpy(np.float32), one["label"].to_numpy()
        for start in range(0, len(signal) - STEPS + 1, STEPS // 2):
            if len(set(labels[start : start + STEPS])) == 1:
                x.append(signal[start : start + STEPS])
                y.append(labels[start])
                groups.append(subject)
    return np.stack(x), np.array(y), np.array(groups)


x, y, groups = windows()
np.savez("shaking_windows.npz", X_train=x, y_train=y, groups_train=groups)

# Train it as you like; inputs are normalised as memkd-edge does it, over the training part.
torch.manual_seed(0)
teacher = Teacher(x.shape[2], 2)
normal = torch.from_numpy((x - x.mean((0, 1))) / x.std((0, 1)))
target = torch.from_numpy((y == "shake").astype(np.int64))
optimiser = torch.optim.Adam(teacher.parameters(), 0.01)
for _ in range(30):
    optimiser.zero_grad()
    nn.functional.cross_entropy(teacher(normal)[0], target).backward()
    optimiser.step()

run = me.distill(
    dataset="shaking_windows.npz", groups="groups", teacher_model=teacher.eval(), hidden=4, name="own-teacher", force=True
)
print("test accuracy:", run.read_json("metrics.json")["student"]["test"]["accuracy"])
