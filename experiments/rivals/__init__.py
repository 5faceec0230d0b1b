# SPDX-License-Identifier: Apache-2.0
"""What else could decide along the recordings: a forest on window features, a streaming CNN, and FastGRNN, in C."""
