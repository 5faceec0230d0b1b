# SPDX-License-Identifier: Apache-2.0
"""Device profiles: all that ship are complete, and a damaged one is refused in words."""

import pytest

from memkd_edge.benchmark.devices.profiles import QUANTITIES, device_names, load_device, read_profile
from memkd_edge.errors import UsageError

BOARD = """
title = "My board"
backend = "qemu-cortex-m"
core = "m4"
[clock_mhz]
value = 48
source = "datasheet, page 1"
[flash_kib]
value = 64
source = "datasheet, page 1"
[ram_kib]
value = 8
source = "datasheet, page 1"
"""


def test_every_device_asked_for_ships():
    boards = {"rpi3", "rpi4", "rpi5", "rpi-zero-2w", "nrf52840", "nrf5340", "stm32l4", "stm32f4", "stm32h7", "rp2040", "rp2350"}
    boards |= {"esp32c3", "esp32c6", "rp2350-riscv", "alif-e7"}
    assert boards | {"apollo4", "esp32s3", "host"} == set(device_names())


@pytest.mark.parametrize("name", device_names())
def test_each_number_of_a_shipped_profile_names_its_document(name):
    device = load_device(name)
    assert device.title
    for quantity in device.quantities.values():
        assert len(quantity.source) > 10
        assert quantity.lo <= quantity.value <= quantity.hi


@pytest.mark.parametrize("name", device_names())
def test_a_number_that_no_document_confirms_is_marked_and_has_an_interval(name):
    for quantity in load_device(name).quantities.values():
        assert quantity.checked != quantity.source.startswith("unconfirmed: ")
        assert quantity.checked or quantity.lo < quantity.hi


def test_unchecked_numbers_are_named_in_words(tmp_path):
    path = tmp_path / "myboard.toml"
    path.write_text(BOARD)
    assert read_profile(path).unchecked() == ""
    path.write_text(BOARD.replace("value = 48", "value = 48\nchecked = false"))
    assert "processor clock" in read_profile(path).unchecked()
    assert "RAM" not in read_profile(path).unchecked()


def test_a_user_s_own_board_is_read(tmp_path):
    (tmp_path / "myboard.toml").write_text(BOARD)
    device = load_device(str(tmp_path / "myboard.toml"))
    assert (device.name, device.core, device.bytes("flash_kib")) == ("myboard", "m4", 65536)
    assert device.quantities["clock_mhz"].hi == 48


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('core = "m4"', 'core = "m9"', "m9"),
        ('backend = "qemu-cortex-m"', 'backend = "qemu"', "qemu-user"),
        ("[ram_kib]", "[ram_kb]", "did you mean 'ram_kib'"),
        ("value = 48", "value = -1", "clock_mhz.*number"),
        ("value = 48", 'value = "fast"', "clock_mhz.*number"),
        ("value = 48", "value = nan", "clock_mhz.*number"),
        ("value = 48", "value = 48\nlo = 50\nhi = 60", "lo <= value <= hi"),
        ("value = 48", "lo = 48", "lo and hi"),
        ("value = 48", 'value = 48\nchecked = "no"', "neither true nor false"),
        ('source = "datasheet, page 1"\n[flash_kib]', "[flash_kib]", "source"),
        ('title = "My board"', "", "title is missing"),
        ('title = "My board"', "title = 3", "wrong type"),
        ("[clock_mhz]\nvalue = 48\n", "[supply_v]\nvalue = 3\n", "clock_mhz.*is missing"),
        ("[clock_mhz]", "[clock_mhz", "myboard.toml"),
    ],
)
def test_a_damaged_profile_names_file_and_key(tmp_path, before, after, message):
    path = tmp_path / "myboard.toml"
    assert before in BOARD
    path.write_text(BOARD.replace(before, after, 1))
    with pytest.raises(UsageError, match=message) as caught:
        read_profile(path)
    assert "myboard.toml" in str(caught.value)


def test_an_unknown_device_suggests_near_names():
    with pytest.raises(UsageError, match="did you mean rpi4"):
        load_device("rpi-4")
    with pytest.raises(UsageError, match="memkd-edge devices"):
        load_device("zzz")
    with pytest.raises(UsageError, match="no device profile at"):
        load_device("./nothing.toml")


def test_the_known_quantities_are_documented():
    assert all(QUANTITIES.values())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("value = 48", "value = 0", r"clock_mhz\]: value = 0 is not a number from 1e-06 to 1e\+09"),
        ("value = 64", "value = 1e308", r"flash_kib\]: value = 1e\+308"),
        ("value = 64", "value = inf", r"flash_kib\]: value = inf"),
        ("value = 8", "value = nan", r"ram_kib\]: value = nan"),
        ("value = 8", "value = " + "9" * 5000, "digits"),
        ('core = "m4"', 'core = "m4"\nbaud = -5', "baud = -5 is not from 50"),
        ('core = "m4"', 'core = "m4"\nbaud = true', "baud: True is of the wrong type"),
        ('core = "m4"', 'core = "m4"\nhost = "-oProxyCommand=x"', "would be an option of ssh"),
        ('core = "m4"', "core = " + "[" * 5000, "deep"),
    ],
)
def test_numbers_and_names_beyond_all_boards_are_refused(tmp_path, old, new, reason):
    path = tmp_path / "myboard.toml"
    path.write_text(BOARD.replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"myboard\.toml.*{reason}"):
        read_profile(path)
