# SPDX-License-Identifier: Apache-2.0
"""`make bench-c`: the pinned cost of the generated C."""

import json
import shutil
from dataclasses import replace

import pytest

from experiments import pinned_costs as figures
from experiments.pinned_costs import PinnedCost, PinnedMonitor, PinnedPush
from memkd_edge import toolchain
from memkd_edge.assets import asset_dir
from memkd_edge.errors import GateError, MemkdEdgeError

ROWS = [PinnedCost("m4", "A", "fast", 771.0, 5448, 100, 68, 900), PinnedCost("m4", "B", "fast", 2182.5, 8188, 156, 92, 1800)]
PUSHES = [PinnedPush("m4", "A", "window", 1560.0, 1640, 5700, 90)]
MONITORS = [PinnedMonitor("m4", "A", 40.0, 700, 900, 60)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A firmware_bench of its own, with a compiler and measurements that need no tools."""
    monkeypatch.setattr(figures, "asset_dir", lambda name: tmp_path)
    monkeypatch.setattr(toolchain, "version", lambda program: "gcc 1.2")
    monkeypatch.setattr(figures, "measure", lambda: iter(ROWS))
    monkeypatch.setattr(figures, "measure_pushes", lambda: iter(PUSHES))
    monkeypatch.setattr(figures, "measure_monitors", lambda: iter(MONITORS))
    return tmp_path


def test_the_committed_figures_are_what_the_installed_compiler_gives(monkeypatch):
    for program in ("arm-none-eabi-gcc", "qemu-system-arm", "riscv64-unknown-elf-gcc", "qemu-system-riscv32"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install {toolchain.DEBIAN_PACKAGES[program]}")
    compiler, pinned, pushes, monitors = figures.read(asset_dir("firmware_bench") / "figures.json")
    if figures.compilers() != compiler:
        pytest.skip(f"the figures were made with {compiler}")
    # The steps of four cores here, the pushes of one; `make bench-c` measures all.
    monkeypatch.setattr(figures, "CORES", ("m0plus", "m4", "m55", "esp32c3"))
    assert figures.differences(list(figures.measure()), [row for row in pinned if row.core in figures.CORES]) == []
    monkeypatch.setattr(figures, "CORES", ("m4",))
    assert figures.differences(list(figures.measure_pushes()), [row for row in pushes if row.core in figures.CORES]) == []
    assert figures.differences(list(figures.measure_monitors()), monitors) == []


def test_a_window_costs_two_steps_and_every_other_contract_one():
    _, steps, pushes, monitors = figures.read(asset_dir("firmware_bench") / "figures.json")
    for push in pushes:
        (step,) = [row for row in steps if row.key == (push.core, push.model, "fast")]
        lanes = 2 if push.contract == "window" else 1
        assert lanes * step.instructions < push.most < lanes * step.instructions + 200 + 40 * lanes
        assert push.flash - step.flash < 512
    for monitor in monitors:
        (step,) = [row for row in steps if row.key == (monitor.core, monitor.model, "fast")]
        assert monitor.instructions < step.instructions / 4


def test_on_every_core_what_a_form_saves_in_flash_it_pays_in_instructions():
    _, steps, _, _ = figures.read(asset_dir("firmware_bench") / "figures.json")
    forms = {(row.core, row.model, row.build): row for row in steps}
    for core, model in {(row.core, row.model) for row in steps}:
        fast, medium, small = (forms[core, model, build] for build in figures.BUILDS)
        assert fast.instructions < medium.instructions < small.instructions
        assert small.flash < medium.flash < fast.flash
    assert {row.core for row in steps} == set(figures.CORES)


def test_unchanged_figures_are_printed_and_pass(folder, capsys):
    figures.main(["--update"])
    figures.main([])
    assert capsys.readouterr().out.count("2,182") == 2
    assert figures.read(folder / "figures.json") == ("gcc 1.2", ROWS, PUSHES, MONITORS)


def test_a_changed_figure_fails_and_is_named(folder):
    figures.write(folder / "figures.json", "gcc 1.2", [replace(ROWS[0], flash=5000), ROWS[1]], PUSHES, MONITORS)
    with pytest.raises(GateError, match="m4 A fast: flash 5000 -> 5448"):
        figures.main([])


def test_a_changed_figure_of_a_push_fails_too(folder):
    figures.write(folder / "figures.json", "gcc 1.2", ROWS, [replace(PUSHES[0], most=1600)], MONITORS)
    with pytest.raises(GateError, match="m4 A window: most 1600 -> 1640"):
        figures.main([])


def test_new_and_gone_rows_are_named():
    assert figures.differences(ROWS[:1], ROWS[1:]) == ["m4 A fast: new", "m4 B fast: gone"]


def test_another_compiler_explains_a_change(folder, capsys):
    figures.write(folder / "figures.json", "gcc 9.9", [replace(ROWS[0], flash=5000)], PUSHES, MONITORS)
    figures.main([])
    assert "made with gcc 9.9, this is gcc 1.2" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"compiler": "x"}', json.dumps({"compiler": "x", "rows": [{"core": "m4"}]})])
def test_damaged_figures_are_refused(folder, text):
    (folder / "figures.json").write_text(text)
    with pytest.raises(MemkdEdgeError, match="no readable figures"):
        figures.main([])
