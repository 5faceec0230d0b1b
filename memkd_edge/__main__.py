# SPDX-License-Identifier: Apache-2.0
"""`python -m memkd_edge` is the command line."""

from memkd_edge.cli.main import main

main()
