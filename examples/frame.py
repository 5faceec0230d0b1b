# SPDX-License-Identifier: Apache-2.0
"""A DataFrame of recordings becomes a streaming int8 model."""

from signals import recordings

import memkd_edge as me

data = me.recordings_from_frame(recordings(), name="shaking")
run = me.distill(data=data, name="frame", force=True)
me.export(run, format="tflite", quantize="int8", force=True)
page = me.report(run)
print("accuracy per sample, never reset:", round(run.metadata.accuracy or 0, 3))
print("page:", page.page)
