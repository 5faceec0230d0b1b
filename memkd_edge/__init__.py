"""memkd-edge: distil a large LSTM into a streaming int8 model of a few kilobytes, export it, and measure it on the device."""

# The packages `distill`, `export` and `bench` are bound first, so that the functions of the same names replace them here for good.
import memkd_edge.bench
import memkd_edge.distill
import memkd_edge.export  # noqa: F401
from memkd_edge.api import bench, distill, export

__version__ = "0.1.0"
__all__ = ["bench", "distill", "export"]
