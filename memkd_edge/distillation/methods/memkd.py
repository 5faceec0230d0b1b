# SPDX-License-Identifier: Apache-2.0
"""MemKD: match how far the hidden state moves over sub-sequences, relative to where it was."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memkd_edge.distillation.discrepancy import DENOMINATORS, long_pairs, mismatch, short_pairs
from memkd_edge.distillation.methods.method import Method, Outputs, StepContext, register
from memkd_edge.errors import UsageError


@register
@dataclass
class MemKD(Method):
    """Stabilised MemKD: beta * L_short + gamma * L_long with a floor under the denominator of the discrepancy r.

        L_short = mean over t of      SmoothL1(r_student(t, t + 1), r_teacher(t, t + 1))
        L_long  = mean over (s, e) of SmoothL1(r_student(s, e),     r_teacher(s, e)),     fresh random pairs each step

    The method's weight multiplies both terms. Against the paper: ||h_s|| has a floor of half the series' mean state norm
    (`denominator`), because early states are near zero and their ratios swamp the loss; long pairs have e >= s + 2.

    Defaults: denominator floored, short and long terms with beta = gamma = 1, 100 pairs; weights 1, 0.1, 10, 0.3, 3.
    """

    name = "memkd"
    paper = "MemKD, arXiv 2601.04264 (ICASSP 2025): memory discrepancy, short-term and long-term loss; stabilised here"
    weights = (1.0, 0.1, 10.0, 0.3, 3.0)
    along_streams = True

    denominator: str = "floored"  # floored | mean | printed, see discrepancy.py
    beta: float = 1.0  # weight of the short-term loss; 0 switches it off
    gamma: float = 1.0  # weight of the long-term loss; 0 switches it off
    pairs: int = 100  # long pairs drawn each step

    def __post_init__(self) -> None:
        if self.denominator not in DENOMINATORS:
            raise UsageError(f"{self.name}: denominator {self.denominator!r} is not one of {', '.join(DENOMINATORS)}")
        if not (self.pairs >= 1 and self.beta >= 0 and self.gamma >= 0 and 0 < self.beta + self.gamma < math.inf):
            raise UsageError(f"{self.name}: needs pairs >= 1, beta and gamma finite and >= 0, and one of the two above 0")

    def term(self, student: Outputs, teacher: Outputs, labels: Tensor, extra: dict[str, Tensor], step: StepContext) -> Tensor:
        length = step.x.shape[1]
        parts = []  # weight of the mean over the pairs, and the pairs
        if self.beta:
            parts.append((self.beta, *short_pairs(length)))
        if self.gamma:
            parts.append((self.gamma, *long_pairs(length, self.pairs, step.generator)))
        starts = torch.cat([start for _, start, _ in parts])
        ends = torch.cat([end for _, _, end in parts])
        share = torch.cat([torch.full((len(start),), weight / len(start)) for weight, start, _ in parts])
        return mismatch(student.hidden, teacher.hidden, starts, ends, share, self.denominator)


@register
@dataclass
class MemKDPrinted(MemKD):
    """MemKD as printed: the denominator is ||h_s|| alone. Kept for comparison; it can do worse than no distillation.

    Defaults: as MemKD with denominator printed; weights 1, 0.1, 10, 0.01, 100. The authors' grid is 0.1 .. 300.
    """

    name = "memkd-printed"
    paper = "MemKD, arXiv 2601.04264 (ICASSP 2025), as printed"
    weights = (1.0, 0.1, 10.0, 0.01, 100.0)
    along_streams = False

    denominator: str = "printed"
