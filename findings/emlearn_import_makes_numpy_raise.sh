#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Importing emlearn makes numpy raise at every underflow, anywhere in the process.
#
# Software: emlearn 0.23.2 (numpy 2.3.5, Python 3.11).
# Seen: emlearn/bayes.py, which `import emlearn` loads, calls numpy.seterr(all="raise"). From then on a softmax of far logits, whose
#   small terms are rightly 0, ends in FloatingPointError: underflow encountered in exp, in code that has nothing to do with emlearn.
# Guess: that importing a converter of models changes nothing outside of it.
# For users: `with numpy.errstate(): import emlearn` puts numpy's handling back, as experiments/rivals/forest.py does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check emlearn==0.23.2 scikit-learn==1.9.1 numpy==2.3.5 setuptools pybind11
cat > demonstrate.py <<'PY'
import sys

import numpy as np


def softmax(logits):
    terms = np.exp(logits - logits.max())
    return terms / terms.sum()


logits = np.array([0.0, -800.0])
before = np.geterr()
assert softmax(logits).tolist() == [1.0, 0.0]
if sys.argv[1] == "guarded":
    with np.errstate():
        import emlearn
    assert np.geterr() == before
    print("guarded:", softmax(logits))
else:
    import emlearn
    print("before:", before)
    print("after import emlearn:", np.geterr())
    assert set(np.geterr().values()) == {"raise"}, "the behaviour has changed"
    try:
        softmax(logits)
    except FloatingPointError as error:
        print("softmax:", error)
    else:
        raise SystemExit("the behaviour has changed")
PY
env/bin/python demonstrate.py plain
env/bin/python demonstrate.py guarded
