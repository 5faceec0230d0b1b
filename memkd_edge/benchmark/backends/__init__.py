# SPDX-License-Identifier: Apache-2.0
"""One way of measuring per module: this machine, Linux boards over SSH, serial boards, emulators."""
