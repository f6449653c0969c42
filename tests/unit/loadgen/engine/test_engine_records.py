"""When a reply of several TLS records is read, and what time it is given."""

from __future__ import annotations

import time
from collections import deque

from tests.unit.loadgen.engine.test_engine_connections import READ, bench, range_reply


def test_a_reply_in_three_records_is_read_in_one_event_and_timed_no_earlier_than_its_last():
    """As over TLS, where one read gives one record, and etcd makes each frame its own."""
    with bench("etcd") as made:
        made.connection.send_from(deque([READ]))
        whole = range_reply(made, 3, 5)
        records, read_ns = [], []
        while whole:
            size = 9 + int.from_bytes(whole[:3], "big")
            records.append(whole[:size])
            whole = whole[size:]

        def receive(_size: int) -> bytes:
            read_ns.append(time.monotonic_ns())
            return records.pop(0)  # IndexError: asked for more than there will be

        made.connection.receive = receive
        made.connection.readable()
        assert len(read_ns) == 3
        ((_, sent_ns, ended_ns),) = made.recorder.done[0]
        assert sent_ns <= read_ns[1] <= ended_ns <= read_ns[2]
        assert made.ends() == {"ok": 1}


def test_a_reply_in_one_record_counts_as_received_when_the_loop_was_told():
    with bench("etcd") as made:
        made.connection.send_from(deque([READ]))
        made.says(range_reply(made, 3, 5))
        ((_, _, ended_ns),) = made.recorder.done[0]
        assert ended_ns <= made.hub.woke_ns
