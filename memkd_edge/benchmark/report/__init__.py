# SPDX-License-Identifier: Apache-2.0
"""Figures of a benchmark, each with its kind, and what they mean for a device's budget."""
