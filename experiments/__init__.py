# SPDX-License-Identifier: Apache-2.0
"""What makes the tracked results: ablation, comparisons, ready-made models, quantisation cost, timings."""
