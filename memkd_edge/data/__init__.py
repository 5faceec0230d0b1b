# SPDX-License-Identifier: Apache-2.0
"""Data sets: reading, checking, splitting, resampling and normalising them."""
