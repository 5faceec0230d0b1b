# SPDX-License-Identifier: Apache-2.0
"""What was written, run by every runtime at hand and compared with the integer reference."""
