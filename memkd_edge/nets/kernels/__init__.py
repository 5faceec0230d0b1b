# SPDX-License-Identifier: Apache-2.0
"""Recurrences and discrepancies as compiled loops over many students at once."""
