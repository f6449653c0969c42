"""The budget of a testbed while a run is on it: what was spent, and when the load must end for it.

The end is the ordinary one (`stop.json`): what is under way ends, its evidence is fetched and
judged, and what has not begun is not measured. Time alone decides, so it needs no host to answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from soakbed.archive.run_folder import RunFolder
from soakbed.records.cost import RunCost
from soakbed.stages.cost import why_spent

__all__ = ["BudgetWatch", "budget_watch"]


@dataclass(frozen=True, slots=True)
class BudgetWatch:
    """Whether the load of a run must end: somebody asked, or its budget is spent."""

    run: RunFolder
    cost: RunCost | None
    progress: Callable[[str], None]
    now_s: Callable[[], float] = field(default=time.time)

    def __call__(self) -> bool:
        """Asks for the end itself, with the figures, where the budget is the reason."""
        if self.run.stop_asked():
            return True
        if not (why := self.spent()):
            return False
        self.progress(f"warning: {why}")
        self.run.ask_to_stop(why, cause="budget")
        return True

    def spent(self) -> str:
        """Why the load must end now; "" while the budget allows more."""
        return why_spent(self.cost, self.now_s()) if self.cost else ""


def budget_watch(run: RunFolder, progress: Callable[[str], None]) -> BudgetWatch:
    """For one run, by what was kept with it when it began or was resumed."""
    cost = run.read("cost", RunCost) if run.has("cost") else None
    return BudgetWatch(run, cost, progress)
