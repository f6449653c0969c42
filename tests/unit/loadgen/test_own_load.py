"""Waiting for the core and the share of a link, from files laid out as the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.own_load import Link, OwnLoad, interface_to, route_to


def card(root: Path, name: str, *, speed: str, device: bool = True) -> Path:
    folder = root / name
    (folder / "statistics").mkdir(parents=True)
    (folder / "speed").write_text(speed)
    if device:
        (folder / "device").mkdir()
    for way in ("rx", "tx"):
        (folder / "statistics" / f"{way}_bytes").write_text("1000\n")
    return folder


def count(folder: Path, *, rx: int, tx: int) -> None:
    # In place, as the kernel's own: the reader keeps the file open.
    for way, value in (("rx", rx), ("tx", tx)):
        with (folder / "statistics" / f"{way}_bytes").open("r+") as file:
            file.write(f"{value}\n")


def test_the_busier_direction_over_the_speed_of_the_link(tmp_path):
    folder = card(tmp_path, "eth9", speed="1000\n")
    own = OwnLoad([Link("eth9", root=tmp_path)])
    count(folder, rx=1000 + 25_000_000, tx=1000 + 100_000_000)
    assert own.nic_share(1.0) == 0.8
    assert own.nic_share(1.0) == 0.0
    assert own.told() == "eth9 at 1,000 Mbit/s"
    own.close()


@pytest.mark.parametrize(
    ("speed", "device"),
    [
        pytest.param("10000\n", False, id="a veth pair says 10 Gbit/s whatever the machine can"),
        pytest.param("-1\n", True, id="a virtual card does not know"),
        pytest.param("", True, id="loopback says nothing"),
    ],
)
def test_a_link_without_an_honest_speed_has_no_share_and_says_so(tmp_path, speed, device):
    card(tmp_path, "v0", speed=speed, device=device)
    own = OwnLoad([Link("v0", root=tmp_path)])
    assert own.nic_share(1.0) is None
    assert own.told() == "v0, no honest speed"
    own.close()


def test_waiting_is_what_the_scheduler_counted_since_the_last_question(tmp_path):
    file = tmp_path / "schedstat"
    file.write_text("5000000 1000000000 17\n")
    own = OwnLoad(schedstat=str(file))
    file.write_text("6000000 1250000000 18\n")
    assert own.wait_share(1.0) == 0.25
    file.write_text("6000000 1750000000 18\n")
    own.begin()
    assert own.wait_share(1.0) == 0.0
    own.close()


def test_a_kernel_that_counts_no_waiting_gives_no_share(tmp_path):
    own = OwnLoad(schedstat=str(tmp_path / "none"))
    assert own.wait_share(1.0) is None
    own.close()


def test_addresses_of_this_machine_are_reached_over_loopback():
    own = OwnLoad.towards(["127.0.0.1:2379", "[::1]:2379", "127.0.0.1:2380"])
    assert own.told() == "lo, no honest speed"
    own.close()


def test_the_longest_route_that_fits_names_the_interface(tmp_path):
    (tmp_path / "route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth7\t000A0A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert route_to("10.10.10.7", proc=tmp_path) == "eth7"
    assert route_to("10.10.11.7", proc=tmp_path) == "eth0"


def test_what_is_no_address_has_no_interface():
    assert interface_to("nowhere") == ""


def test_nothing_stays_open():
    before = len(list(Path("/proc/self/fd").iterdir()))
    own = OwnLoad.towards(["127.0.0.1:1"])
    own.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
