# SPDX-License-Identifier: Apache-2.0
"""The page in Chromium: it loads without an error, its student decides as the reference does, it answers what it is given."""

import http.server
import importlib.util
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memkd_edge.contents import read_series, read_streams, read_student
from memkd_edge.pages.browser import browser_module
from memkd_edge.pages.replay import as_pushed
from memkd_edge.pages.run_page import write_run_page
from memkd_edge.runs import METADATA, Run
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.verification.pipeline import quantized
from memkd_edge.vocabulary import Arithmetic
from memkd_edge.writers.tflite import write_tflite
from tests.pages.test_run_page import distilled

PHONE, SCREEN = (390, 844), (1280, 900)
ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> Run:
    require_tool("chromium", "chromedriver", package="chromium chromium-driver")
    require_tool("clang", "wasm-ld", package="clang lld")
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("needs selenium: pip install selenium")
    return distilled(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def browser(run: Run) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    write_run_page(run)
    yield driver
    driver.quit()


def opened(browser: Any, address: str, size: tuple[int, int] = SCREEN) -> None:
    sizes = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    browser.get(address)


def status(browser: Any) -> str:
    return browser.execute_script("return document.querySelector('#player .status').textContent")


def deployed(run: Run, folder: Path) -> StreamingClassifier:
    metadata = as_pushed(run.metadata)
    model = quantized(read_student(run), metadata, read_series(run).x_calibration, tuned=False)
    path = folder / "student.tflite"
    path.write_bytes(write_tflite(model, metadata, interface=Arithmetic.INT16X8))
    return StreamingClassifier(path)


@pytest.mark.parametrize("size", [PHONE, SCREEN])
def test_page_loads_without_an_error_and_nothing_is_cut(run: Run, browser: Any, size: tuple[int, int]) -> None:
    opened(browser, (run.path / "report.html").as_uri(), size)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert status(browser).startswith("Self-test passed")
    assert browser.execute_script("return [...document.querySelectorAll('#player canvas')].length") == 3


def test_replay_gives_the_reference_s_decisions_sample_by_sample(run: Run, browser: Any) -> None:
    opened(browser, (run.path / "report.html").as_uri())
    found = browser.execute_script("return memkdEdge.checkAll()")
    assert found["samples"] == sum(len(y) for y in run.read_arrays("calibration.npz")["y_streams"][None])
    assert found["different"] == 0
    # A reference that is wrong in one sample is told from a right one.
    browser.execute_script("memkdEdge.recordings[0].reference = memkdEdge.recordings[0].reference.slice();")
    browser.execute_script("memkdEdge.recordings[0].reference[100] += 1;")
    assert browser.execute_script("return memkdEdge.checkAll()")["different"] == 1
    assert "1 decisions differ" in status(browser)


def test_a_csv_of_one_s_own_is_decided_as_the_file_in_python_does(run: Run, browser: Any, tmp_path: Path) -> None:
    metadata = run.metadata
    generator = np.random.default_rng(5)
    samples = (generator.standard_normal((400, len(metadata.channels))) * metadata.std + metadata.mean).round(3)
    # The columns in another order than the model's, and one more.
    order = list(reversed(range(len(metadata.channels))))
    lines = [";".join(["note", *(f'"{metadata.channels[c]}"' for c in order)])]
    lines += [";".join(["-", *(f"{sample[c]:.3f}" for c in order)]) for sample in samples]
    opened(browser, (run.path / "report.html").as_uri())
    browser.execute_script("memkdEdge.take(arguments[0], 'mine.csv')", "\n".join(lines))
    decisions = browser.execute_script("return Array.from(memkdEdge.recordings.at(-1).decisions)")
    expected = deployed(run, tmp_path).stream(samples.astype(np.float32))
    assert (np.array(decisions) == expected.decisions).all()
    scores = browser.execute_script("return memkdEdge.recordings.at(-1).scores.map((one) => Array.from(one))")
    assert np.allclose(np.array(scores).T, expected.scores, atol=1e-5)
    assert status(browser).startswith("mine.csv: 400 samples;")


def test_what_the_student_refuses_is_none_everywhere(run: Run, browser: Any, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "refusing")
    refusing = Run.open(tmp_path / "refusing")
    refusing.write_text(METADATA, replace(run.metadata, refuse_below=0.5).to_json())
    refusing.set_state("complete")
    opened(browser, write_run_page(refusing).page.as_uri())
    assert browser.execute_script("return memkdEdge.checkAll()")["different"] == 0
    decisions = np.array(browser.execute_script("return Array.from(memkdEdge.recordings[0].decisions)"))
    (reference,) = (y for _, y in read_streams(run))
    judged = (reference >= 0) & (decisions != -1)
    none = (decisions == -2)[judged].mean()
    assert 0 < none < 1
    options = browser.execute_script("return document.querySelector('[aria-label=Recording]').textContent")
    assert options.endswith(f"{(decisions == reference)[judged].mean():.1%} right, {none:.1%} none".replace("%", " %"))
    x = np.asarray(run.metadata.mean)[None].repeat(40, 0)
    browser.execute_script("memkdEdge.take(arguments[0], 'mine.csv')", csv(run, x))
    expected = deployed(refusing, tmp_path).stream(x.astype(np.float32)).decisions
    shown = browser.execute_script("return Array.from(memkdEdge.recordings.at(-1).decisions)")
    assert shown == expected.tolist()
    assert -2 in shown
    said = f"{(np.array(shown) == -2).mean():.1%}".replace("%", " %")
    assert f"none {said}" in status(browser)


def csv(run: Run, x: np.ndarray) -> str:
    return "\n".join([",".join(run.metadata.channels), *(",".join(map(str, sample)) for sample in x)])


def test_columns_may_have_units_quotes_and_separators_in_their_names(run: Run, browser: Any, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "odd")
    odd = Run.open(tmp_path / "odd")
    channels = ('acc, "x"', *run.metadata.channels[1:])
    odd.write_text(METADATA, replace(run.metadata, channels=channels).to_json())
    odd.set_state("complete")
    opened(browser, write_run_page(odd).page.as_uri())
    # As `memkd-edge record` writes it.
    text = 'time,"acc, ""x"" [m/s2]",acc_y [m/s2],acc_z,gyro_z [rad/s],label\r\n0,1,2,3,4,"walk, fast"\r\n0.02,1,"2",3,4,rest\r\n'
    browser.execute_script("memkdEdge.take(arguments[0], 'mine.csv')", text)
    assert status(browser).startswith("mine.csv: 2 samples;")
    assert browser.execute_script("return memkdEdge.recordings.at(-1).channels.map((one) => one[1])") == [1, 2, 3, 4]
    assert 'Its first line: "acc, ""x""",acc_y,acc_z,gyro_z;' in browser.execute_script("return document.body.textContent")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("time,acc_x\n0,1\n", "mine.csv: no column acc_y, acc_z, gyro_z; the first line must name acc_x,"),
        ("acc_x,acc_y,acc_z,gyro_z\n1,2,3,4\n1,2,,4\n", 'mine.csv, line 3: acc_z is "", not a number'),
        ("acc_x,acc_y,acc_z,gyro_z\n1,2,3\n", "mine.csv, line 2: gyro_z is missing, not a number"),
        ("acc_x,acc_y,acc_z,gyro_z\n1,2,<b>3</b>,4\n", 'mine.csv, line 2: acc_z is "<b>3</b>", not a number'),
        ("acc_x,acc_y,acc_z,gyro_z\n", "mine.csv: no samples."),
        ("acc_x [g],acc_y,acc_z,gyro_z\n1,2,3,4\n", "mine.csv: acc_x is in g, and the model takes m/s2; convert it."),
        ("", "mine.csv: no column acc_x"),
    ],
)
def test_a_wrong_csv_is_answered(run: Run, browser: Any, text: str, answer: str) -> None:
    opened(browser, (run.path / "report.html").as_uri())
    count = browser.execute_script("return memkdEdge.recordings.length")
    browser.execute_script("memkdEdge.take(arguments[0], 'mine.csv')", text)
    assert status(browser).startswith(answer)
    assert browser.execute_script("return memkdEdge.recordings.length") == count


