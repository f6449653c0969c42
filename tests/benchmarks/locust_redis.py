"""A locustfile: what a reader of Locust's manual writes to press Redis, with redis-py.

One client per user, each call timed and told to Locust by a `request` event.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import redis
from locust import User, task
from locust.env import Environment

from loadgen.engine.connection import split_endpoint
from loadgen.keyspace import Values, key_bytes
from tests.benchmarks.locust_report import measured, the_plan

PLAN = the_plan()
VALUES = Values(PLAN.keyspace.prefix, PLAN.value_bytes, rank=1)
KEYS = PLAN.keyspace.keys

measured(PLAN)


class RedisUser(User):
    """Half reads, half writes, without a pause."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        host, port = split_endpoint(PLAN.endpoints[0])
        tls = PLAN.tls
        secured: dict[str, Any] = {} if tls is None else {
            "ssl": True, "ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key,
        }  # fmt: skip
        self.client = redis.Redis(host=host, port=port, **secured)

    def timed(self, name: str, call: Callable[..., Any], *words: bytes) -> None:
        """One request event, as the manual's examples fire it."""
        began, reply, failure = time.perf_counter(), None, None
        try:
            reply = call(*words)
        except redis.RedisError as error:
            failure = error
        self.environment.events.request.fire(
            request_type="redis", name=name, context={}, exception=failure,
            response_time=(time.perf_counter() - began) * 1000,
            response_length=len(reply) if isinstance(reply, bytes) else 0,
        )  # fmt: skip

    @task
    def read(self) -> None:
        """GET."""
        self.timed("GET", self.client.get, key_bytes(PLAN.keyspace.prefix, random.randrange(KEYS)))

    @task
    def write(self) -> None:
        """SET."""
        key = random.randrange(KEYS)
        value = VALUES.identity(key) + VALUES.filler
        self.timed("SET", self.client.set, key_bytes(PLAN.keyspace.prefix, key), value)
