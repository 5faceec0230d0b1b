# SPDX-License-Identifier: Apache-2.0
"""Cycles, latency, energy and battery life against hand-computed values."""

from dataclasses import replace

import numpy as np
import pytest

from memkd_edge.benchmark.devices.cycles import TIMINGS, estimate_cycles
from memkd_edge.benchmark.devices.estimates import (
    DutyCycle,
    battery_life,
    energy,
    latency_from_cycles,
    latency_from_instructions,
    on_battery,
    parse_quantity,
)
from memkd_edge.benchmark.devices.profiles import Device, Quantity
from memkd_edge.benchmark.emulation.measurement import Measurement
from memkd_edge.benchmark.emulation.plugin import Execution
from memkd_edge.benchmark.emulation.sections import Sections
from memkd_edge.benchmark.report.figures import Figure
from memkd_edge.errors import UsageError
from memkd_edge.vocabulary import FigureKind


def measurement(lines: list[tuple[str, int, int]]) -> Measurement:
    """A step of the given instructions: (text, executions, taken)."""
    return Measurement(
        instructions_per_step=sum(count for _, count, _ in lines),
        instructions_min=0,
        instructions_max=0,
        sections=Sections(0, 0, 0, 0, 0),
        stack_bytes=0,
        state_bytes=0,
        logits=np.zeros((1, 1)),
        profile={2 * index: Execution(count, taken) for index, (_, count, taken) in enumerate(lines)},
        disassembly={2 * index: text for index, (text, _, _) in enumerate(lines)},
        tool="test",
    )


def cycles(core: str, *lines: tuple[str, int, int]) -> tuple[float, float]:
    """The model's [lo, hi] without its error margin."""
    figure = estimate_cycles(measurement(list(lines)), core)
    error = TIMINGS[core].error
    return figure.lo / (1 - error), figure.hi / (1 + error)


def test_m0plus_costs_are_those_of_its_manual():
    # DDI 0484: loads and stores 2, multiply 1, PUSH 1 + N, taken branch 2, BL 3, POP with PC 3 + N.
    assert cycles("m0plus", ("ldr\tr0, [r1, #4]".replace("\t", " "), 10, 0)) == pytest.approx((20, 20))
    assert cycles("m0plus", ("muls r0, r1", 10, 0)) == pytest.approx((10, 10))
    assert cycles("m0plus", ("push {r4, r5, r6, r7, lr}", 1, 0)) == pytest.approx((6, 6))
    assert cycles("m0plus", ("bne.n 10", 10, 9)) == pytest.approx((19, 19))
    assert cycles("m0plus", ("bl 200 <f>", 1, 1)) == pytest.approx((3, 3))
    assert cycles("m0plus", ("pop {r4, pc}", 1, 1)) == pytest.approx((5, 5))


def test_m4_costs_are_those_of_its_manual():
    # DDI 0439: LDR 2, or 1 behind another load or store; STR 1; SMLAD 1; SDIV 2-12; taken branch 1 + P, P in 1..3; LDM 1 + N.
    assert cycles("m4", ("ldr r0, [r1]", 1, 0), ("ldr r2, [r1]", 1, 0)) == pytest.approx((3, 4))
    assert cycles("m4", ("smlad r0, r1, r2, r3", 7, 0)) == pytest.approx((7, 7))
    assert cycles("m4", ("sdiv r0, r1, r2", 1, 0)) == pytest.approx((2, 12))
    assert cycles("m4", ("bne.n 10", 10, 10)) == pytest.approx((20, 40))
    assert cycles("m4", ("ldmia.w r0!, {r4-r7, sl, lr}", 1, 0)) == pytest.approx((7, 7))
    assert cycles("m4", ("vfma.f32 s0, s1, s2", 2, 0)) == pytest.approx((6, 6))


def test_vectors_of_the_m55_take_one_or_two_cycles_and_gathers_up_to_one_for_each_element():
    assert cycles("m55", ("vmlava.s16 r0, q3, q2", 10, 0)) == pytest.approx((10, 20))
    assert cycles("m55", ("vldrb.s16 q2, [r0], #8", 10, 0)) == pytest.approx((10, 20))
    assert cycles("m55", ("vldrw.u32 q5, [r3, q0, uxtw #2]", 10, 0)) == pytest.approx((20, 40))
    assert cycles("m55", ("vstrw.32 q2, [q1, #4]!", 10, 0)) == pytest.approx((20, 40))
    assert cycles("m55", ("add r0, r1", 100, 0))[0] == pytest.approx(100 * 3.40 / 4.20)


def test_other_cores_scale_the_m4_by_published_coremark():
    line = ("add r0, r1", 100, 0)
    assert cycles("m7", line)[0] == pytest.approx(100 * 3.40 / 5.01)
    assert cycles("m33", line)[0] == pytest.approx(100 * 3.40 / 4.02)