def test_motion_sensors_feed_the_student_where_the_browser_allows_them(run: Run, browser: Any) -> None:
    sensors = "document.querySelector('[aria-label=\"Run the student on the motion sensors of this device\"]').click()"
    opened(browser, (run.path / "report.html").as_uri())
    browser.execute_script(sensors)
    assert "over https only" in status(browser)
    handler = partial(_Quiet, directory=str(run.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened(browser, f"http://127.0.0.1:{server.server_port}/report.html")
        shown = browser.execute_async_script(
            f"const done = arguments[0]; {sensors};"
            "setTimeout(() => dispatchEvent(new DeviceMotionEvent('devicemotion', {"
            "accelerationIncludingGravity: {x: 1, y: 2, z: 9}, rotationRate: {alpha: 0, beta: 0, gamma: 0}})), 50);"
            "const poll = () => { const text = document.querySelector('#player .now').textContent;"
            " if (text) done(text); else setTimeout(poll, 50); }; poll();"
        )
        # Another thing to run ends them, else both would push into one student.
        browser.execute_script("memkdEdge.checkAll(); document.querySelector('#player .now').textContent = ''")
        silent = browser.execute_async_script(
            "const done = arguments[0]; setTimeout(() => done(document.querySelector('#player .now').textContent), 300);"
        )
        server.shutdown()
    assert silent == ""
    assert all(label in shown for label in run.metadata.labels)


def test_module_is_small_and_needs_nothing(run: Run) -> None:
    metadata = as_pushed(run.metadata)
    module = browser_module(quantized(read_student(run), metadata, read_series(run).x_calibration, tuned=False), metadata)
    assert len(module) <= 12 * 1024
    assert b"env" not in module  # the name that imports would stand under


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
