"""The recurrent classifiers: teacher and student are the same class in different sizes.

Parameter arithmetic is torch's (two bias vectors per LSTM layer), so that compression ratios compare with the paper's: teacher
3 x 100 with 1 channel and 2 classes has 203,002 parameters, student 1 x 8 has 370: 549x.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from memkd_edge.errors import MemkdEdgeError, UsageError


@dataclass(frozen=True)
class ModelSpec:
    """Architecture of a classifier: all that is needed to rebuild it around its weights."""

    input_size: int
    hidden_size: int
    num_classes: int
    num_layers: int = 1
    kind: str = "lstm"

    @property
    def parameters(self) -> int:
        """Number of trainable parameters, both torch bias vectors counted."""
        total, width = 0, self.input_size
        for _ in range(self.num_layers):
            total += 4 * self.hidden_size * (width + self.hidden_size + 2)
            width = self.hidden_size
        return total + self.num_classes * (self.hidden_size + 1)


class LstmClassifier(nn.Module):
    """Unidirectional LSTM with a linear head on the last time step of the top layer."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.rnn = nn.LSTM(spec.input_size, spec.hidden_size, spec.num_layers, batch_first=True)
        self.head = nn.Linear(spec.hidden_size, spec.num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Classify whole series.

        Args:
            x: [B, T, C] float32, normalised.

        Returns:
            logits [B, K] of the last time step and the top layer's hidden sequence [B, T, H].
        """
        hidden, _ = self.rnn(x)
        return self.head(hidden[:, -1]), hidden


def hidden_size_for(compression: float, teacher_parameters: int, spec: ModelSpec) -> int:
    """Return the largest hidden size whose student has at most `teacher_parameters / compression` parameters.

    Args:
        compression: wanted ratio teacher / student parameters, > 0.
        spec: the student's architecture; its hidden_size is ignored.

    Raises:
        UsageError: not even one unit reaches that compression.
    """
    hidden = 0
    while _with_hidden(spec, hidden + 1).parameters * compression <= teacher_parameters:
        hidden += 1
    if hidden == 0:
        smallest = _with_hidden(spec, 1).parameters
        raise UsageError(
            f"a compression of {compression:g} is out of reach: the teacher has {teacher_parameters} parameters and a student "
            f"of one unit has {smallest}, which is {teacher_parameters / smallest:.0f}x; ask for less with --compression"
        )
    return hidden


def _with_hidden(spec: ModelSpec, hidden: int) -> ModelSpec:
    return ModelSpec(spec.input_size, hidden, spec.num_classes, spec.num_layers, spec.kind)


def save_model(model: LstmClassifier) -> bytes:
    """Return `model` as safetensors bytes: the weights, and the spec as JSON in the header's metadata."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    return save(tensors, metadata={"memkd_edge": json.dumps(asdict(model.spec), sort_keys=True)})


def load_model(path: Path) -> LstmClassifier:
    """Load a classifier that `save_model` wrote. Runs no code from the file.

    Raises:
        UsageError: there is no such file.
        MemkdEdgeError: the file is damaged, or holds another model's tensors.
    """
    if not path.is_file():
        raise UsageError(f"no model file at {path}")
    try:
        with safe_open(path, framework="pt") as archive:
            header = archive.metadata() or {}
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError) as error:
        raise MemkdEdgeError(f"{path}: not a readable safetensors file ({error})") from error
    try:
        model = LstmClassifier(ModelSpec(**json.loads(header["memkd_edge"])))
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MemkdEdgeError(f"{path}: not a memkd-edge model ({error})") from error
    return model.eval()
