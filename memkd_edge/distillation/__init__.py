# SPDX-License-Identifier: Apache-2.0
"""Distillation: a large recurrent classifier teaches a population of tiny ones; the best on validation is kept.

Nothing is imported here: `memkd_edge` gives its function `distill` this package's name. The entry is
`memkd_edge.distillation.pipeline.distill`.
"""
