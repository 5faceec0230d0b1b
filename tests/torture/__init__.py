# SPDX-License-Identifier: Apache-2.0
"""Commands that are killed at random moments and started again; `make torture KILLS=200` kills often."""
