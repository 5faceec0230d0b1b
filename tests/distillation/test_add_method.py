# SPDX-License-Identifier: Apache-2.0
"""The example of the lab notebook, "Adding a method": it registers, trains and is found by name."""

import torch

from memkd_edge.distillation.methods import METHODS, method_named
from tests.distillation.batches import Batch

SNIPPET = '''
from dataclasses import dataclass

from memkd_edge.distillation.methods import Method, register


@register
@dataclass
class LogitMatching(Method):
    """Mean squared difference of the logits. Defaults: centred = 1; weights 1, 0.1."""

    name = "logit-matching"
    paper = "Ba, Caruana 2014, Do Deep Nets Really Need to be Deep?, arXiv 1312.6184, equation 1"
    weights = (1.0, 0.1)
    centred: int = 1  # 1: the logits' mean over the classes does not count

    def term(self, student, teacher, labels, extra, step):
        difference = student.logits - teacher.logits  # [P, B, K]
        return (difference - self.centred * difference.mean(-1, keepdim=True)).square().mean((1, 2))
'''


def test_the_example_of_the_lab_notebook_is_a_method() -> None:
    try:
        exec(SNIPPET, {})
        batch, method = Batch(), method_named("logit-matching:centred=0+kd")
        weight = torch.ones(3, dtype=torch.float64)
        loss = method.loss(batch.student, batch.teacher, batch.labels, weight, {}, batch.step())
        loss.sum().backward()
        plain = (batch.student.logits - batch.teacher.logits).square().mean((1, 2))
        torch.testing.assert_close(batch.term(method_named("logit-matching:centred=0")), plain)
        assert loss.shape == (3,)
        assert batch.student.logits.grad is not None
    finally:
        METHODS.pop("logit-matching", None)
