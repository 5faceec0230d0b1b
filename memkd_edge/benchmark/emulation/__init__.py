# SPDX-License-Identifier: Apache-2.0
"""Builds for Arm and runs under QEMU, counting every instruction."""
