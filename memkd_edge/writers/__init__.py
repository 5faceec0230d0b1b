# SPDX-License-Identifier: Apache-2.0
"""What is written: .tflite, .onnx and C."""
