# SPDX-License-Identifier: Apache-2.0
"""What a model's metadata say about its use, as figures for firmware and in words: one text for header, README and card.

`StreamingClassifier` does the same. All counts are samples that the caller pushes: the sensor's own, or the model's time steps
where resampling is the caller's.
"""

from dataclasses import dataclass

from memkd_edge.metadata import Metadata, Resampling
from memkd_edge.vocabulary import Decision, Reset


@dataclass(frozen=True)
class Contract:
    """How a model is fed and when it decides.

    reset, decides, margin and refuse_below (in logits): as in the metadata. staggered: two states, half a window apart. window:
    samples of one, 0 where none is counted. not_yet: samples after the beginning that get no decision. hold: missing samples up
    to which the last one is held. steps_per_sample: of the model, in all its states, on average. fidelity: in words, how often
    its integers decide as the float student along a stream; "" where that is not known.
    """

    reset: Reset
    decides: Decision
    margin: float
    refuse_below: float | None
    staggered: bool
    window: int
    not_yet: int
    hold: int
    steps_per_sample: float = 1.0
    fidelity: str = ""

    @property
    def refuses(self) -> bool:
        """The answer may be none."""
        return self.refuse_below is not None

    @property
    def at_window_ends(self) -> bool:
        """The decision is read after every `window` samples only."""
        return self.reset == Reset.NEVER and self.decides == Decision.WINDOW_END and self.window > 1

    @property
    def counts(self) -> bool:
        """Where a stream stands matters."""
        return bool(self.staggered or self.at_window_ends or self.not_yet)

    @property
    def sentences(self) -> list[str]:
        """The contract in words."""
        return [sentence for sentence in (*self._state(), self._held(), self._refused(), self._gaps(), self.fidelity) if sentence]

    def _state(self) -> list[str]:
        first = f" after the first {_samples(self.not_yet)}" if self.not_yet else ""
        if self.at_window_ends:
            return [
                "Its state runs for ever: it was trained on streams.",
                f"It decides after every {_samples(self.window)}; between them the decision stands.",
            ]
        if self.reset == Reset.NEVER:
            return [f"Its state runs for ever: it was trained on streams. It decides at every sample{first}."]
        if self.reset == Reset.EVENT:
            return [
                "It was trained on series that an event starts: the program begins a series where one starts.",
                f"It decides at every sample{first}.",
            ]
        if self.staggered:
            return [
                f"It was trained on windows of {_samples(self.window)}, so two states run half a window apart, "
                "each begins anew after a window, and the older one decides.",
                f"It decides at every sample{first}.",
            ]
        return ["It was trained on whole series: the program begins anew where one starts. It decides at every sample."]

    def _held(self) -> str:
        if not self.margin:
            return ""
        return f"Another class takes over where its logit leads that of the class held by more than {self.margin:g}."

    def _refused(self) -> str:
        if self.refuse_below is None:
            return ""
        return f"The answer is none where the logit of the class held does not lead every other by {self.refuse_below:.3g}."

    def _gaps(self) -> str:
        return f"A gap of up to {_samples(self.hold)} is filled with the last one; after a longer one the stream begins anew."


def contract(metadata: Metadata, *, resampled: bool) -> Contract:
    """Return the contract of a model.

    Args:
        metadata: of the model.
        resampled: the caller pushes the model's time steps; otherwise the sensor's samples.
    """
    window, warm_up, hold = metadata.window_length, metadata.warm_up_samples, metadata.hold_limit
    if resampled:
        per_sample = metadata.resampling.steps_per_sample
        window = _steps(metadata.resampling, window)
        warm_up, hold = metadata.warm_up, max(1, round(hold * per_sample))
    staggered = metadata.reset == Reset.WINDOW and window > 1
    at_ends = metadata.reset == Reset.NEVER and metadata.decides == Decision.WINDOW_END
    factor = 1 if resampled else metadata.resampling.factor
    if at_ends:  # where a step ends: the samples left over of a window made none in training, either
        window = window // factor * factor
    if staggered:
        not_yet = window // 2 - 1
    elif at_ends:
        not_yet = max(window, 1) - 1
    else:
        not_yet = 0 if metadata.reset == Reset.WINDOW else warm_up
    not_yet = (not_yet // factor + 1) * factor - 1  # the next step's sample decides first
    counted = window if staggered or at_ends else 0
    steps = (2 if staggered else 1) * (1 if resampled else metadata.resampling.steps_per_sample)
    margin, floor = metadata.decision_margin, metadata.refuse_below
    fidelity = _fidelity(metadata)
    return Contract(metadata.reset, metadata.decides, margin, floor, staggered, counted, not_yet, hold, steps, fidelity)


def stream_in_words(samples: int, held_out: int) -> str:
    """Return what stream a model's integers were compared with its float student along; see `Metadata.stream_agreement`."""
    looped = f" ({held_out:,} different ones, looped)" if held_out < samples else ""
    return f"{samples:,} held-out samples without a reset{looped}"


def _fidelity(metadata: Metadata) -> str:
    if metadata.stream_agreement is None:
        return ""
    stream = stream_in_words(metadata.stream_samples, metadata.stream_held_out)
    share = f"{metadata.stream_agreement:.4f} of the decisions"
    return f"Its integers ({metadata.arithmetic}) agree with the float student on {share} along {stream}, measured."


def _steps(resampling: Resampling, samples: int) -> int:
    """Return the model's time steps of a window of `samples`."""
    if resampling.kind == "linear":
        return (samples - 1) * (resampling.output_length - 1) // (resampling.input_length - 1) + 1 if samples else 0
    return samples // resampling.factor


def _samples(count: int) -> str:
    return f"{count:,} sample{'s' if count != 1 else ''}"
