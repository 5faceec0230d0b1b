# SPDX-License-Identifier: Apache-2.0
"""`export --npu`: Vela's verdict on the int16x8 file, kept and told; refused where there is nothing to compile, or no Vela."""

import contextlib
import json
import os
import re
import stat
import sys
from functools import partial
from pathlib import Path

import pytest

from memkd_edge.cli import main as cli
from memkd_edge.config import ExportConfig
from memkd_edge.errors import MissingToolError, UsageError
from memkd_edge.exporting import npu
from memkd_edge.exporting.npu import NpuVerdict, compile_for_npu
from memkd_edge.exporting.pipeline import export
from memkd_edge.verification import pipeline as verify_module
from memkd_edge.verification.runtime_check import one_stream
from tests.conftest import ROOT
from tests.writers.toy import make_run, student

TOOLS = Path(os.environ.get("MEMKD_EDGE_TOOLS_PYTHON") or ROOT / ".venv-tools" / "bin" / "python")
VERDICT = NpuVerdict("ethos-u55-128", "Vela 5.2.0", 13, 0, 1640.0, 144.0, 768.0)

# Says and writes what Vela 5.2 does, as far as it is read.
STAND_IN = f"""#!{sys.executable}
import pathlib, sys
if sys.argv[1] == "--version":
    print("5.2.0")
    sys.exit()
assert sys.argv[2:4] == ["--accelerator-config", "ethos-u55-128"]
print("CPU operators = 0 (0.0%)\\nNPU operators = 13 (100.0%)")
pathlib.Path("model_summary_System.csv").write_text(
    "sram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used,cycles_total\\n0.140625,0.0,0.75,1640\\n")
pathlib.Path("model_vela.tflite").write_bytes(b"compiled " + pathlib.Path(sys.argv[1]).read_bytes()[:8])
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run; the long stream is kept to 300 steps, and to the runtimes of this environment."""
    for variable in ("MEMKD_EDGE_TF_PYTHON", "MEMKD_EDGE_TFLITE_RUNTIME_PYTHON"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(verify_module, "one_stream", partial(one_stream, steps=300))
    return make_run(tmp_path, student())


@pytest.fixture
def vela(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "vela"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_the_verdict_and_the_compiled_file_are_kept(run, vela):
    report = export(run, ExportConfig(npu="ethos-u55-128"))
    assert [path.relative_to(run.path / "export").as_posix() for path in report.files] == [
        "toy_set_1_int16x8.tflite",
        "npu/toy_set_1_ethos-u55-128.tflite",
        "npu/toy_set_1_ethos-u55-128.json",
    ]
    assert report.npu == VERDICT
    assert json.loads(report.files[2].read_text()) == report.as_dict()["npu"] == VERDICT.as_dict()
    assert report.files[1].read_bytes() == b"compiled " + report.files[0].read_bytes()[:8]
    assert [file.file for file in report.verification.files] == ["toy_set_1_int16x8.tflite"]


def test_without_vela_nothing_is_written_and_the_command_is_told(run, monkeypatch):
    monkeypatch.setattr(npu.shutil, "which", lambda *arguments, **options: None)
    with pytest.raises(MissingToolError, match=r"pip install 'memkd-edge\[npu\]'") as error:
        export(run, ExportConfig(npu="ethos-u65-256"))
    assert error.value.exit_code == 3
    assert not (run.path / "export").exists()


def test_the_command_prints_the_npu_beside_the_cortex_m55(run, vela, capsys, monkeypatch, require_tool):
    for tool, package in (("arm-none-eabi-gcc", "gcc-arm-none-eabi"), ("qemu-system-arm", "qemu-system-arm")):
        require_tool(tool, package=package)
    monkeypatch.setattr(sys, "argv", ["memkd-edge", "export", "--run", str(run.path), "--npu", "ethos-u55-128"])
    monkeypatch.setattr(cli, "_page", lambda *_: [])  # tests/pages has it
    with contextlib.suppress(SystemExit):
        cli.main()
    printed = capsys.readouterr().out
    assert "13 of 13" in printed
    assert "1,640" in printed
    own = next(line for line in printed.splitlines() if "Cortex-M55 itself" in line)
    assert re.search(r"\d+ .*\[\d+, [\d,]+\]", own)


@pytest.mark.parametrize("given", [{"quantize": "int8"}, {"format": "onnx"}, {"format": "c"}])
def test_what_is_no_int16x8_tflite_is_refused(given, run, vela):
    with pytest.raises(UsageError, match="int16x8"):
        export(run, ExportConfig(npu="ethos-u55-128", **given))


def test_vela_itself_maps_all_operators_of_a_step(run, monkeypatch):
    if not TOOLS.with_name("vela").is_file():
        pytest.skip("needs MEMKD_EDGE_TOOLS_PYTHON to name a Python that has ethos-u-vela: make runtimes")
    monkeypatch.setenv("PATH", f"{TOOLS.parent}{os.pathsep}{os.environ['PATH']}")
    (file,) = export(run, ExportConfig(quantize="int16x8")).files
    verdict, compiled = compile_for_npu(file.read_bytes(), "ethos-u55-128")
    assert (verdict.on_npu, verdict.on_cpu, verdict.tool) == (13, 0, "Vela 5.2.0")
    assert 500 < verdict.cycles < 5000
    assert verdict.sram > 0
    assert verdict.flash > 0
    assert b"ethos-u" in compiled
