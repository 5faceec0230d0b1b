# SPDX-License-Identifier: Apache-2.0
"""What makes the tracked results: ablation, evidence, ready-made models, quantisation cost, timings."""
