# SPDX-License-Identifier: Apache-2.0
"""Distillation methods: one class per file, found by name.

For the trainer:

    method = method_named("memkd+kd")                      # or "kd", or with options "kd:temperature=2"
    extra = method.parameters(P, student_hidden, teacher_hidden, generator)       # train these beside the students
    loss = method.loss(student, teacher, labels, weight, extra, step)             # [P]; backward on its sum

`StepContext` carries more than the batch. `student_logits(x) -> [P, B', K]` and `teacher_logits(x) -> [B', K]` run the
models again on perturbed inputs, as temporal saliency distillation does; these are new each step, so no cache serves them.
`student_readout(hidden)` and `teacher_readout(hidden)` are the classification heads, for every time step; `head_weight` and
`head_bias` are the students'.
"""

from dataclasses import fields
from typing import Any

from memkd_edge.distillation.methods.attention import AttentionTransfer
from memkd_edge.distillation.methods.base import Base
from memkd_edge.distillation.methods.combination import Combination
from memkd_edge.distillation.methods.dkd import DecoupledKD
from memkd_edge.distillation.methods.dt2w import ShapeAlignedDistillation
from memkd_edge.distillation.methods.fitnet import FitNet
from memkd_edge.distillation.methods.kd import KnowledgeDistillation
from memkd_edge.distillation.methods.losses import cross_entropy
from memkd_edge.distillation.methods.memkd import MemKD, MemKDPrinted
from memkd_edge.distillation.methods.memkd_belief import BeliefMemKD
from memkd_edge.distillation.methods.method import METHODS, Method, Outputs, StepContext, register
from memkd_edge.distillation.methods.rkd import RelationalKD
from memkd_edge.distillation.methods.tsd import TemporalSaliencyDistillation
from memkd_edge.errors import UsageError

__all__ = [
    "METHODS",
    "AttentionTransfer",
    "Base",
    "BeliefMemKD",
    "Combination",
    "DecoupledKD",
    "FitNet",
    "KnowledgeDistillation",
    "MemKD",
    "MemKDPrinted",
    "Method",
    "Outputs",
    "RelationalKD",
    "ShapeAlignedDistillation",
    "StepContext",
    "TemporalSaliencyDistillation",
    "cross_entropy",
    "method_named",
    "register",
]


def method_named(text: str) -> Method:
    """Return the method that `text` describes; its `name` is `text`.

    `text` is a registered name, options after colons, parts of a combination joined by plus: "memkd", "kd:temperature=2",
    "memkd:denominator=mean:pairs=50+kd".

    Raises:
        UsageError: no such method or option, or a value of the wrong type.
    """
    parts = [_single(part) for part in text.split("+")]
    method = parts[0] if len(parts) == 1 else Combination(parts)
    method.name = text
    return method


def _single(text: str) -> Method:
    name, *settings = text.split(":")
    if name not in METHODS:
        raise UsageError(f"no distillation method {name!r}; there are {', '.join(sorted(METHODS))}, and a+b combines two")
    cls = METHODS[name]
    kinds: dict[str, type[Any]] = {field.name: type(field.default) for field in fields(cls)}  # type: ignore[arg-type]
    options: dict[str, Any] = {}
    for setting in settings:
        option, _, value = setting.partition("=")
        if option not in kinds:
            raise UsageError(f"method {name!r} has no option {option!r}; it takes {', '.join(sorted(kinds)) or 'none'}")
        try:
            options[option] = kinds[option](value)
        except ValueError as error:
            raise UsageError(f"method {name!r}: {option}={value!r} is not of type {kinds[option].__name__}") from error
    return cls(**options)
