# SPDX-License-Identifier: Apache-2.0
"""Firmware folders, ready to build."""
