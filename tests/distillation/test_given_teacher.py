# SPDX-License-Identifier: Apache-2.0
"""A teacher of one's own that answers otherwise than a teacher does is refused before anything is trained."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from memkd_edge.config import DistillConfig
from memkd_edge.distillation.given_teacher import check_given
from memkd_edge.distillation.pipeline import distill
from memkd_edge.distillation.teacher import Series, Teacher
from memkd_edge.errors import UsageError

X = torch.randn(4, 10, 2, generator=torch.Generator().manual_seed(0))


class Own(nn.Module):
    """An LSTM as others build it: `end` makes its answer of logits and hidden sequence."""

    def __init__(self, *, classes: int = 3, features: int = 0, end=lambda logits, hidden: (logits, hidden), **layer) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.LSTM(2, 5, **{"batch_first": True, **layer})
        self.features = features or (10 if layer.get("bidirectional") else layer.get("proj_size", 5))
        self.head = nn.Linear(self.features, classes)
        self.end = end

    def forward(self, x: Tensor):
        hidden, _ = self.layers(x)
        last = hidden[:, -1].repeat(1, self.features // hidden.shape[-1])
        return self.end(self.head(last), hidden)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Own(classes=4), r"answers \[4, 4\] and \[4, 10, 5\] to series \[4, 10, 2\]; logits \[4, 3\] and a hidden"),
        (Own(end=lambda logits, hidden: logits), r"answers \[4, 3\] to series"),
        (Own(end=lambda logits, hidden: (logits, hidden[:, -1])), r"answers \[4, 3\] and \[4, 5\] to"),
        (Own(end=lambda logits, hidden: (logits, hidden.transpose(0, 1))), r"answers \[4, 3\] and \[10, 4, 5\] to"),
        (Own(end=lambda logits, hidden: (logits, (hidden, hidden))), r"answers \[4, 3\] and \[\] to"),
        (Own(end=lambda logits, hidden: (logits * torch.nan, hidden)), "answers are not finite"),
        (Own(batch_first=False), "layers need batch_first=True"),
        (Own(end=lambda logits, hidden: (logits + torch.randn(logits.shape), hidden)), "nothing in it may be drawn at random"),
    ],
)
def test_what_is_no_answer_is_refused(model: Own, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_given(model, X, 3, along_streams=False)


def no_teacher(x: Tensor) -> tuple[Tensor, Tensor]:
    return X, X


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Own().double(),
            r"raises ValueError at series \[4, 10, 2\], torch.float32 on cpu: .*torch.float64: give teacher.float\(\)",
        ),
        (Own().half(), r"weights are torch.float16: give teacher.float\(\)"),
        (Own().to("meta"), r'weights are on meta: give teacher.to\("cpu"\)'),
        (Own(end=lambda logits, hidden: 1 / 0), r"raises ZeroDivisionError at .*division by zero$"),
        ("teacher.safetensors", "takes a trained torch module, and this is of type str; a .safetensors"),
        (Own().state_dict(), "takes a trained torch module"),
        (Own, "takes a trained torch module"),
        (no_teacher, "takes a trained torch module"),
    ],
)
def test_what_cannot_answer_is_refused_with_a_remedy(model: Own, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_given(model, X, 3, along_streams=False)


def test_a_teacher_that_sees_to_its_own_numbers_teaches() -> None:
    class Inside(Own):
        def forward(self, x: Tensor):
            return super().forward(x.double())

    check_given(Inside().double(), X, 3, along_streams=True)
    mixed = Inside().double()
    mixed.end = lambda logits, hidden: (logits.float(), hidden.float())
    with pytest.raises(UsageError, match=r"head is torch.float64 and its hidden sequence torch.float32; give teacher.float\(\)"):
        check_given(mixed, X, 3, along_streams=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Own(bidirectional=True), "looks ahead"),
        (Own(features=10), "head reads 3 logits from 10 features; along streams it reads 3 from the 5 of the hidden sequence"),
    ],
)
def test_windows_allow_what_streams_do_not(model: Own, message: str) -> None:
    check_given(model, X, 3, along_streams=False)
    with pytest.raises(UsageError, match=message):
        check_given(model, X, 3, along_streams=True)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("layer", [{}, {"num_layers": 2, "dropout": 0.5}, {"proj_size": 4}])
def test_dropout_is_over_when_one_teaches(layer: dict[str, float]) -> None:
    model = Own(**layer)  # in training mode, as it comes from its training
    check_given(model, X, 3, along_streams=True)
    assert torch.equal(model(X)[0], model(X)[0])


def test_a_head_of_other_features_than_hidden_states_does_not_read_them() -> None:
    model = Own(features=10)
    teacher = Teacher(model, Series(X, torch.tensor([0, 1, 2, 0])), memory_limit=2**20)
    hidden = model(X)[1][:, -1]
    torch.testing.assert_close(teacher.readout(hidden), model(X)[0])


def test_nothing_is_written_for_a_teacher_of_other_classes(tmp_path: Path) -> None:
    teacher = Own(classes=5)
    teacher.layers = nn.LSTM(1, 5, batch_first=True)
    with pytest.raises(UsageError, match=r"logits \[3, 2\] and a hidden sequence \[3, 24, H\] are expected"):
        distill(DistillConfig(dataset="ItalyPowerDemand"), run_root=tmp_path, teacher=teacher)
    assert not list(tmp_path.iterdir())
