#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# CMSIS-DSP's RMS of 16-bit samples is 0 up to 181 counts, and its 32-bit one wraps in a window that holds gravity.
#
# Software: CMSIS-DSP's C as in cmsisdsp 1.10.1 (numpy 2.3.5, Python 3.11, x86-64); 1.10.3, built from source, does the same.
# Seen: arm_rms_q15 rounds the mean square down to a step of 2^-15 before the root, so that it knows only 0, 181, 256, 313, ...
#   counts: of a movement of 150 (9 mg where 16,384 are 1 g) it says 0, and so does arm_std_q15, with or without gravity below it.
#   arm_rms_q31 of the same counts, in its upper halves, is right there; of 256 samples about 1 g it says 150, not 16,385, and
#   0 if all are equal, since the sum of squares wraps. arm_std_q31 and the float functions are right everywhere. No status tells.
# Guess: that a root of int16 counts is right to a count or two, and that with 32 bits for 16 the trouble is over.
# For users: take features in float32 or with arm_std_q31; before arm_rms_q31 shift down by log2(samples), as its manual asks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check --only-binary :all: cmsisdsp==1.10.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import cmsisdsp
import numpy as np

SAMPLES, GRAVITY = 256, 16384  # counts of an accelerometer of 2 g in 16 bits
movement = np.rint(150 * np.sqrt(2) * np.sin(2 * np.pi * 5 * np.arange(SAMPLES) / SAMPLES))


def exact(counts, centred):
    values = counts.astype(float)
    return values.std(ddof=1) if centred else np.sqrt((values**2).mean())


def fixed(counts):
    """RMS and standard deviation in counts: of Q15, of Q31 with the counts in its upper half, of float32."""
    q15, q31, f32 = counts.astype(np.int16), counts.astype(np.int32) << 16, (counts / 32768).astype(np.float32)
    return [
        [
            getattr(cmsisdsp, f"arm_{name}_q15")(q15),
            getattr(cmsisdsp, f"arm_{name}_q31")(q31) / 65536,
            getattr(cmsisdsp, f"arm_{name}_f32")(f32) * 32768,
        ]
        for name in ("rms", "std")
    ]


found = {}
for name, counts in (
    ("movement", movement),
    ("movement on gravity", GRAVITY + movement),
    ("gravity", np.full(SAMPLES, GRAVITY)),
):
    found[name] = rms, std = fixed(counts)
    for what, its, centred in (("rms", rms, False), ("std", std, True)):
        reference = exact(counts, centred)
        print(f"{name}: {what} is {reference:.1f}; Q15 {its[0]}, Q31 {its[1]:.1f}, float32 {its[2]:.1f}")
        assert abs(its[2] - reference) < 0.1
        if what == "std":
            assert abs(its[1] - reference) < 1
shifted = cmsisdsp.arm_rms_q31((GRAVITY + movement).astype(np.int32) << 8) / 256
print(f"movement on gravity: Q31 of samples shifted down by 8 bits, rms {shifted:.1f}")
assert abs(shifted - exact(GRAVITY + movement, centred=False)) < 1
levels = sorted({cmsisdsp.arm_rms_q15(np.full(SAMPLES, level, np.int16)) for level in range(400)})
print("every RMS that Q15 can give to constants of 0 to 399 counts:", levels)
(rms, std), (rms_on_gravity, std_on_gravity) = found["movement"], found["movement on gravity"]
assert abs(rms[1] - 150) < 1 and abs(rms_on_gravity[0] - GRAVITY) < 3
assert levels == [0, 181, 256, 313, 362], "the behaviour has changed"
assert rms[0] == std[0] == std_on_gravity[0] == 0, "the behaviour has changed"
assert rms_on_gravity[1] < GRAVITY / 2 and found["gravity"][0][1] == 0, "the behaviour has changed"
PY
env/bin/python demonstrate.py
