# SPDX-License-Identifier: Apache-2.0
"""Data sets: reading, checking, splitting, resampling and normalising them."""

from memkd_edge.data.dataset import Dataset
from memkd_edge.data.prepare import Prepared, prepare
from memkd_edge.data.registry import available, load_dataset

__all__ = ["Dataset", "Prepared", "available", "load_dataset", "prepare"]
