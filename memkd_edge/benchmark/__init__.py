# SPDX-License-Identifier: Apache-2.0
"""What a model costs on a device: measured where there is one, emulated exactly or estimated with an interval where not."""
