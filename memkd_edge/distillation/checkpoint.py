# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one safetensors file per phase, written atomically, holding all that training further needs."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.file_formats import CHECKPOINT, KEY, check_format
from memkd_edge.parsing import json_object
from memkd_edge.runs import write_atomic


def write_checkpoint(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write `tensors` and the JSON object `header`."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(contiguous, metadata={"memkd_edge": json.dumps({KEY: CHECKPOINT, **header}, sort_keys=True)}))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return what `write_checkpoint` wrote, its format number in the header, or None when there is no such file.

    Raises:
        MemkdEdgeError: the file is damaged or of a newer format.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as archive:
            header = json_object(archive.metadata()["memkd_edge"])
            check_format(header.setdefault(KEY, 1), CHECKPOINT, path)
            return {name: archive.get_tensor(name) for name in archive.keys()}, header  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise MemkdEdgeError(f"{path}: damaged checkpoint ({error}); delete it to start this phase anew") from error
