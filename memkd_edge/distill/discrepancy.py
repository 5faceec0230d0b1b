"""The memory discrepancy r(s, e): how far a hidden state moved from step s to step e, relative to where it was.

    r(h; s, e) = ||h_e - h_s||_2 / D(h, s)            h: hidden sequence [..., T, H], s < e

D is the denominator (arXiv 2601.04264 prints the first form):

    printed   ||h_s||
    floored   max(||h_s||, half the mean over time of ||h_t|| of that series)
    mean      the mean over time of ||h_t|| of that series

r is a scalar per pair, so a teacher and a student of different width compare directly; it does not change when h is scaled.
"""

import torch
from torch import Tensor

DENOMINATORS = ("floored", "mean", "printed")
_FLOOR = 0.5  # share of the mean state norm below which ||h_s|| does not count
_TINY = 1e-6  # keeps the ratio finite where the states are all zero


class Discrepancy:
    """The memory discrepancy of one batch of hidden sequences; the state norms are computed once for all pairs."""

    def __init__(self, hidden: Tensor, denominator: str) -> None:
        """Prepare for `hidden` [..., T, H], T >= 2, with one of `DENOMINATORS`."""
        self.hidden = hidden
        norm = torch.linalg.vector_norm(hidden, dim=-1)  # [..., T]; its gradient at zero is zero
        mean = norm.mean(-1, keepdim=True)
        if denominator == "floored":
            self.scale = torch.maximum(norm, _FLOOR * mean) + _TINY
        elif denominator == "mean":
            self.scale = (mean + _TINY).expand_as(norm)
        else:
            self.scale = norm + _TINY

    def short(self) -> Tensor:
        """Return r of each two neighbouring steps, [..., T - 1]."""
        moved: Tensor = torch.linalg.vector_norm(self.hidden.diff(dim=-2), dim=-1)
        return moved / self.scale[..., :-1]

    def at(self, starts: Tensor, ends: Tensor) -> Tensor:
        """Return r of the pairs (starts[i], ends[i]), both int64 [M]: [..., M]."""
        starts, ends = starts.to(self.hidden.device), ends.to(self.hidden.device)
        step = self.hidden.index_select(-2, ends) - self.hidden.index_select(-2, starts)
        moved: Tensor = torch.linalg.vector_norm(step, dim=-1)
        return moved / self.scale.index_select(-1, starts)


def long_pairs(length: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw `count` pairs (s, e) with e >= s + 2, uniformly and with replacement; all of them when there are no more than that.

    Args:
        length: number of time steps T, >= 3.
        count: pairs wanted, >= 1.
        generator: on the CPU.

    Returns:
        starts and ends, int64 [M], M <= count, on the CPU.

    Raises:
        ValueError: fewer than 3 steps have no long pair.
    """
    if length < 3:
        raise ValueError(f"a series of {length} steps has no two steps further apart than neighbours; 3 are needed")
    # Two different positions a < b of length - 1, read as s = a and e = b + 1: every pair with e >= s + 2 exactly once.
    positions = length - 1
    if positions * (positions - 1) // 2 <= count:
        first, second = torch.triu_indices(positions, positions, offset=1)
    else:
        one = torch.randint(positions, (count,), generator=generator)
        other = torch.randint(positions - 1, (count,), generator=generator)
        other = other + (other >= one)
        first, second = torch.minimum(one, other), torch.maximum(one, other)
    return first, second + 1
