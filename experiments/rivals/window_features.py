# SPDX-License-Identifier: Apache-2.0
"""Six features of each channel in a trailing window, in integers, in numpy and in C.

They are the mean, the deviation, the least, the largest, the mean change from sample to sample, and by how much the mean of the
newest hop is above that of the oldest. A window is some blocks of one hop; of each block the C keeps sums and extremes, and
no samples. After every hop the features are of the blocks that there are. Divisions are C's, towards zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCALE = 256  # of a normalised sample
LIMIT = 2047  # of an input; a window of 500 samples has sums of squares below 2^31
FEATURES = 6  # of a channel
CHANGE = 8  # by which the mean change is finer than a sample


@dataclass(frozen=True)
class Window:
    """The last `blocks` blocks of `hop` samples each."""

    blocks: int
    hop: int


def inputs(x: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return normalised samples as integers."""
    return np.clip(np.rint(x * SCALE), -LIMIT, LIMIT).astype(np.int16)


def features(x: NDArray[np.int16], window: Window) -> NDArray[np.int16]:
    """Return the features [T // hop, FEATURES * C] after each hop of a stream x [T, C]."""
    count, hop = len(x) // window.hop, window.hop
    change = np.abs(np.diff(x, axis=0, prepend=x[:1]).astype(np.int64))
    x, change = (part[: count * hop].astype(np.int64).reshape(count, hop, -1) for part in (x, change))
    n = hop * np.minimum(np.arange(1, count + 1), window.blocks)[:, None]
    total, squares = _over(x.sum(1), window.blocks), _over((x * x).sum(1), window.blocks)
    mean = _quotient(total, n)
    variance = _quotient(squares - mean * (2 * total - n * mean), n)
    least, largest = -_largest(-x.min(1), window.blocks), _largest(x.max(1), window.blocks)
    moved = _quotient(CHANGE * _over(change.sum(1), window.blocks), n)
    newest, oldest = x.sum(1), x.sum(1)[np.maximum(np.arange(count) - window.blocks + 1, 0)]
    drift = _quotient(newest - oldest, np.full_like(newest, hop))
    found = np.stack([mean, np.floor(np.sqrt(variance)).astype(np.int64), least, largest, moved, drift], axis=-1)
    return found.reshape(count, -1).astype(np.int16)


def _over(sums: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    total = sums.cumsum(0)
    total[blocks:] -= total[:-blocks].copy()
    return total


def _largest(values: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    padded = np.concatenate([np.repeat(values[:1], blocks - 1, axis=0), values])
    return np.lib.stride_tricks.sliding_window_view(padded, blocks, axis=0).max(-1)


def _quotient(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.sign(left) * (np.abs(left) // right)


def state_members(window: Window, channels: int) -> str:
    """Return the members of a state struct that keep the window."""
    size = f"[{window.blocks}][{channels}]"
    return f"""    int32_t sum{size}, squares{size}, change{size};
    int16_t least{size}, largest{size}, last[{channels}];
    uint8_t block, filled, count;"""


def c_functions(name: str, window: Window, channels: int) -> str:
    """Return the C of `take`, which keeps a sample and returns 1 after each hop, and `describe`, which fills in the features."""
    return f"""
enum {{ CHANNELS = {channels}, FEATURES = {FEATURES} * CHANNELS, BLOCKS = {window.blocks}, HOP = {window.hop} }};

static int take({name}_state_t *s, const int16_t x[]) {{
    const int b = s->block;
    for (int c = 0; c < CHANNELS; c++) {{
        const int32_t v = x[c];
        const int32_t last = s->count == 0 && s->filled == 0 ? v : s->last[c];
        const int32_t change = v > last ? v - last : last - v;
        if (s->count == 0) {{
            s->sum[b][c] = v;
            s->squares[b][c] = v * v;
            s->change[b][c] = change;
            s->least[b][c] = s->largest[b][c] = x[c];
        }} else {{
            s->sum[b][c] += v;
            s->squares[b][c] += v * v;
            s->change[b][c] += change;
            if (v < s->least[b][c]) {{
                s->least[b][c] = x[c];
            }}
            if (v > s->largest[b][c]) {{
                s->largest[b][c] = x[c];
            }}
        }}
        s->last[c] = x[c];
    }}
    s->count++;
    if (s->count < HOP) {{
        return 0;
    }}
    s->count = 0;
    s->block = (uint8_t)(b + 1 < BLOCKS ? b + 1 : 0);
    if (s->filled < BLOCKS) {{
        s->filled++;
    }}
    return 1;
}}

static int32_t root(int32_t square) {{
    int32_t result = 0;
    for (int32_t bit = 1 << 11; bit > 0; bit >>= 1) {{
        const int32_t next = result + bit;
        if (next * next <= square) {{
            result = next;
        }}
    }}
    return result;
}}

static void describe(const {name}_state_t *s, int16_t features[]) {{
    const int32_t n = s->filled * HOP;
    const int newest = s->block > 0 ? s->block - 1 : BLOCKS - 1;
    const int oldest = s->filled < BLOCKS ? 0 : s->block;
    for (int c = 0; c < CHANNELS; c++) {{
        int32_t sum = 0, squares = 0, change = 0, least = 32767, largest = -32768;
        for (int b = 0; b < s->filled; b++) {{
            sum += s->sum[b][c];
            squares += s->squares[b][c];
            change += s->change[b][c];
            least = s->least[b][c] < least ? s->least[b][c] : least;
            largest = s->largest[b][c] > largest ? s->largest[b][c] : largest;
        }}
        const int32_t mean = sum / n;
        *features++ = (int16_t)mean;
        *features++ = (int16_t)root((squares - mean * (2 * sum - n * mean)) / n);
        *features++ = (int16_t)least;
        *features++ = (int16_t)largest;
        *features++ = (int16_t)({CHANGE} * change / n);
        *features++ = (int16_t)((s->sum[newest][c] - s->sum[oldest][c]) / HOP);
    }}
}}
"""
