# SPDX-License-Identifier: Apache-2.0
"""A random forest on window features: trained by scikit-learn, converted to C by emlearn, with a vote of each tree."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from experiments.rivals.rival import header
from experiments.rivals.window_features import Window, c_functions, features, inputs, state_members
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.data.prepare_recordings import Signal

with np.errstate():  # emlearn lets numpy raise at every underflow from then on
    import emlearn

SYSTEM_HEADER = "#pragma GCC system_header\n"  # no warnings, in which emlearn is rich
PHASES = 5  # starts of the hops within a stream that are learnt from


@dataclass(frozen=True)
class ForestSize:
    """How many trees of how many leaves at most."""

    trees: int
    leaves: int

    def __str__(self) -> str:
        return f"{self.trees} trees of {self.leaves} leaves"


@dataclass(frozen=True)
class Forest:
    """A rival, see rival.py. Its decision is that of the last hop, class 0 before the first; its logits are 1 for it, else 0."""

    trees: RandomForestClassifier
    window: Window
    channels: int
    classes: int

    @property
    def parameters(self) -> int:
        """Nodes of all trees, leaves included."""
        return sum(tree.tree_.node_count for tree in self.trees.estimators_)

    def inputs(self, x: NDArray[np.float32]) -> NDArray[np.int16]:
        return inputs(x)

    def logits(self, inputs: NDArray[np.int16]) -> NDArray[np.int16]:
        votes = np.zeros((len(inputs) // self.window.hop, self.classes), np.int64)
        known = features(inputs, self.window).astype(np.float32)
        for tree in self.trees.estimators_:
            of_tree = tree.tree_.predict(known).argmax(-1)
            votes[np.arange(len(votes)), of_tree] += 1
        hops = np.concatenate([[0], votes.argmax(-1)])
        return np.eye(self.classes, dtype=np.int16)[hops[np.arange(1, len(inputs) + 1) // self.window.hop]]

    def c_model(self) -> CModel:
        name = "forest"
        state = f"{state_members(self.window, self.channels)}\n    int8_t decision;"
        body = f"""#include "{name}.h"
#include "{name}_trees.h"
#include <string.h>
{c_functions(name, self.window, self.channels)}
void {name}_reset({name}_state_t *s) {{
    memset(s, 0, sizeof *s);
}}

void {name}_step_i16({name}_state_t *s, const int16_t x[], int16_t logits[]) {{
    if (take(s, x)) {{
        int16_t features[FEATURES];
        describe(s, features);
        s->decision = (int8_t)trees_predict(features, FEATURES);
    }}
    for (int k = 0; k < {name.upper()}_CLASSES; k++) {{
        logits[k] = k == s->decision;
    }}
}}
"""
        return CModel(
            name,
            {
                f"{name}.h": header(name, self.channels, self.classes, state, "int16_t", "i16"),
                f"{name}_trees.h": SYSTEM_HEADER + self._trees_in_c(),
                **_runtime(),
                f"{name}.c": body,
            },
        )

    def _trees_in_c(self) -> str:
        converted: Any = emlearn.convert(self.trees, method="loadable", dtype="int16_t")
        # It would write x < int(threshold) for x <= threshold, which is another tree where the threshold is above 0: of integers
        # x <= threshold is x < floor(threshold) + 1.
        for node in converted.forest_[0]:
            node[1] = math.floor(node[1]) + 1
        return _beside(converted.save(name="trees", include_proba=False))


def _runtime() -> dict[str, str]:
    """Return emlearn's headers, which are not free of warnings."""
    folder = Path(emlearn.includedir)
    names = ("eml_trees.h", "eml_common.h", "eml_log.h")
    return {name: SYSTEM_HEADER + _beside((folder / name).read_text()) for name in names}


def _beside(text: str) -> str:
    """Let C include emlearn's headers from where it is."""
    return re.sub(r"#include <(eml_\w+\.h)>", r'#include "\1"', text)


def train_forest(streams: Sequence[Signal], classes: int, size: ForestSize, window: Window, seed: int) -> Forest:
    """Train on streams (x [T, C] normalised, y [T] class or -1): the class at the end of each hop."""
    x, y = [], []
    for samples, labels in streams:
        for start in range(0, window.hop, max(1, window.hop // PHASES)):
            ends = labels[start + window.hop - 1 :: window.hop]
            x.append(features(inputs(samples[start:]), window)[: len(ends)])
            y.append(ends)
    rows, known = np.concatenate(x), np.concatenate(y)
    trees = RandomForestClassifier(size.trees, max_leaf_nodes=size.leaves, random_state=seed, n_jobs=1)
    trees.fit(rows[known >= 0], known[known >= 0])
    return Forest(trees, window, streams[0][0].shape[1], classes)
