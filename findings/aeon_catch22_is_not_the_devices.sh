#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# aeon's Catch22 is not the C that a device would run: a forest trained on it is right 1.00, on the C's features .75.
#
# Software: aeon 1.6.0; pycatch22 1.0.2 and 0.4.5, which are catch22's C (numpy 2.3.5, scikit-learn 1.9.1, Python 3.11).
# Seen: on 200 windows of simulated acceleration, gravity in them, 16 of the 22 features of 1.0.2 differ from aeon's by more than
#   1 % in most windows, 8 of those of 0.4.5, the modes in all: aeon takes a window as it is, the C standardises it before. Of
#   windows standardised by hand none of 0.4.5 differs, and 10 of 1.0.2, periods and runs among them, which catch22 computes
#   otherwise since 1.0. aeon has two short names exchanged: features=["low_freq_power"] is the centroid of the spectrum,
#   "centroid_freq" the power. aeon says nothing of all this; pycatch22 1.0.2 warns where a name has changed.
# Guess: that 22 features published with their C are the same 22 numbers in a library that offers to compute them faster.
# For users: train on pycatch22's features, of the release that runs on the device; at the least, standardise windows for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check aeon==1.6.0 pycatch22==1.0.2 numpy==2.3.5 scikit-learn==1.9.1 \
    numba==0.63.1
env/bin/pip install --quiet --disable-pip-version-check --no-deps --target old pycatch22==0.4.5
cat > demonstrate.py <<'PY'
import warnings
from importlib.metadata import version

import numpy as np
import pycatch22
from aeon.transformations.collection.feature_based import Catch22
from sklearn.ensemble import RandomForestClassifier

warnings.simplefilter("ignore", DeprecationWarning)  # of the names of before 1.0
RELEASE = version("pycatch22")
RATE, SECONDS = 50, 5
t = np.arange(RATE * SECONDS) / RATE
rng = np.random.default_rng(0)
# In aeon's order. The names are those of before 1.0, which 1.0.2 still knows.
NAMES = """
    DN_HistogramMode_5 DN_HistogramMode_10 CO_f1ecac CO_FirstMin_ac CO_HistogramAMI_even_2_5 CO_trev_1_num MD_hrv_classic_pnn40
    SB_BinaryStats_mean_longstretch1 SB_TransitionMatrix_3ac_sumdiagcov PD_PeriodicityWang_th0_01
    CO_Embed2_Dist_tau_d_expfit_meandiff IN_AutoMutualInfoStats_40_gaussian_fmmi FC_LocalSimple_mean1_tauresrat
    DN_OutlierInclude_p_001_mdrmd DN_OutlierInclude_n_001_mdrmd SP_Summaries_welch_rect_area_5_1 SB_BinaryStats_diff_longstretch0
    SB_MotifThree_quantile_hh SC_FluctAnal_2_rsrangefit_50_1_logi_prop_r1 SC_FluctAnal_2_dfa_50_1_2_logi_prop_r1
    SP_Summaries_welch_rect_centroid FC_LocalSimple_mean3_stderr
""".split()


def window(kind):
    """One axis of an accelerometer in m/s2, gravity as the sensor happens to lie: still, walking, drifting, running."""
    noise, phases, frequency = rng.normal(size=len(t)), rng.uniform(0, 6, 2), rng.uniform(1.5, 2.2)
    walking = np.sin(2 * np.pi * frequency * t + phases[0]) + 0.5 * np.sin(4 * np.pi * frequency * t + phases[1])
    movement = (
        0.05 * noise,
        rng.uniform(0.5, 2) * walking + 0.3 * noise,
        0.1 * np.cumsum(noise) + 0.2 * rng.normal(size=len(t)),
        rng.uniform(1, 4) * np.abs(np.sin(np.pi * rng.uniform(2.4, 3.2) * t + phases[0])) + 0.5 * noise,
    )[kind]
    return np.round(rng.uniform(-9.81, 9.81) + movement, 2)


def windows(each):
    kinds = np.repeat(range(4), each)
    return np.array([window(kind) for kind in kinds]), kinds


def standardised(x):
    return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True, ddof=1)


def of_aeon(x, features="all"):
    return Catch22(features=features).fit_transform(x[:, None])


def of_c(x, names=tuple(NAMES)):
    return np.array([[getattr(pycatch22, name)(one.tolist()) for name in names] for one in x])


(x, kinds), (test, right) = windows(100), windows(50)
scores = {}
for how, change in (("as they are", lambda x: x), ("standardised", standardised)):
    forest = RandomForestClassifier(100, random_state=0).fit(of_aeon(change(x)), kinds)
    ours, other = of_aeon(change(test)), of_c(change(test))
    share = (np.abs(ours - other) > 0.01 * np.abs(other) + 1e-6).mean(0)
    scores[how] = forest.score(ours, right), forest.score(other, right), int((share > 0.5).sum())
    print(f"pycatch22 {RELEASE}, windows {how}: a forest on aeon's features is right {scores[how][0]:.3f}, ", end="")
    print(f"on the C's {scores[how][1]:.3f}; {scores[how][2]} of 22 features differ by over 1 % in most windows:")
    print("  " + " ".join(f"{name} {part:.0%}" for name, part in zip(NAMES, share, strict=True) if part > 0.5))
    again = RandomForestClassifier(100, random_state=0).fit(of_c(change(x)), kinds).score(other, right)
    print(f"  trained on the C's features, a forest is right {again:.3f} on them")
    assert scores[how][0] > 0.97 and again > 0.97
assert scores["as they are"][1] < 0.85, "the behaviour has changed"
if RELEASE == "0.4.5":
    assert scores["as they are"][2] > 5, "the behaviour has changed"
    assert scores["standardised"][2] == 0
else:
    assert scores["as they are"][2] > 12 and scores["standardised"][2] > 7, "the behaviour has changed"

short = of_aeon(test, ["low_freq_power", "centroid_freq"])
power, centroid = of_c(test, ["SP_Summaries_welch_rect_area_5_1", "SP_Summaries_welch_rect_centroid"]).T
print(f"low_freq_power of the first walking window: aeon {short[50, 0]:.3f}, the C {power[50]:.3f}; ", end="")
print(f"the centroid of its spectrum: {centroid[50]:.3f}")
assert np.median(np.abs(short[:, 0] - centroid)) < 0.01 < np.median(np.abs(short[:, 0] - power)), "the behaviour has changed"
PY
env/bin/python demonstrate.py
PYTHONPATH=old env/bin/python demonstrate.py
