# SPDX-License-Identifier: Apache-2.0
"""Runs that an experiment keeps: trained once, and gone on with where one was interrupted."""

from pathlib import Path

from memkd_edge.config import DistillConfig
from memkd_edge.distillation.pipeline import distill
from memkd_edge.runs import ENVIRONMENT, Run


def kept_run(config: DistillConfig, root: Path, name: str, teachers: Path | None = None) -> Run:
    """Return the finished run `name` under `root`, trained now or before; `teachers`: the file that several runs share."""
    started = Run.open(root / name, complete=False) if (root / name / ENVIRONMENT).is_file() else None
    return distill(config, run_root=root, name=name, resume=started, teachers=teachers)
