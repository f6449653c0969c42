"""`results/campaigns/<id>/`: the record of a campaign, written whole at each change.

Cells are run folders of their own beside `campaigns/`; the record names them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from soakbed.archive.run_folder import write_whole
from soakbed.errors import ArchiveError
from soakbed.records.campaign import Campaign, CampaignSpec, CellState
from soakbed.records.spec import TestbedSpec

__all__ = ["CampaignFolder"]

_FOLDER = "campaigns"


class CampaignFolder:
    """One campaign's folder; `results` is the folder of its run folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.campaign_id = path.name
        self.results = path.parent.parent

    @classmethod
    def begin(cls, results: Path, make: Callable[[str], Campaign], *, name: str) -> CampaignFolder:
        """Make a folder for a new campaign and write its record; `make` gets the campaign's id."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path, suffix = results / _FOLDER / f"{stamp}-{name}", 2
        while path.exists():
            path = results / _FOLDER / f"{stamp}-{name}-{suffix}"
            suffix += 1
        path.mkdir(parents=True)
        folder = cls(path)
        folder.write(make(path.name))
        return folder

    @classmethod
    def open(cls, results: Path, campaign_id: str) -> CampaignFolder:
        """An existing campaign; "latest" is the one that was begun last. Raises ArchiveError."""
        known = cls.all_of(results)
        if campaign_id == "latest" and known:
            return known[-1]
        for one in known:
            if one.campaign_id == campaign_id:
                return one
        listed = ", ".join(one.campaign_id for one in known) or "none yet"
        raise ArchiveError(
            f"no campaign {campaign_id!r} in {results / _FOLDER}", remedy=f"name one of: {listed}"
        )

    @classmethod
    def all_of(cls, results: Path) -> list[CampaignFolder]:
        """Every campaign, the oldest first."""
        return [cls(path.parent) for path in sorted((results / _FOLDER).glob("*/campaign.json"))]

    @classmethod
    def unfinished(
        cls,
        results: Path,
        spec: CampaignSpec,
        testbed: TestbedSpec,
        *,
        or_failed: bool = False,
    ) -> CampaignFolder | None:
        """The newest campaign of exactly this spec and testbed that has cells left, if any.

        `or_failed`: cells that were given up count as left.
        """
        for folder in reversed(cls.all_of(results)):
            try:
                held = folder.read()
            except ArchiveError:  # of an older soakbed; it is still there for `report`
                continue
            left = not held.finished or (or_failed and any(one.given_up for one in held.states))
            if left and held.spec == spec and held.testbed == testbed:
                return folder
        return None

    def read(self) -> Campaign:
        """The record. Raises ArchiveError when it is damaged."""
        path = self.path / "campaign.json"
        try:
            return Campaign.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ArchiveError(
                f"{path} is damaged: {error.errors()[0]['msg']}",
                remedy="restore it from a copy; the cells' run folders are whole without it",
            ) from error

    def write(self, campaign: Campaign) -> None:
        """Write the record whole."""
        told = campaign.model_dump(mode="json", by_alias=True)
        write_whole(self.path / "campaign.json", json.dumps(told, indent=1) + "\n")

    def note(self, state: CellState) -> Campaign:
        """Put a cell's new state in the record; the record as it is now."""
        held = self.read()
        states = tuple(state if one.key == state.key else one for one in held.states)
        changed = held.model_copy(update={"states": states})
        self.write(changed)
        return changed

    @property
    def page(self) -> Path:
        """Where its page lies."""
        return self.path / "index.html"

    def run_folder(self, run_id: str) -> Path:
        """The run folder of a cell."""
        return self.results / run_id
