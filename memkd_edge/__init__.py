"""memkd-edge: distil a large LSTM into a streaming int8 model of a few kilobytes, export it, and measure it on the device."""

# The packages `distill`, `export` and `bench` are bound first, so that the functions of those names replace them here for good.
from typing import TYPE_CHECKING, Any

import memkd_edge.benchmark
import memkd_edge.distillation
import memkd_edge.exporting  # noqa: F401
from memkd_edge.api import bench, distill, export

if TYPE_CHECKING:
    from memkd_edge.streaming import StreamingClassifier

__version__ = "0.1.0"
__all__ = ["StreamingClassifier", "bench", "distill", "export"]


def __getattr__(name: str) -> Any:
    # Imported on first use: its runtimes are too heavy for `--help`.
    if name == "StreamingClassifier":
        from memkd_edge.streaming import StreamingClassifier

        return StreamingClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
