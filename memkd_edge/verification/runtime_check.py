# SPDX-License-Identifier: Apache-2.0
"""Runs one exported file in each runtime and measures it there against the float student.

    torch float32 -> numpy integer reference -> LiteRT x3, tflite-runtime, TFLite Micro, tf.lite | onnxruntime | compiled C

Each runtime streams the whole test set from reset, one stream of 10,000 steps without a reset, and the state probe: from a zero
state one sample must leave a state that is not zero (some kernel sets forget the state without an error).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import MemkdEdgeError, MissingToolError
from memkd_edge.formats.step_interface import StepInterface
from memkd_edge.padding import held, hold, is_padded, lengths, samples
from memkd_edge.progress import Reporter
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.verification.reference_runner import ReferenceRunner
from memkd_edge.verification.runtimes import Job, Runner, Streamed

STREAM_STEPS = 10_000
MAX_TIE_SHARE = 1e-3  # LiteRT rounds exact negative ties away from zero where TFLite Micro rounds up: rare, and 1 LSB
FLOAT_TOLERANCE = 1e-3  # of the largest logit: float kernels differ in the order of their sums

GoldenVector = tuple[NDArray[np.float32], NDArray[np.float64]]  # model input [1, T, C], real logits [K]
Feed = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Results = dict[str, Streamed]


@dataclass(frozen=True)
class ReferenceData:
    """What a file is measured on.

    x: normalised float32 [N, T, C], padded or not; y: int64 [N] or None; stream: float32 [1, 10000, C], series after series.
    logits [N, K] and stream_logits [10000, K]: what the float student answers, after each series and after each step of the
    stream.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64] | None
    stream: NDArray[np.float32]
    logits: NDArray[Any]
    stream_logits: NDArray[Any]

    @property
    def probe(self) -> NDArray[np.float32]:
        """The largest sample there is, [1, 1, C]."""
        every = samples(self.x)
        largest = int(np.abs(every).max(axis=1).argmax())
        return every[None, largest : largest + 1]


@dataclass(frozen=True)
class Accuracy:
    """Answers against the float student's: share of equal decisions, and the logits' error in real values."""

    agreement: float
    max_error: float
    mean_error: float

    @classmethod
    def of(cls, logits: NDArray[Any], expected: NDArray[Any]) -> "Accuracy":
        """Compare logits with the expected ones, [M, K] each."""
        error = np.abs(logits - expected)
        return cls(float((logits.argmax(-1) == expected.argmax(-1)).mean()), float(error.max()), float(error.mean()))


@dataclass(frozen=True)
class RuntimeResult:
    """The outcome of one runtime on one file.

    status: "ok", "not installed" or "failed", with detail saying why. test: over the test set; stream: over the long stream
    (None for a graph that takes series whole). accuracy: against the labels. mismatches of compared integers: against the
    numpy reference; `exact` promises 0 of them over free-running streams, otherwise single steps from the reference's own
    states are compared, where only rounding ties may differ, by largest_mismatch = 1 LSB. state_kept: the state probe.
    golden: whether the file's golden vectors come out (None: it has none).
    """

    title: str
    status: str
    detail: str = ""
    test: Accuracy | None = None
    stream: Accuracy | None = None
    accuracy: float | None = None
    exact: bool = False
    mismatches: int | None = None
    compared: int = 0
    largest_mismatch: int = 0
    state_kept: bool | None = None
    golden: bool | None = None
    seconds: float = 0.0

    def failures(
        self, min_agreement: float, error_limit: float, *, against: str = "the float student", remedy: str = ""
    ) -> list[str]:
        """Return the gates this runtime fails, in words.

        Args:
            error_limit: the largest logit error allowed.
            against: what it was measured against. remedy: of too low an agreement, "" where there is none.
        """
        if self.status == "not installed":
            return []
        if self.status == "failed" or self.test is None:
            return [self.detail]
        found = []
        if self.test.agreement < min_agreement:
            found.append(
                f"agrees with {against} on {self.test.agreement:.4f} of the test series, below {min_agreement:g}"
                + (f": {remedy}" if remedy else "")
            )
        if self.test.max_error > error_limit:
            found.append(f"logits are up to {self.test.max_error:.3g} from those of {against}, more than {error_limit:.3g}")
        if self.mismatches and self.exact:
            found.append(f"{self.mismatches} of {self.compared} integers differ from the reference; 0 are promised")
        elif self.mismatches and (self.largest_mismatch > 1 or self.mismatches > MAX_TIE_SHARE * self.compared):
            found.append(
                f"{self.mismatches} of {self.compared} integers differ from the reference, by up to {self.largest_mismatch} LSB: "
                "more than rounding ties"
            )
        if self.state_kept is False:
            found.append("the state is still zero after a sample: this runtime forgets it")
        if self.golden is False:
            found.append("the golden vectors in the file's metadata do not come out")
        return found