def test_wait_states_widen_the_interval_upwards():
    step = measurement([("add r0, r1", 100, 0)])
    without, with_penalty = estimate_cycles(step, "m4"), estimate_cycles(step, "m4", (0.0, 0.4))
    assert with_penalty.lo == without.lo
    assert with_penalty.hi == pytest.approx(1.4 * without.hi)
    assert without.value < with_penalty.value < with_penalty.hi


def quantity(value, lo=None, hi=None) -> Quantity:
    return Quantity(value, value if lo is None else lo, value if hi is None else hi, "made up for this test")


PI = Device(
    "pi",
    "Pi",
    "qemu-user",
    quantities={
        "clock_mhz": quantity(1000),
        "instructions_per_cycle": quantity(2, 1, 4),
        "l2_kib": quantity(1),
        "memory_mb_per_s": quantity(100, 50, 200),
        "supply_v": quantity(5),
        "active_ma": quantity(600, 500, 700),
        "sleep_ua": quantity(1000),
    },
)


def test_weights_in_the_cache_leave_latency_to_the_instructions():
    latency = latency_from_instructions(Figure(4000, FigureKind.EMULATED, "", "test"), 1024, PI)
    assert (latency.value, latency.lo, latency.hi) == (2.0, 1.0, 4.0)


def test_weights_beyond_the_cache_are_limited_by_memory():
    latency = latency_from_instructions(Figure(4000, FigureKind.EMULATED, "", "test"), 1025, PI)
    assert (latency.value, latency.lo, latency.hi) == (10.25, 5.125, 20.5)


def test_a_clock_with_an_interval_widens_the_latency():
    slow = replace(PI, quantities={**PI.quantities, "clock_mhz": quantity(1000, 500, 2000)})
    latency = latency_from_instructions(Figure(4000, FigureKind.EMULATED, "", "test"), 1024, slow)
    assert (latency.value, latency.lo, latency.hi) == (2.0, 0.5, 8.0)
    latency = latency_from_cycles(Figure(4000, FigureKind.ESTIMATED, "cycles", "test", 3000, 6000), slow)
    assert (latency.value, latency.lo, latency.hi) == (4.0, 1.5, 12.0)


def test_energy_and_battery_life():
    latency = Figure(2000.0, FigureKind.MEASURED, "us", "test")
    spent = energy(latency, PI)
    assert (spent.value, spent.lo, spent.hi) == (pytest.approx(6000), pytest.approx(5000), pytest.approx(7000))
    # 50 x 2 ms: a tenth of the time at 0.6 A, else 1 mA: 60.9 mA; 6.09 Ah last 100 h.
    life = battery_life(latency, PI, DutyCycle(50, battery_ah=6.09))
    assert life.value == pytest.approx(100 / 24)
    assert life.lo < life.value < life.hi
    assert battery_life(latency, PI, DutyCycle(25, battery_ah=6.09, steps_per_sample=2)).value == pytest.approx(100 / 24)
    without_sleep = battery_life(latency, PI, DutyCycle(50, battery_ah=6.0, sleep_current_a=0.0))
    assert without_sleep.value == pytest.approx(100 / 24)
    too_fast = battery_life(latency, PI, DutyCycle(1000, battery_ah=0.6))
    assert too_fast.value == pytest.approx(1 / 24)


def test_no_current_no_energy():
    bare = replace(PI, quantities={})
    latency = Figure(1.0, FigureKind.MEASURED, "us", "test")
    assert energy(latency, bare) is None
    assert battery_life(latency, bare, DutyCycle(50, battery_ah=1.0)) is None
    said = on_battery(bare, DutyCycle(50, battery_ah=1.0), timed=False)
    assert said.startswith("No battery life")
    assert all(word in said for word in (bare.name, "latency", "active_ma", "--sleep-current"))


def test_battery_life_names_its_rate():
    assert "1500 mAh at 12.5 samples per second" in on_battery(PI, DutyCycle(12.5, battery_ah=1.5), timed=True)


@pytest.mark.parametrize(
    ("text", "unit", "value"), [("100mAh", "Ah", 0.1), ("2uA", "A", 2e-6), ("2 µA", "A", 2e-6), ("3", "A", 3), ("1.5k", "", 1500)]
)
def test_quantities_with_units(text, unit, value):
    assert parse_quantity(text, unit, "--option") == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "mAh", "-3mAh", "100mA", "1e999Ah0", "nan"])
def test_other_text_is_no_quantity(text):
    with pytest.raises(UsageError, match="--battery"):
        parse_quantity(text, "Ah", "--battery")
