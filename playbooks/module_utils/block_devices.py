"""Which disk of a host may be made its data disk: a decision over what lsblk and wipefs tell.

A disk is taken by its model, never by its name: NVMe disks are numbered as they answer, and the
boot disk is one of them. And only one that is blank is ever written to.
"""

from __future__ import annotations

LABEL = "soakbed-data"  # 12 letters, as many as XFS has room for


class Choice:
    """What is to be done with which disk: `action` is one of format, mount, there and refuse.

    `path` is the disk to format or mount; `refused` says of each other disk of the model why it is
    not the one. there: the folder is a mount already, by somebody's choice or by ours.
    """

    def __init__(self, action: str, path: str = "", refused: dict[str, str] | None = None) -> None:
        self.action, self.path, self.refused = action, path, refused or {}


def disks_of_model(listing: dict, model: str) -> list[dict]:
    """Whole disks of one model in what `lsblk --json` prints, by path."""
    found = [
        one
        for one in listing.get("blockdevices", [])
        if one.get("type") == "disk" and (one.get("model") or "").strip() == model
    ]
    return sorted(found, key=lambda one: one["path"])


def why_not_blank(disk: dict, signatures: list) -> str:
    """Why a disk must not be formatted; "" if nothing at all is on it.

    `signatures` is what wipefs reads on the disk itself: what lsblk tells of file systems comes
    from udev, which may not have looked yet.
    """
    if any(disk.get("mountpoints") or []) or disk.get("mountpoint"):
        return "it is mounted"
    if disk.get("children"):
        return "it has partitions, or something is built on it"
    if disk.get("pttype"):
        return f"it has a partition table ({disk['pttype']})"
    if disk.get("fstype"):
        return f"it holds {disk['fstype']}"
    if signatures:
        return "it holds " + ", ".join(str(one.get("type", "something")) for one in signatures)
    if disk.get("ro") not in (False, 0, "0"):
        return "it is read-only"
    if not int(disk.get("size") or 0):
        return "it has no size"
    return ""


def _is_ours(disk: dict) -> bool:
    """Whether we have formatted it before, and nobody uses it."""
    free = not any(disk.get("mountpoints") or []) and not disk.get("children")
    return free and disk.get("label") == LABEL and disk.get("fstype") in ("xfs", "ext4")


def choose(disks: list[dict], signatures: dict[str, list | None], *, mounted: bool) -> Choice:
    """The disk for data among `disks`, of one model.

    `signatures`: wipefs's words by path, None for a disk of which they could not be had; `mounted`:
    whether the data folder is a mount of its own already.
    """
    if mounted:
        return Choice("there")
    ours = [disk["path"] for disk in disks if _is_ours(disk)]
    if len(ours) == 1:
        return Choice("mount", ours[0])
    if ours:
        # Which of them holds the newest data nobody can tell, and the mount of the next boot, which
        # goes by the label, would take either.
        why = f"{len(ours)} disks carry our label: {', '.join(ours)}"
        return Choice("refuse", "", dict.fromkeys(ours, why))
    refused = {}
    for disk in disks:
        said = signatures.get(disk["path"])
        refused[disk["path"]] = (
            "what is on it could not be read" if said is None else why_not_blank(disk, said)
        )
    blank = [path for path, why in refused.items() if not why]
    if not blank:
        return Choice("refuse", "", refused)
    others = {path: why for path, why in refused.items() if path != blank[0]}
    return Choice(
        "format", blank[0], {path: why or "one is enough" for path, why in others.items()}
    )
