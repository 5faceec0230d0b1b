# SPDX-License-Identifier: Apache-2.0
"""Training on through the integer arithmetic."""
