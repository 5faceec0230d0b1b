"""What quantisation costs on many data sets: `make quant-report`, or

    python -m memkd_edge.quantize.report --data-root FOLDER --runs runs/quant --out models/quant

Trains one student per data set at full length (finished runs are taken as they are), quantises it without fine-tuning, streams
the test set through the integer model sample by sample, and writes the comparison with the float student as Markdown and JSON.
Students are trained without a teacher's help: what is asked here is what integers lose, not what distillation gains.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from memkd_edge.config import DistillConfig
from memkd_edge.data import load_dataset
from memkd_edge.distill.metrics import agreement, auc_prc
from memkd_edge.distill.pipeline import distill
from memkd_edge.models import load_classifier
from memkd_edge.quantize.quantize import quantize
from memkd_edge.quantize.straight_through import integer_trajectory
from memkd_edge.runs import Run, write_atomic

# The sets that aeon carries; then those of the developers' folder: UCR-2015 and wearables.
BUNDLED = (
    "ItalyPowerDemand",
    "GunPoint",
    "BasicMotions",
    "ArrowHead",
    "PickupGestureWiimoteZ_eq",
    "JapaneseVowels_eq",
    "OSULeaf",
    "ACSF1",
)
UCR12 = (
    "ECG200",
    "MiddlePhalanxOutlineCorrect",
    "SwedishLeaf",
    "Wafer",
    "Strawberry",
    "Adiac",
    "Trace",
    "Computers",
    "ShapesAll",
    "Herring",
    "Lightning2",
)  # and ItalyPowerDemand
WEARABLE = (
    "SPSW_smartwatch",
    "SPSW_smartphone",
    "SeglearnWatch",
    "HAPT6_smartphone",
    "RacketSports",
    "NATOPS",
)  # and BasicMotions

HIDDEN = 8
SEEDS = 3
MAX_EPOCHS = 300
EPOCH_BUDGET = 12_000_000  # series x samples x epochs, so that no set takes longer than some minutes
INTERFACES = ("int8", "int16x8")

# What the project promises; the report says whether it is kept.
MEAN_LOSS_LIMIT, WORST_LOSS_LIMIT = 0.3, 0.5  # points of AUC-PRC
MEAN_AGREEMENT_LIMIT, WORST_AGREEMENT_LIMIT = 0.99, 0.98


@dataclass(frozen=True)
class Loss:
    """One interface against the float student on the test set. loss: points (hundredths) of AUC-PRC, positive is worse."""

    auc_prc: float
    loss: float
    agreement: float
    mean_logit_error: float


@dataclass(frozen=True)
class Row:
    """One data set."""

    name: str
    channels: int
    classes: int
    length: int
    test_series: int
    float_accuracy: float
    float_auc_prc: float
    int8: Loss
    int16x8: Loss


def student_run(name: str, data_root: str, root: Path) -> Run:
    """Return the finished run of data set `name` under `root`, trained now if there is none."""
    if (root / name / "env.json").is_file():
        run = Run.open(root / name, complete=False)
        if run.environment()["state"] == "complete":
            return run
    folder = "" if name in BUNDLED else data_root
    series, length = load_dataset(name, data_root=folder).x_train.shape[:2]
    config = DistillConfig(
        dataset=name,
        data_root=folder,
        hidden=HIDDEN,
        method="base",
        seeds=SEEDS,
        epochs=max(20, min(MAX_EPOCHS, EPOCH_BUDGET // (series * length))),
        teacher_hidden=4,  # nothing is learnt from it
        teacher_layers=1,
        teacher_seeds=1,
        teacher_epochs=1,
    )
    return distill(config, run_root=root, name=name, force=True)


def measure(run: Run) -> Row:
    """Quantise a run's student and stream the test set through it."""
    arrays = run.read_arrays("calibration.npz")
    x, y = arrays["x_test"], arrays["y_test"]
    student = load_classifier(run.path / "student.safetensors")
    with torch.inference_mode():
        expected = torch.cat([student(part)[0] for part in torch.split(torch.from_numpy(x), 256)]).numpy()
    model = quantize(student, arrays["x_calibration"])
    float_auc = float(auc_prc(expected[None], y)[0])

    def compare(interface: str) -> Loss:
        logits = np.concatenate(
            [integer_trajectory(model, part, interface).logits for part in np.split(x, range(256, len(x), 256))]
        )
        auc = float(auc_prc(logits[None], y)[0])
        return Loss(auc, 100 * (float_auc - auc), agreement(logits, expected), float(np.abs(logits - expected).mean()))

    accuracy = float((expected.argmax(1) == y).mean())
    classes = expected.shape[1]
    return Row(
        run.metadata.name, x.shape[2], classes, x.shape[1], len(x), accuracy, float_auc, compare("int8"), compare("int16x8")
    )


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Mean and worst loss and agreement, per interface."""
    result = {}
    for interface in INTERFACES:
        losses: list[Loss] = [getattr(row, interface) for row in rows]
        result[interface] = {
            "mean_loss": float(np.mean([loss.loss for loss in losses])),
            "worst_loss": max(loss.loss for loss in losses),
            "mean_agreement": float(np.mean([loss.agreement for loss in losses])),
            "worst_agreement": min(loss.agreement for loss in losses),
        }
    return result


def to_markdown(rows: list[Row]) -> str:
    """Return the report as Markdown."""
    lines = [
        "# What quantisation costs",
        "",
        "Written by `make quant-report`. Every figure is **measured** with the numpy integer reference, which is bit-exact with",
        "TensorFlow Lite Micro: the test set streamed sample by sample at full length, against the float student. Students:",
        f"{HIDDEN}-unit LSTMs trained without distillation or fine-tuning. Loss: hundredths of AUC-PRC; negative: gain.",
        "",
        "| data set | channels | classes | samples | test series | accuracy | AUC-PRC | int8 loss | agreement | int16x8 loss "
        "| agreement |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.channels} | {row.classes} | {row.length} | {row.test_series} | {row.float_accuracy:.3f} | "
        f"{row.float_auc_prc:.4f} | {row.int8.loss:+.2f} | {row.int8.agreement:.4f} | {row.int16x8.loss:+.2f} | "
        f"{row.int16x8.agreement:.4f} |"
        for row in rows
    ]
    lines += ["", "| | mean loss | worst loss | mean agreement | worst agreement |", "|---|---|---|---|---|"]
    lines += [
        f"| {interface} | {one['mean_loss']:+.3f} | {one['worst_loss']:+.2f} | {one['mean_agreement']:.4f} | "
        f"{one['worst_agreement']:.4f} |"
        for interface, one in summary(rows).items()
    ]
    lines += [
        f"| limit | {MEAN_LOSS_LIMIT:+} | {WORST_LOSS_LIMIT:+} | {MEAN_AGREEMENT_LIMIT} | {WORST_AGREEMENT_LIMIT} |",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, measure, write `quantization.md` and `quantization.json`."""
    parser = argparse.ArgumentParser(description="Measure what quantisation costs on many data sets.")
    parser.add_argument("--data-root", default="", help="folder with the UCR-2015 and wearable sets; without it only aeon's own")
    parser.add_argument("--runs", type=Path, default=Path("runs/quant"), help="where the students are, or are trained")
    parser.add_argument("--out", type=Path, default=Path("models/quant"), help="folder of the two report files")
    options = parser.parse_args()
    names = BUNDLED + (UCR12 + WEARABLE if options.data_root else ())
    rows = []
    for name in names:
        rows.append(measure(student_run(name, options.data_root, options.runs)))
        print(f"{name}: int8 {rows[-1].int8}, int16x8 {rows[-1].int16x8}", file=sys.stderr)
    report = {"kind": "measured", "rows": [asdict(row) for row in rows], "summary": summary(rows)}
    write_atomic(options.out / "quantization.json", (json.dumps(report, indent=1) + "\n").encode())
    print(write_atomic(options.out / "quantization.md", to_markdown(rows).encode()))


if __name__ == "__main__":
    main()