def same(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return x: for a file that takes normalised series."""
    return x


def one_stream(x: NDArray[np.float32], steps: int = STREAM_STEPS) -> NDArray[np.float32]:
    """Join the series x [N, T, C] end to end, over and over, into [1, steps, C]."""
    every = samples(x)
    return np.take(every, np.arange(steps) % len(every), axis=0)[None]


def check_runtimes(
    runners: Sequence[Runner],
    interface: StepInterface,
    data: ReferenceData,
    *,
    feed: Feed = same,
    model: QuantizedClassifier | None = None,
    golden: Sequence[GoldenVector] = (),
    progress: Reporter,
) -> list[RuntimeResult]:
    """Measure one file on each of its runners.

    Args:
        interface: of the file.
        feed: turns normalised series into what the file's x stands for (sensor counts, physical units).
        model: the integer model the file was written from, if there is one to compare with bit by bit.
        golden: the vectors the file carries.
    """
    jobs = {"test": Job(interface.x.quantize(feed(held(data.x))), every=is_padded(data.x))}
    if interface.states:
        jobs["stream"] = Job(interface.x.quantize(feed(data.stream)), every=True)
        jobs["probe"] = Job(interface.x.quantize(feed(data.probe)))
    jobs |= {f"golden{n}": Job(interface.x.quantize(x)) for n, (x, _) in enumerate(golden)}
    outcomes = []
    progress.step("runtimes", 0, len(runners), note="numpy reference")
    reference: Results = {}
    if model is not None:
        start = time.perf_counter()
        reference = {name: _reference(model, interface, job) for name, job in jobs.items() if name != "stream"}
        if all(runner.exact for runner in runners):
            reference["stream"] = _reference_along(model, interface, jobs["stream"])
        else:
            reference["stream"], jobs["single steps"], reference["single steps"] = _reference_steps(
                model, interface, jobs["stream"]
            )
        outcomes.append(_result("numpy reference", interface, data, golden, reference, {}, start))
    for runner in progress.each("runtimes", runners, "", lambda runner: runner.title):
        start = time.perf_counter()
        # Where bits are promised, free-running streams are compared; elsewhere single steps, or one tie would count for ever.
        compared = {"test", "stream", "probe"} if runner.exact else {"single steps"}
        wanted = {name: job for name, job in jobs.items() if name != "single steps" or name in compared}
        try:
            results = dict(zip(wanted, runner.stream(list(wanted.values())), strict=True))
        except MemkdEdgeError as error:
            status = "not installed" if isinstance(error, MissingToolError) else "failed"
            outcomes.append(RuntimeResult(runner.title, status, str(error), exact=runner.exact))
            continue
        expected = {name: result for name, result in reference.items() if name in compared}
        result = _result(runner.title, interface, data, golden, results, expected, start)
        outcomes.append(replace(result, exact=runner.exact))
    return outcomes


def first_answer(
    runners: Sequence[Runner], interface: StepInterface, x: NDArray[np.float32], long: NDArray[np.float32]
) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """Return the title of the first runner that works, and its logits after each series and at each step of `long`.

    Raises:
        MemkdEdgeError: none works; the first refusal.
    """
    jobs = [Job(interface.x.quantize(x))]
    if interface.states:
        jobs.append(Job(interface.x.quantize(long), every=True))
    refusals = []
    for runner in runners:
        try:
            results = runner.stream(jobs)
        except MemkdEdgeError as error:
            refusals.append(error)
            continue
        real = interface.logits.dequantize
        return runner.title, real(results[0].logits[:, -1]), real(results[-1].logits[0])
    raise next((error for error in refusals if not isinstance(error, MissingToolError)), refusals[0])


def _result(
    title: str,
    interface: StepInterface,
    data: ReferenceData,
    golden: Sequence[GoldenVector],
    results: Results,
    expected: Results,
    start: float,
) -> RuntimeResult:
    real = interface.logits.dequantize
    after = results["test"].logits
    logits = real(hold(after, lengths(data.x))[:, -1] if is_padded(data.x) else after[:, -1])
    mismatches, compared, largest = _mismatches(results, expected)
    streamed, kept = None, None
    if interface.states:
        streamed = Accuracy.of(real(results["stream"].logits[0]), data.stream_logits)
        # The cell state where there is one: an LSTM's h can be rounded to 0 while c is not.
        (_, port), state = interface.states[-1], results["probe"].states[-1]
        kept = bool((state != port.zero_point).any())
    return RuntimeResult(
        title,
        "ok",
        test=Accuracy.of(logits, data.logits),
        stream=streamed,
        accuracy=None if data.y is None else float((logits.argmax(-1) == data.y).mean()),
        mismatches=mismatches if expected else None,
        compared=compared,
        largest_mismatch=largest,
        state_kept=kept,
        golden=all(
            np.abs(real(results[f"golden{n}"].logits[0, -1]) - answer).max() <= _golden_tolerance(interface, answer)
            for n, (_, answer) in enumerate(golden)
        )
        if golden
        else None,
        seconds=time.perf_counter() - start,
    )


def _golden_tolerance(interface: StepInterface, answer: NDArray[np.float64]) -> float:
    lsb = interface.logits.scale if interface.logits.dtype != "float32" else 0.0
    return lsb + FLOAT_TOLERANCE * max(1.0, float(np.abs(answer).max()))


def _mismatches(got: Results, wanted: Results) -> tuple[int, int, int]:
    """Return how many integers differ, of how many, and by how many LSB at most."""
    differing, total, largest = 0, 0, 0
    for name, expected in wanted.items():
        for a, b in zip((got[name].logits, *got[name].states), (expected.logits, *expected.states), strict=True):
            distance = np.abs(a.astype(np.int64) - b.astype(np.int64))
            differing += int((distance != 0).sum())
            total += distance.size
            largest = max(largest, int(distance.max()))
    return differing, total, largest


def _reference(model: QuantizedClassifier, interface: StepInterface, job: Job) -> Streamed:
    runner = ReferenceRunner(model, interface, len(job.x))
    logits = runner.run(job.x)
    return Streamed(logits if job.every else logits[:, -1:], runner.states)


def _reference_along(model: QuantizedClassifier, interface: StepInterface, job: Job) -> Streamed:
    """Run the one long series of `job` through the compiled steps; numpy takes half a second for it."""
    runner = ReferenceRunner(model, interface)
    return Streamed(runner.run_long(job.x), runner.states)


def _reference_steps(model: QuantizedClassifier, interface: StepInterface, job: Job) -> tuple[Streamed, Job, Streamed]:
    """Run the one series of `job`; return the result, and all its steps as series of length 1 with their result."""
    runner = ReferenceRunner(model, interface)
    before, after, logits = [], [], []
    for t in range(job.x.shape[1]):
        before.append(runner.states)
        logits.append(runner.step(job.x[:, t]))
        after.append(runner.states)
    answers = np.stack(logits, axis=1)  # [1, S, K]
    steps = Job(np.moveaxis(job.x, 1, 0), tuple(np.concatenate(states) for states in zip(*before, strict=True)))
    outcome = Streamed(np.moveaxis(answers, 1, 0), tuple(np.concatenate(states) for states in zip(*after, strict=True)))
    return Streamed(answers, after[-1]), steps, outcome
