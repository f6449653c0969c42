"""Pressing the cells of a campaign one after the other, from the first that is left.

What presses a cell, empties the hosts and waits comes from outside: here is only the order of
things, and what happens when one of them fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soakbed.archive.campaign_folder import CampaignFolder
from soakbed.archive.run_folder import RunFolder
from soakbed.errors import Interrupted, LoadError, SoakbedError
from soakbed.records.campaign import Attempt, Campaign, Cell, CellState

__all__ = ["CellRunner"]

_TRIES = 2
# So many cells in a row that failed twice have one cause, and it will not go away by itself.
_STOPS_AFTER = 3


@dataclass(frozen=True, slots=True)
class CellRunner:
    """The hands of a campaign. `press` takes a cell and its run folder, from its first missing
    record to its page, and says which targets were judged invalid; `wipe` stops and empties every
    target; `rest` waits so many seconds.
    """

    folder: CampaignFolder
    press: Callable[[Cell, RunFolder], Sequence[str]]
    wipe: Callable[[], None]
    tell: Callable[[str], None]
    rest: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.time

    def __call__(self) -> Campaign:
        """Press every cell that is left; the record at the end.

        A kill at any moment costs the stage that it hit: the same call goes on there. Raises
        LoadError when several cells in a row fail twice.
        """
        campaign = self.folder.read()
        in_a_row = 0
        for place, cell in enumerate(campaign.plan.cells):
            if campaign.states[place].settled != "left":
                continue
            self._cool_down(campaign)
            self.tell(f"[cell {place + 1} of {len(campaign.states)}: {cell.key}, {cell.told()}]")
            campaign = self._settle(campaign, place, cell)
            in_a_row = in_a_row + 1 if campaign.states[place].given_up else 0
            if in_a_row == _STOPS_AFTER:
                self._give_up(campaign, place)
        return campaign

    def _settle(self, campaign: Campaign, place: int, cell: Cell) -> Campaign:
        """One cell until it is done, or has failed twice."""
        while campaign.states[place].settled == "left":
            run, attempt = self._attempt(campaign, cell, campaign.states[place])
            campaign = self._note(campaign.states[place], attempt)
            try:
                invalid = self.press(cell, run)
            except Interrupted:
                raise
            except (SoakbedError, OSError) as error:
                campaign = self._failed(campaign, place, attempt, error)
            else:
                campaign = self._done(campaign, place, attempt, invalid)
        return campaign

    def _done(
        self, campaign: Campaign, place: int, attempt: Attempt, invalid: Sequence[str]
    ) -> Campaign:
        """Note that a cell was pressed to its end; an invalid one may be asked for once more."""
        state = campaign.states[place]
        once = any(one.outcome == "invalid" for one in state.attempts)
        again = bool(invalid) and campaign.spec.retry_invalid and not once
        done = attempt.model_copy(
            update={
                "outcome": "invalid" if again else "finished",
                "ended_s": round(self.now_s(), 3),
                "problem": f"judged invalid: {', '.join(invalid)}" if again else "",
            }
        )
        campaign = self._note(state, done)
        if again:
            self.tell(f"warning: {state.key} is invalid ({', '.join(invalid)}): once more")
            self._cool_down(campaign)
        return campaign

    def _attempt(
        self, campaign: Campaign, cell: Cell, state: CellState
    ) -> tuple[RunFolder, Attempt]:
        """The attempt that a kill or Ctrl-C cut off, to go on with; else a new one."""
        results = self.folder.results
        last = state.attempts[-1] if state.attempts else None
        if last and last.outcome == "running" and (results / last.run_id / "spec.json").is_file():
            return RunFolder.open(results, last.run_id), last
        # A kill may have come after the folder was made and before it was noted.
        known = {one.run_id for held in campaign.states for one in held.attempts}
        run = RunFolder.resumable(results, cell.spec)
        if run is None or run.run_id in known:
            run = RunFolder.begin(results, cell.spec)
        return run, Attempt(run_id=run.run_id, started_s=round(self.now_s(), 3))

    def _failed(
        self, campaign: Campaign, place: int, attempt: Attempt, error: SoakbedError | OSError
    ) -> Campaign:
        """Note why; empty the hosts, so that what comes next begins as every cell does."""
        problem = error.problem if isinstance(error, SoakbedError) else str(error)
        remedy = error.remedy if isinstance(error, SoakbedError) else ""
        failed = attempt.model_copy(
            update={
                "outcome": "failed",
                "ended_s": round(self.now_s(), 3),
                "problem": problem,
                "remedy": remedy,
            }
        )
        state = campaign.states[place]
        before = [one for one in state.attempts[state.tries_from :] if one.outcome == "failed"]
        given_up = len(before) + 1 >= _TRIES
        self.tell(f"warning: {state.key} failed: {problem.splitlines()[0]}")
        campaign = self._note(state, failed, given_up=given_up)
        try:
            self.wipe()
        except SoakbedError as unwiped:
            self.tell(f"warning: hosts not wiped: {unwiped.problem.splitlines()[0]}")
        if not given_up:
            self._cool_down(campaign)
            self.tell(f"{state.key}: once more, in a new run")
        return campaign

    def _note(self, state: CellState, attempt: Attempt, *, given_up: bool = False) -> Campaign:
        others = tuple(one for one in state.attempts if one.run_id != attempt.run_id)
        changed = {"attempts": (*others, attempt), "given_up": given_up}
        return self.folder.note(state.model_copy(update=changed))

    def _cool_down(self, campaign: Campaign) -> None:
        """Wait out what is left of the pause since the last cell ended."""
        ended = [one.ended_s for state in campaign.states for one in state.attempts]
        left_s = campaign.plan.cool_down_s - (self.now_s() - max(ended, default=0.0))
        if left_s > 0:
            left_s = min(left_s, campaign.plan.cool_down_s)  # whatever the clock did meanwhile
            self.tell(f"cooling down for {left_s:.0f} s")
            self.rest(left_s)

    def _give_up(self, campaign: Campaign, place: int) -> None:
        last = campaign.states[place].attempts[-1]
        raise LoadError(
            f"{_STOPS_AFTER} cells in a row failed twice, the last one: {last.problem}",
            remedy=f"{last.remedy or 'mend the cause'}; then the same command with --retry-failed "
            "goes on, those cells included",
        )

    def retry_failed(self) -> None:
        """Give every cell that was given up its tries back; what it tried stays in the record."""
        for state in self.folder.read().states:
            if state.given_up:
                again = {"given_up": False, "tries_from": len(state.attempts)}
                self.folder.note(state.model_copy(update=again))
