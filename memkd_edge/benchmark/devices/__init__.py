# SPDX-License-Identifier: Apache-2.0
"""The boards: their profiles, their cycle models and what is estimated from them."""
