"""Distillation: a large recurrent classifier teaches a population of tiny ones; the best on validation is kept."""

from memkd_edge.distill.pipeline import distill

__all__ = ["distill"]
