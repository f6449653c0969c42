"""A locustfile: what a reader of Locust's manual writes to press etcd, with grpcio under gevent.

grpcio is told of gevent first, one channel per user, each call timed and told to Locust by a
`request` event.
"""

from __future__ import annotations

import random
import time

import grpc
import grpc.experimental.gevent as grpc_gevent
from locust import User, task
from locust.env import Environment

from tests.benchmarks.etcd_calls import Calls, credentials
from tests.benchmarks.locust_report import measured, the_plan

grpc_gevent.init_gevent()

PLAN = the_plan()
CALLS = Calls(PLAN, rank=1)
KEYS = PLAN.keyspace.keys

measured(PLAN)


class EtcdUser(User):
    """Half reads, half writes, without a pause."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.channel = grpc.secure_channel(PLAN.endpoints[0], credentials(PLAN))
        self.range = self.channel.unary_unary(CALLS.RANGE)
        self.put = self.channel.unary_unary(CALLS.PUT)

    def timed(self, name: str, call: grpc.UnaryUnaryMultiCallable, message: bytes) -> None:
        """One request event, as the manual's examples fire it."""
        began, reply, failure = time.perf_counter(), b"", None
        try:
            reply = call(message)
        except grpc.RpcError as error:
            failure = error
        self.environment.events.request.fire(
            request_type="grpc", name=name, context={}, exception=failure,
            response_time=(time.perf_counter() - began) * 1000, response_length=len(reply),
        )  # fmt: skip

    @task
    def read(self) -> None:
        """Range of one key."""
        self.timed("Range", self.range, CALLS.range_request(random.randrange(KEYS)))

    @task
    def write(self) -> None:
        """Put."""
        self.timed("Put", self.put, CALLS.put_request(random.randrange(KEYS)))
