"""A made-up calibration: what load hosts might do against a null server."""

from __future__ import annotations

from typing import Any

from soakbed.records.calibration import (
    Calibration,
    Ceiling,
    HostCeiling,
    Shape,
)


def calibration(**changed: Any) -> Calibration:
    ceilings = {
        target: Ceiling(
            protocol=protocol,
            tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
            seconds=6,
            hosts={"l1": HostCeiling(workers=1, ops_per_s=per_s, p50_us=p50_us, cpu_share=0.97)},
            servers={"d1": 0.7},
        )
        for target, protocol, per_s, p50_us in (
            ("redis_cluster", "RESP", 48000.0, 960),
            ("etcd", "etcd gRPC", 15000.0, 3100),
            ("tikv", "TiKV gRPC", 13500.0, 3500),
        )
    }
    held: dict[str, Any] = {
        "testbed": "made-up",
        "at_s": 1_700_000_000 - 600,
        "engine_build": "ef" * 32,
        "machines": {"l1": "Made-up CPU, 1 core(s), 6.1.0-made-up"},
        "shape": Shape(value_bytes=1024, read_share=0.5, connections=48, pipeline=1),
        "ceilings": ceilings,
    }
    return Calibration(**(held | changed))
