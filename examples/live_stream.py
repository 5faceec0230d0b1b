# SPDX-License-Identifier: Apache-2.0
"""An exported file on a live signal: one sample at a time, lost samples told, decisions as they change, and the input watched.

python live_stream.py runs/frame/export/shaking_int8.tflite
"""

import sys

from signals import recordings

from memkd_edge import StreamingClassifier

classifier = StreamingClassifier(sys.argv[1])
monitor = classifier.monitor()
signal = recordings(people=1)[list(classifier.metadata.channels)].to_numpy("float32")
held = None
for number, sample in enumerate(signal):
    if number == 500:
        classifier.gap(3)  # three samples were lost before this one
    scores = classifier.push(sample)
    if (reading := monitor.push(sample)) and reading.odd:
        print(*reading.sentences, sep="\n")
    if scores is not None and classifier.decision is not None and classifier.decision != held:
        held = classifier.decision
        print(f"{number / 50:5.2f} s  {classifier.labels[held]}  {scores[held]:.2f}")
