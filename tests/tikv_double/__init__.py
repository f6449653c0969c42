"""A double of PD and TiKV for tests: one small gRPC server that keeps TiKV's contract.

Nothing measured may ever run against it: see README.md here, and test_tikv_double_apart.py.
"""

from tests.tikv_double.double import Double, DoubleError

__all__ = ["Double", "DoubleError"]
