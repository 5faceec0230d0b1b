#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ahrs's EKF, told ENU, holds a sensor right while it lies still and turns it over once it moves; its AQUA gives the inverse.
#
# Software: ahrs 0.4.0 (scipy 1.17.1, numpy 2.3.5, Python 3.11).
# Seen: simulated gyroscope and accelerometer (+9.81 on the axis that is up), tilted 40 degrees to and fro about x. Madgwick,
#   Mahony and UKF follow within 1 degree. EKF(frame="ENU") is right at rest, but after 20 s of movement it has the sensor upside
#   down, the vertical 180 degrees off; with frame="NED", whose z is down, it follows the same samples within 1. AQUA, told
#   either frame, gives the inverse rotation, within 1 degree: up to 80 from the others. No warning, no error.
# Guess: that the filters of a library agree on one recording, and that in ENU a sensor at rest reads +g on z, as its pages say.
# For users: give its EKF samples with z up as NED, invert what AQUA gives, and try a filter on a moving sensor, not on a table.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check AHRS==0.4.0 scipy==1.17.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import numpy as np
from ahrs.filters import AQUA, EKF, UKF, Madgwick, Mahony
from scipy.spatial.transform import Rotation

RATE, SECONDS, SETTLED = 100, 30, 2000
t = np.arange(RATE * SECONDS) / RATE
FILTERS = {
    "Madgwick": lambda **signals: Madgwick(**signals),
    "Mahony": lambda **signals: Mahony(**signals),
    "UKF": lambda **signals: UKF(**signals),
    "EKF, NED": lambda **signals: EKF(frame="NED", **signals),
    "EKF, ENU": lambda **signals: EKF(frame="ENU", **signals),
    "AQUA, NED": lambda **signals: AQUA(frame="NED", **signals),
    "AQUA, ENU": lambda **signals: AQUA(frame="ENU", **signals),
}


def degrees(rotation):
    return np.rad2deg(rotation.magnitude()[SETTLED:])


def off(name, angle):
    """Degrees from the true rotation, from its inverse, and between the verticals, once settled."""
    truth = Rotation.from_rotvec(np.stack([angle, 0 * t, 0 * t], 1))  # from the sensor's axes to the earth's, z up
    rate = np.gradient(angle, 1 / RATE)
    acceleration = truth.inv().apply([0, 0, 9.81])  # what an accelerometer reads: +g on the axis that is up
    found = FILTERS[name](gyr=np.stack([rate, 0 * t, 0 * t], 1), acc=acceleration, frequency=RATE).Q
    found = Rotation.from_quat(np.asarray(found), scalar_first=True)
    up = found.apply(acceleration / 9.81)[SETTLED:, 2]
    return degrees(truth.inv() * found), degrees(truth * found), np.rad2deg(np.arccos(np.clip(up, -1, 1)))


still, moving = 0 * t, np.deg2rad(40) * np.sin(2 * np.pi * 0.2 * t)
for name in FILTERS:
    at_rest, (direct, inverse, vertical) = off(name, still)[0].max(), off(name, moving)
    print(
        f"{name}: at rest {at_rest:.1f} degrees off; moving up to {direct.max():.1f} from the rotation, {inverse.max():.1f} from "
        f"its inverse, the vertical {vertical.max():.1f}, median {np.median(vertical):.1f}"
    )
    assert at_rest < 0.1
    if name == "EKF, ENU":
        assert np.median(vertical) > 150, "the behaviour has changed"
    elif name.startswith("AQUA"):
        assert direct.max() > 70 and inverse.max() < 1, "the behaviour has changed"
    else:
        assert direct.max() < 1
PY
env/bin/python demonstrate.py
