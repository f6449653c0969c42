"""Stretches in which a host got less than it seems to have: what is one, and what is not known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.archive.data.sample_columns import ALLOWANCES, HOSTS_COLUMNS
from soakbed.archive.data.samples import HostSamples
from soakbed.archive.data.throttling import (
    LEAST_DISK_REQUESTS,
    MACHINE,
    MOST_DISK_AWAIT_S,
    MOST_EXCEEDED_SHARE,
    MOST_STOLEN_SHARE,
    throttled,
)
from soakbed.records.policy import consequence_of, left_out

AT_S = 1_700_000_000.0
EVERY_S = 5.0


def rows(count=6, *, duty="data", scope="host", at_s=AT_S, **changed):
    """A host without a card of a cloud; nothing is held back, and its disk answers in 0.2 ms."""
    made = {name: np.full(count, np.nan) for name in HOSTS_COLUMNS}
    made["at_s"] = at_s + EVERY_S * np.arange(1, count + 1)
    made["seconds"] = np.full(count, EVERY_S)
    made |= {name: np.full(count, scope) for name in HOSTS_COLUMNS if name.endswith("_scope")}
    made |= {"host": np.full(count, "d1"), "duty": np.full(count, duty)}
    made["cpu_steal_share"] = np.full(count, 0.001)
    for way in ("read", "write"):
        made[f"disk_{way}s"] = np.full(count, 1000.0)
        made[f"disk_{way}_wait_s"] = np.full(count, 0.2)
    for way in ("received", "sent"):
        made[f"net_{way}_packets"] = np.full(count, 100_000.0)
    return made | {name: np.asarray(column) for name, column in changed.items()}


def ena(count=6, **changed):
    return dict.fromkeys(ALLOWANCES, np.zeros(count)) | changed


def found(*hosts, source="samples", **by_name):
    named = {f"d{place + 1}": held for place, held in enumerate(hosts)} | by_name
    return throttled({host: HostSamples(held, {}) for host, held in named.items()}, source=source)


def at(*places, count=6, value=1.0, else_=0.0):
    made = np.full(count, else_)
    made[list(places)] = value
    return made


def test_a_quiet_host_with_or_without_a_card_of_a_cloud_tells_nothing():
    assert found(rows(), rows(**ena())) == []
    assert found(rows(0)) == []


def test_what_a_host_cannot_count_is_no_event_and_no_warning():
    blank = {name: np.full(6, np.nan) for name in ("cpu_steal_share", "disk_reads", "disk_writes")}
    waits = {f"disk_{way}_wait_s": np.full(6, np.nan) for way in ("read", "write")}
    assert found(rows(**blank, **waits)) == []


def test_samples_that_follow_each_other_are_one_stretch_and_are_left_out_as_a_whole():
    (one, other) = found(rows(cpu_steal_share=at(1, 2, 4, value=0.2)))
    assert (one.kind, one.host, one.source) == ("cpu_stolen", "d1", "samples")
    assert (one.at_s - AT_S, one.until_s - AT_S) == (5.0, 15.0)
    assert (other.at_s - AT_S, other.until_s - AT_S) == (20.0, 25.0)
    assert one.text == "the hypervisor took 20.0% of the CPU time, 20.0% at worst"
    assert consequence_of(one) == "leave_out"
    base = int(AT_S)
    assert left_out([one, other]) == ((base + 5, base + 16), (base + 20, base + 26))


def test_one_machine_is_told_of_once_and_stays_in_the_figures():
    shares = at(1, value=0.3)
    later = {"at_s": AT_S + 2 + EVERY_S * np.arange(1, 7)}
    first, second = (rows(scope="machine", cpu_steal_share=shares) for _ in range(2))
    (event,) = found(first, second | later)
    assert (event.kind, event.host, consequence_of(event)) == ("machine_stolen", MACHINE, "flag")
    assert (event.at_s - AT_S, event.until_s - AT_S) == (5.0, 12.0)
    assert left_out([event]) == ()


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        # 100,000 packets each way in a sample.
        ({"bw_in_allowance_exceeded": at(2, value=101)}, "network_throttled"),
        ({"bw_out_allowance_exceeded": at(2, value=101)}, "network_throttled"),
        ({"bw_out_allowance_exceeded": at(2, value=100)}, "network_burst"),
        ({"pps_allowance_exceeded": at(2, value=201)}, "network_throttled"),
        ({"pps_allowance_exceeded": at(2, value=200)}, "network_burst"),
        ({"conntrack_allowance_exceeded": at(2, value=201)}, "network_throttled"),
        ({"linklocal_allowance_exceeded": at(2, value=10**6)}, "network_burst"),
    ],
)
def test_more_than_one_packet_in_a_thousand_that_is_held_back_is_throttling(changed, kind):
    (event,) = found(rows(**ena(**changed)))
    assert event.kind == kind
    assert (event.at_s - AT_S, event.until_s - AT_S) == (10.0, 15.0)
    (name,) = changed
    assert f"{changed[name][2]:,.0f} for want of {ALLOWANCES[name]}" in event.text
    assert bool(left_out([event])) == (kind == "network_throttled")


def test_a_card_that_lacks_a_counter_is_judged_by_those_that_it_has():
    held = ena(bw_in_allowance_exceeded=at(2, value=500))
    held["conntrack_allowance_exceeded"] = np.full(6, np.nan)
    (event,) = found(rows(**held))
    assert event.kind == "network_throttled" and "tracked" not in event.text


def test_packets_that_were_held_back_while_none_went_are_throttling():
    silent = {"net_received_packets": np.zeros(6), "net_sent_packets": np.zeros(6)}
    (event,) = found(rows(**ena(conntrack_allowance_exceeded=at(3, value=9)), **silent))
    assert event.kind == "network_throttled" and "%" not in event.text


def test_bursts_are_gathered_so_that_days_of_them_stay_readable():
    count = 17_280  # a day of samples
    bursts = at(*range(0, count, 2), count=count, value=3)
    events = found(rows(count, **ena(count, pps_allowance_exceeded=bursts)))
    assert [event.kind for event in events] == ["network_burst"]
    assert events[0].text.startswith(f"packets were held back: {3 * count // 2:,} for want of")


def test_a_disk_that_answers_late_is_flagged_and_said_with_its_figures():
    (event,) = found(rows(disk_write_wait_s=at(2, value=12.0, else_=0.2)))
    assert (event.kind, consequence_of(event)) == ("disk_slow", "flag")
    assert event.text == (
        "1,000 reads took 0.2 ms on average, 1,000 writes took 12.0 ms on average"
    )


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"duty": "load"}, id="of a load host, whom no operation waits for"),
        pytest.param(
            {"disk_writes": np.full(6, LEAST_DISK_REQUESTS - 1.0)}, id="of too few requests"
        ),
    ],
)
def test_a_mean_that_says_little_is_no_event(changed):
    assert found(rows(disk_write_wait_s=at(2, value=12.0, else_=0.2), **changed)) == []


def test_the_live_watch_tells_only_of_what_is_left_out():
    held = ena(bw_in_allowance_exceeded=at(2, value=500), pps_allowance_exceeded=at(5, value=1))
    slow = at(1, value=12.0, else_=0.2)
    events = found(rows(cpu_steal_share=at(0, value=0.5), disk_read_wait_s=slow, **held))
    assert {event.kind for event in events} == {
        "cpu_stolen", "network_throttled", "network_burst", "disk_slow",
    }  # fmt: skip
    seen = found(rows(cpu_steal_share=at(0, value=0.5), **held), source="watch")
    assert [event.kind for event in seen] == ["cpu_stolen", "network_throttled"]


DRAWN = (
    "cpu_steal_share",
    "bw_in_allowance_exceeded",
    "net_received_packets",
    "disk_read_wait_s",
    "disk_reads",
    "disk_write_wait_s",
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.sampled_from((np.nan, 0.0, 0.06, 1.0, 70.0, 1e12))] * len(DRAWN)),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_was_sampled_every_sample_over_a_limit_lies_in_a_stretch_of_its_kind(drawn):
    held = rows(len(drawn), **dict(zip(DRAWN, np.array(drawn).T, strict=True)))
    events = found(held)
    for place, (stolen, lost, packets, wait_s, reads, _) in enumerate(drawn):
        ends_s = held["at_s"][place]
        for kind, holds in (
            ("cpu_stolen", stolen > MOST_STOLEN_SHARE),
            ("network_throttled", lost > MOST_EXCEEDED_SHARE * packets),
            ("disk_slow", reads >= LEAST_DISK_REQUESTS and wait_s > MOST_DISK_AWAIT_S * reads),
        ):
            inside = [
                one
                for one in events
                if one.kind == kind and one.at_s <= ends_s - EVERY_S and ends_s <= one.until_s
            ]
            assert len(inside) == 1 or not holds, kind
    assert all(one.text and one.until_s > one.at_s for one in events)
