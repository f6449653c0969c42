"""What may befall a soak, done on purpose to one local testbed, and always undone.

    with parted(l1) as told:         the master hears no worker
        ...
    told.from_s, told.until_s        unix seconds between which it was so

Every fault is a context manager: it returns when the fault has taken hold, seen by a condition, and
ends when the host is itself again. Processes are found in the control group of the host alone.
"""

from tests.disturbances.faults import (
    Disturbance,
    controller_killed,
    disk_full,
    halted,
    killed,
    line_cut,
    parted,
    rebooted,
    ssh_refused,
)
from tests.disturbances.local_host import LocalHost, NotInTime, wait_until
from tests.disturbances.small_disk import SmallDisk, small_disk

__all__ = [
    "Disturbance",
    "LocalHost",
    "NotInTime",
    "SmallDisk",
    "controller_killed",
    "disk_full",
    "halted",
    "killed",
    "line_cut",
    "parted",
    "rebooted",
    "small_disk",
    "ssh_refused",
    "wait_until",
]
