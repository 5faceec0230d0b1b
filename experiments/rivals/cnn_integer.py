# SPDX-License-Identifier: Apache-2.0
"""The streaming CNN in integers: int8 weights, activations and logits, 32-bit sums; in numpy and in C, equal bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.rivals.dot import DOT8, for_dot8, padded
from experiments.rivals.grid import integers, multipliers, scaled
from experiments.rivals.rival import NO_LIBRARY, c_array, header
from memkd_edge.benchmark.emulation.image import CModel

TAPS = 3  # of the dilated layers
INPUT_LIMIT = 6.0  # deviations


@dataclass(frozen=True)
class Shape:
    """A first layer of `first_taps` taps every `stride` samples, a layer of as many filters for each dilation, and the head."""

    channels: int
    filters: int
    classes: int
    first_taps: int = 8
    stride: int = 8
    dilated: tuple[int, ...] = (1, 2, 4, 8, 16)

    @property
    def layers(self) -> list[tuple[str, int, int, int]]:
        """Name, rows, columns and taps of each layer."""
        inner = [(str(number), self.filters, self.filters, TAPS) for number in range(1, len(self.dilated) + 1)]
        return [
            ("0", self.filters, self.channels, self.first_taps),
            *inner,
            ("head", self.classes, self.filters, 1),
        ]

    @property
    def strides(self) -> tuple[int, ...]:
        """Of each layer."""
        return (self.stride, *[1] * len(self.dilated), 1)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each layer."""
        return (1, *self.dilated, 1)

    @property
    def field(self) -> int:
        """Samples that a decision depends on."""
        return self.first_taps + self.stride * (TAPS - 1) * sum(self.dilated)


@dataclass(frozen=True)
class IntegerLayer:
    """weight int8 [rows, taps, columns]; multiplier and bias [rows], the bias in the unit of the sums."""

    weight: NDArray[np.int8]
    multiplier: NDArray[np.int64]
    bias: NDArray[np.int64]


