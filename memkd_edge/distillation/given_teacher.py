# SPDX-License-Identifier: Apache-2.0
"""A teacher that was trained elsewhere: what it has to answer is checked before a student learns from it."""

from typing import Any

import torch
from torch import Tensor, nn

from memkd_edge.distillation.stream_teacher import head_of
from memkd_edge.distillation.teacher import TeacherModel
from memkd_edge.errors import UsageError

SAME = 0.01  # of the largest of two answers, up to which they are the same: kernels of other batch sizes round otherwise


def check_given(model: TeacherModel, x: Tensor, classes: int, *, along_streams: bool) -> None:
    """Refuse a given teacher whose answers are none. A torch module is put into evaluation mode, as it has to be.

    Args:
        x: normalised series [B, T, C] of two or more.
        along_streams: its hidden sequence is read at every sample, by `head`.

    Raises:
        UsageError: no torch module, one that raises, shapes that do not fit, NaN, an answer that depends on the rest of the batch
            or, along streams, on what comes later.
    """
    if isinstance(model, type) or not (callable(model) and hasattr(model, "parameters")):
        raise UsageError(
            f"teacher_model takes a trained torch module, and this is of type {type(model).__name__}; a .safetensors file is for "
            "the option teacher"
        )
    if isinstance(model, nn.Module):
        model.eval()
    (batch, steps, _), half = x.shape, x.shape[1] // 2
    with torch.no_grad():
        found = _asked(model, x)
        shapes = _shapes(found)
        if len(shapes) != 2 or shapes[0] != [batch, classes] or len(shapes[1]) != 3 or shapes[1][:2] != [batch, steps]:
            raise UsageError(
                f"the teacher answers {' and '.join(map(str, shapes))} to series {list(x.shape)}; logits [{batch}, {classes}] "
                f"and a hidden sequence [{batch}, {steps}, H] are expected"
            )
        logits, hidden = found
        if not (logits.isfinite().all() and hidden.isfinite().all()):
            raise UsageError("the teacher's answers are not finite; did its training diverge?")
        alone, alone_hidden = _asked(model, x[-1:])
        if not (_same(alone, logits[-1:]) and _same(alone_hidden, hidden[-1:])):
            raise UsageError(
                "the teacher answers a series otherwise when others stand beside it; it takes [B, T, C], so its layers need "
                "batch_first=True, and nothing in it may be drawn at random"
            )
        if not along_streams:
            return
        head = head_of(model)
        if (head.in_features, head.out_features) != (hidden.shape[-1], classes):
            raise UsageError(
                f"the teacher's head reads {head.out_features} logits from {head.in_features} features; along streams it reads "
                f"{classes} from the {hidden.shape[-1]} of the hidden sequence, at every sample"
            )
        if head.weight.dtype != hidden.dtype:
            raise UsageError(
                f"the teacher's head is {head.weight.dtype} and its hidden sequence {hidden.dtype}; give teacher.float()"
            )
        if half and not _same(_asked(model, x[:, :half])[1], hidden[:, :half]):
            raise UsageError("the teacher looks ahead, as bidirectional ones do; along streams it cannot")


def _asked(model: TeacherModel, x: Tensor) -> Any:
    """Return what the model answers to series x."""
    try:
        return model(x)
    except Exception as error:  # whatever code of one's own raises
        remedy = ""
        for weight in model.parameters():
            if weight.dtype != x.dtype:
                remedy = f"; its weights are {weight.dtype}: give teacher.float()"
            if weight.device != x.device:
                remedy = f'; its weights are on {weight.device}: give teacher.to("{x.device}")'
        raise UsageError(
            f"the teacher raises {type(error).__name__} at series {list(x.shape)}, {x.dtype} on {x.device}: {error}{remedy}"
        ) from error


def _shapes(found: object) -> list[list[int]]:
    """Return the shapes of what a teacher answers, [] of what is no tensor."""
    parts = found if isinstance(found, tuple | list) else [found]
    return [list(part.shape) if isinstance(part, Tensor) else [] for part in parts]


def _same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= SAME * torch.maximum(a.abs().max(), b.abs().max()))
