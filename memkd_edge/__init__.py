# SPDX-License-Identifier: Apache-2.0
"""memkd-edge: distil a large LSTM into a streaming int8 model of a few kilobytes, export it, and measure it on the device.

`__all__` is the public interface. Its names are imported on first use, so `import memkd_edge` needs nothing but Python itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from memkd_edge.version import __version__

if TYPE_CHECKING:
    from memkd_edge.api import bench, classify, compare, distill, export, inspect, models, report, verify
    from memkd_edge.benchmark.report.figures import BenchReport, BuildFigures, DeviceReport, Figure
    from memkd_edge.classification import ClassifyReport
    from memkd_edge.comparison.report import ComparisonReport
    from memkd_edge.config import DataConfig
    from memkd_edge.data.recording_loading import load_recordings, recordings_from_arrays, recordings_from_frame
    from memkd_edge.data.recording_split import leave_one_subject_out
    from memkd_edge.data.recordings import Recording, Recordings
    from memkd_edge.errors import GateError, MemkdEdgeError, MissingToolError, UsageError
    from memkd_edge.exporting.pipeline import ExportReport
    from memkd_edge.formats.inspection import Inspection
    from memkd_edge.pages.run_page import RunPage
    from memkd_edge.ready_models import ReadyModel
    from memkd_edge.runs import Run
    from memkd_edge.streaming import StreamingClassifier
    from memkd_edge.verification.pipeline import VerifyReport
    from memkd_edge.window_classification import WindowsReport

_PLACES = {
    "memkd_edge.api": ("bench", "classify", "compare", "distill", "export", "inspect", "models", "report", "verify"),
    "memkd_edge.benchmark.report.figures": ("BenchReport", "DeviceReport", "Figure", "BuildFigures"),
    "memkd_edge.classification": ("ClassifyReport",),
    "memkd_edge.window_classification": ("WindowsReport",),
    "memkd_edge.comparison.report": ("ComparisonReport",),
    "memkd_edge.config": ("DataConfig",),
    "memkd_edge.data.recording_loading": ("load_recordings", "recordings_from_arrays", "recordings_from_frame"),
    "memkd_edge.data.recording_split": ("leave_one_subject_out",),
    "memkd_edge.data.recordings": ("Recording", "Recordings"),
    "memkd_edge.errors": ("GateError", "MemkdEdgeError", "MissingToolError", "UsageError"),
    "memkd_edge.exporting.pipeline": ("ExportReport",),
    "memkd_edge.formats.inspection": ("Inspection",),
    "memkd_edge.ready_models": ("ReadyModel",),
    "memkd_edge.pages.run_page": ("RunPage",),
    "memkd_edge.runs": ("Run",),
    "memkd_edge.streaming": ("StreamingClassifier",),
    "memkd_edge.verification.pipeline": ("VerifyReport",),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "BenchReport",
    "BuildFigures",
    "ClassifyReport",
    "ComparisonReport",
    "DataConfig",
    "DeviceReport",
    "ExportReport",
    "Figure",
    "GateError",
    "Inspection",
    "MemkdEdgeError",
    "MissingToolError",
    "ReadyModel",
    "Recording",
    "Recordings",
    "Run",
    "RunPage",
    "StreamingClassifier",
    "UsageError",
    "VerifyReport",
    "WindowsReport",
    "__version__",
    "bench",
    "classify",
    "compare",
    "distill",
    "export",
    "inspect",
    "leave_one_subject_out",
    "load_recordings",
    "models",
    "recordings_from_arrays",
    "recordings_from_frame",
    "report",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from memkd_edge.toolchain import naming_missing_packages

    with naming_missing_packages():
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
