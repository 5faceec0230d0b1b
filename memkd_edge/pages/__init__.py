# SPDX-License-Identifier: Apache-2.0
"""Pages: what a run or a comparison found, as one HTML file that needs nothing beside it, and as Markdown."""
