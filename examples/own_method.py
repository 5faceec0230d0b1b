# SPDX-License-Identifier: Apache-2.0
"""A distillation method of your own: one class, written for a batch of students, found by its name."""

from dataclasses import dataclass
from typing import Any

from signals import recordings
from torch import Tensor

import memkd_edge as me
from memkd_edge.distillation.methods import Method, register


@register
@dataclass
class LogitMatching(Method):
    """Mean squared difference of the logits. Defaults: centred = 1; weights 1, 0.1."""

    name = "logit-matching"
    paper = "Ba, Caruana 2014, Do Deep Nets Really Need to be Deep?, arXiv 1312.6184, equation 1"
    weights = (1.0, 0.1)
    along_streams = True  # the term makes sense where the state goes on and classes change
    centred: int = 1  # 1: the logits' mean over the classes does not count

    def term(self, student: Any, teacher: Any, labels: Tensor, extra: Any, step: Any) -> Tensor:
        difference = student.logits - teacher.logits  # [P, B, K]; along streams the wanted samples take the place of B
        return (difference - self.centred * difference.mean(-1, keepdim=True)).square().mean((1, 2))


data = me.recordings_from_frame(recordings(), name="shaking")
run = me.distill(data=data, method="base,logit-matching", hidden=4, name="own-method", force=True)
for row in run.read_json("metrics.json")["methods"]:
    print(row["method"], row["weight"], "kept" if row["kept"] else "")
