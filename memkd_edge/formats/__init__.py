# SPDX-License-Identifier: Apache-2.0
"""What is read: model files, the metadata in them, their step interface and digest."""
