# SPDX-License-Identifier: Apache-2.0
"""A run becomes files: integers once, then writers, then verification of those same integers."""
