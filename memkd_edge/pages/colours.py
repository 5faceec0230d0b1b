# SPDX-License-Identifier: Apache-2.0
"""The colours of figures, apart from what draws them: a page is written without that."""

INK = "#1b1b1f"  # text and axes; the page turns it into its own text colour
PAPER = "#ffffff"  # behind a figure; the page leaves it out
GREY = "#8a8a93"
# Okabe and Ito's colours, which people of every kind of colour vision tell apart, without black (invisible on a dark page) and
# yellow (on a white one); then two more. The markers tell apart what colours do not.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#8c6bb1", "#a6761d")
