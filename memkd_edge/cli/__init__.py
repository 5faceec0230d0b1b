# SPDX-License-Identifier: Apache-2.0
"""The command line: typer commands and everything that is printed."""
