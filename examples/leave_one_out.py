# SPDX-License-Identifier: Apache-2.0
"""Each person is left out once: the spread of what a new wearer can expect."""

from signals import recordings

import memkd_edge as me

everyone = me.recordings_from_frame(recordings(), name="shaking")
for data in me.leave_one_subject_out(everyone):
    (subject,) = {one.subject for one in data.test}
    run = me.distill(data=data, method="base", hidden=4, name=f"without-{subject}", force=True)
    stream = run.read_json("metrics.json")["student"]["stream"]
    print(f"{subject}: accuracy {stream['accuracy']:.3f}, macro F1 {stream['f1_macro']:.3f}")