@dataclass(frozen=True)
class IntegerCnn:
    """A rival, see rival.py."""

    shape: Shape
    layers: tuple[IntegerLayer, ...]
    logit_scale: float

    @classmethod
    def of(cls, parameters: dict[str, NDArray[np.float32]], shape: Shape, largest: Sequence[float]) -> "IntegerCnn":
        """Round parameters as cnn.py has them; `largest`: the largest activation of each layer, the logits last."""
        layers = []
        scale_in = INPUT_LIMIT / 127
        for (name, *_), most in zip(shape.layers, largest, strict=True):
            weight, scale = integers(parameters[name])
            scale_out = most / 127
            layers.append(
                IntegerLayer(
                    weight.transpose(0, 2, 1),
                    multipliers(scale * scale_in / scale_out),
                    np.rint(parameters[f"bias.{name}"] / (scale * scale_in)).astype(np.int64),
                )
            )
            scale_in = scale_out
        return cls(shape, tuple(layers), scale_in)

    @property
    def parameters(self) -> int:
        return sum(layer.weight.size + layer.bias.size for layer in self.layers)

    def inputs(self, x: NDArray[np.float32]) -> NDArray[np.int8]:
        return np.clip(np.rint(x * (127 / INPUT_LIMIT)), -127, 127).astype(np.int8)

    def logits(self, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
        x = inputs.astype(np.float64)  # which holds the sums exactly, and multiplies matrices fast
        shape = self.shape
        for layer, stride, dilation in zip(self.layers, shape.strides, shape.dilations, strict=True):
            taps = layer.weight.shape[1]
            past = np.concatenate([np.zeros(((taps - 1) * dilation - (stride - 1), x.shape[1])), x])
            steps = len(x) // stride
            tapped = [past[tap * dilation :: stride][:steps] @ layer.weight[:, tap].T.astype(np.float64) for tap in range(taps)]
            sums = np.sum(tapped, axis=0).astype(np.int64) + layer.bias
            x = np.clip(scaled(sums, layer.multiplier), -127 if layer is self.layers[-1] else 0, 127).astype(np.float64)
        held = np.concatenate([np.zeros((1, shape.classes)), x])
        return held[np.arange(1, len(inputs) + 1) // shape.stride].astype(np.int8)

    def c_model(self) -> CModel:
        name, shape = "cnn", self.shape
        flat = [layer.weight.reshape(len(layer.weight), -1) for layer in self.layers]
        weights = [for_dot8(one) for one in (flat[0], *(layer.weight for layer in self.layers[1:]))]
        width, row = padded(shape.filters), padded(flat[0].shape[1])
        rings = [2 * dilation + 1 for dilation in shape.dilated] + [1]  # frames kept before each layer, the head last
        constants = "".join(
            c_array("int8_t", f"weights_{at}", one).replace("=", "__attribute__((aligned(4))) =")
            + c_array("int32_t", f"multipliers_{at}", layer.multiplier)
            + c_array("int32_t", f"bias_{at}", layer.bias)
            for at, (one, layer) in enumerate(zip(weights, self.layers, strict=True))
        )
        dilated = ",\n    ".join(
            f"{{weights_{at}, multipliers_{at}, bias_{at}, {dilation}}}" for at, dilation in enumerate(shape.dilated, start=1)
        )
        head = len(self.layers) - 1
        body = f"""#include "{name}.h"
#include <string.h>
{NO_LIBRARY}
{DOT8}
enum {{
    CHANNELS = {shape.channels}, FILTERS = {shape.filters}, WIDTH = {width}, TAPS = {TAPS}, CLASSES = {shape.classes},
    FIRST_TAPS = {shape.first_taps}, STRIDE = {shape.stride}, ROW = {row}, LAYERS = {len(shape.dilated)}
}};

typedef struct {{
    const int8_t *weights;
    const int32_t *multipliers, *bias;
    int dilation;
}} layer_t;

{constants}
static const layer_t dilated[LAYERS] = {{
    {dilated}
}};

static NO_LIBRARY void copy(int8_t *to, const int8_t *from, int n) {{
    for (int i = 0; i < n; i++) {{
        to[i] = from[i];
    }}
}}

static inline int8_t clamped(int32_t v, int32_t least) {{
    return (int8_t)(v < least ? least : v > 127 ? 127 : v);
}}

/* The layer's frame from those that its ring holds, the newest at `newest`. */
static void convolve(const layer_t *layer, const int8_t *ring, int newest, int8_t *out) {{
    const int frames = 2 * layer->dilation + 1;
    const int oldest = newest + 1 < frames ? newest + 1 : 0;
    const int middle = oldest + layer->dilation < frames ? oldest + layer->dilation : oldest + layer->dilation - frames;
    const int8_t *weights = layer->weights;
    for (int f = 0; f < FILTERS; f++) {{
        int32_t sum = dot8(weights, ring + oldest * WIDTH, WIDTH, layer->bias[f]);
        sum = dot8(weights + WIDTH, ring + middle * WIDTH, WIDTH, sum);
        sum = dot8(weights + 2 * WIDTH, ring + newest * WIDTH, WIDTH, sum);
        out[f] = clamped(scaled(sum, layer->multipliers[f]), 0);
        weights += TAPS * WIDTH;
    }}
}}

void {name}_reset({name}_state_t *s) {{
    fill((int8_t *)s, (int)sizeof *s);
}}

void {name}_step_i8({name}_state_t *s, const int8_t x[], int8_t logits[]) {{
    copy(s->samples + (FIRST_TAPS - STRIDE + s->count) * CHANNELS, x, CHANNELS);
    s->count++;
    if (s->count == STRIDE) {{
        s->count = 0;
        int8_t *ring = s->rings;
        int8_t *out = ring + s->newest[0] * WIDTH;
        for (int f = 0; f < FILTERS; f++) {{
            out[f] = clamped(scaled(dot8(weights_0 + f * ROW, s->samples, ROW, bias_0[f]), multipliers_0[f]), 0);
        }}
        copy(s->samples, s->samples + STRIDE * CHANNELS, (FIRST_TAPS - STRIDE) * CHANNELS);
        for (int l = 0; l < LAYERS; l++) {{
            const int frames = 2 * dilated[l].dilation + 1;
            int8_t *next = ring + frames * WIDTH;
            const int newest = s->newest[l];
            convolve(&dilated[l], ring, newest, next + s->newest[l + 1] * WIDTH);
            s->newest[l] = (uint8_t)(newest + 1 < frames ? newest + 1 : 0);
            ring = next;
        }}
        for (int k = 0; k < CLASSES; k++) {{
            const int32_t sum = dot8(weights_{head} + k * WIDTH, ring, WIDTH, bias_{head}[k]);
            s->logits[k] = clamped(scaled(sum, multipliers_{head}[k]), -127);
        }}
    }}
    copy(logits, s->logits, CLASSES);
}}
"""
        state = f"""    int8_t samples[{row}] __attribute__((aligned(4)));
    int8_t rings[{sum(rings) * width}] __attribute__((aligned(4)));
    int8_t logits[{shape.classes}];
    uint8_t newest[{len(rings)}], count;"""
        sources = {f"{name}.h": header(name, shape.channels, shape.classes, state, "int8_t", "i8"), f"{name}.c": body}
        return CModel(name, sources)
