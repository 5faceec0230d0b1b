# SPDX-License-Identifier: Apache-2.0
"""The closed sets of words that stand in files, options and reports. Each is its own text: `Cell.LSTM == "lstm"`."""

from enum import StrEnum


class Arithmetic(StrEnum):
    """What a file computes in. The integer ones have int8 weights and an int16 state; they differ in x and logits."""

    INT8 = "int8"
    INT16X8 = "int16x8"
    FLOAT32 = "float32"


class Cell(StrEnum):
    """The kinds of model. A CNN has no recurrent step: it is compared, and runs as ONNX."""

    LSTM = "lstm"
    GRU = "gru"
    CNN = "cnn"


class FigureKind(StrEnum):
    """How a figure was come by: on the device itself, counted by an emulator (the same on the device), or from a model of it."""

    MEASURED = "measured"
    EMULATED = "emulated-exact"
    ESTIMATED = "estimated"


class InputKind(StrEnum):
    """What one step takes: normalised values, or what the sensor gives (counts of an integer model, else physical units)."""

    NORMALISED = "normalised"
    RAW = "raw"


class Reset(StrEnum):
    """When the state is reset in use: never (trained on streams), between windows, or where the caller starts an event."""

    NEVER = "never"
    WINDOW = "window"
    EVENT = "event"


class Decision(StrEnum):
    """What a model was taught to decide at."""

    EVERY_SAMPLE = "every_sample"
    WINDOW_END = "window_end"
