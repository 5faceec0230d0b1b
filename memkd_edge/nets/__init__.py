# SPDX-License-Identifier: Apache-2.0
"""Teachers and students: recurrent classifiers of time series."""
