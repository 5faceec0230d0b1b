# SPDX-License-Identifier: Apache-2.0
"""All methods on the twelve sets of the paper's question, by both protocols: `python -m experiments.ucr12` goes on with it.

By the honest protocol held-out training series select a method's weight and epoch (models/ucr12_honest), by the paper's the test
series do (models/ucr12_paper); models/protocols.md has the two rankings side by side.
"""

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from experiments.set_by_set import go_on, options
from memkd_edge.comparison.findings import findings
from memkd_edge.comparison.folder import TABLE
from memkd_edge.comparison.rows import StudentResult, read_rows
from memkd_edge.comparison.suites import SUITES
from memkd_edge.config import CompareConfig, DistillConfig
from memkd_edge.runs import write_atomic

MODELS = Path(__file__).resolve().parents[1] / "models"
DATA = "../shared/data/npz"  # beside the project's root, where `make` runs
SUITE = "ucr12"
PROTOCOLS = {protocol: MODELS / f"ucr12_{protocol}" for protocol in ("honest", "paper")}


def asked(datasets: tuple[str, ...], protocol: str) -> CompareConfig:
    """Return what is compared: all that compare takes by default, but for two weights of each method and batches of 32."""
    distillation = DistillConfig(
        seeds=5, weights=2, batch_size=32, protocol=protocol, resample=SUITES[SUITE].resample, data_root=DATA
    )
    return CompareConfig(suite=SUITE, datasets=datasets, distillation=distillation)


def side_by_side(honest: Sequence[StudentResult], paper: Sequence[StudentResult]) -> str:
    """Return models/protocols.md: each method's mean rank and score by both protocols, on the sets that both have."""
    both = {row.dataset for row in honest} & {row.dataset for row in paper}
    by = [findings([row for row in rows if row.dataset in both]) for rows in (honest, paper)]
    others = {one.method: one for one in by[1].ranking}
    lines = [
        "# Selected on the test series, and not",
        "",
        "`python -m experiments.ucr12` wrote this, from the rows of ucr12_honest and ucr12_paper: "
        f"{len(both)} of {len(SUITES[SUITE].datasets)} sets that",
        "both protocols have. Means over the sets of test AUC-PRC, and of ranks (1 is best). By the honest protocol a method's",
        "weight and stopping epoch are those that held-out training series favour, by the paper's those that the test series",
        "favour, which flatters; but it has no noisy copies of the series either, and one teacher, which costs. So the ranks are",
        "to be compared, not the scores. Measured, in float32.",
        "",
        "| method | mean rank, honest | mean rank, paper | AUC-PRC, honest | AUC-PRC, paper | paper less honest |",
        "|---|---|---|---|---|---|",
    ]
    for one in by[0].ranking:
        other = others[one.method]
        ranks = [found.rank or math.nan for found in (one, other)]
        scores = [found.auc_prc or math.nan for found in (one, other)]
        cells = [*(f"{rank:.2f}" for rank in ranks), *(f"{score:.3f}" for score in scores), f"{scores[1] - scores[0]:+.3f}"]
        lines.append(f"| {' | '.join([one.method, *cells])} |")
    return "\n".join([*lines, ""])


def main() -> None:
    arguments = options(__doc__ or "", Path("compare/ucr12"))
    deadline = time.monotonic() + arguments.minutes * 60
    for protocol, out in PROTOCOLS.items():
        work = arguments.work / protocol
        for _ in go_on(SUITES[SUITE].datasets, partial(asked, protocol=protocol), out, work, deadline):
            honest, paper = (read_rows(one / TABLE) for one in PROTOCOLS.values())
            if honest and paper:
                print(write_atomic(MODELS / "protocols.md", side_by_side(honest, paper).encode()))


if __name__ == "__main__":
    main()
