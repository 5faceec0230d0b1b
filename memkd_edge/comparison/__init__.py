# SPDX-License-Identifier: Apache-2.0
"""Comparison of distillation methods over many data sets: runs, one tidy table of students, a report.

Nothing is imported here. The entry is `memkd_edge.comparison.pipeline.compare`.
"""
