# SPDX-License-Identifier: Apache-2.0
"""The integer model: int8 weights, int16 activations and state. SPEC.md states its arithmetic."""
