# SPDX-License-Identifier: Apache-2.0
"""Damaged input for everything that reads a file or a line; `make fuzz INPUTS=1000000` tries many."""
