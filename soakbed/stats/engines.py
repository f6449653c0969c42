"""How the engines fared over a phase, of columns of windows: each worker's mean, and the worst."""

from __future__ import annotations

from typing import Any

import numpy as np

from soakbed.stats.phase_data import Columns

__all__ = ["Engines"]

_PEAKS = ("loop_lag_max_us", "overdue_max", "in_flight_max")
_SHARES = ("wait_share", "nic_share")
_SUMS = ("reconnects", "moved", "ask")


class Engines:
    """Gathers rows of PhaseData.generator(); a few numbers per worker, however long the phase."""

    def __init__(self) -> None:
        nothing = np.zeros(0)
        self._cpu_s, self._cpu_max, self._whole_s = nothing, nothing, nothing
        self._seen = nothing.astype(bool)
        self._peaks = dict.fromkeys(_PEAKS, 0)
        self._sums = dict.fromkeys(_SUMS, 0)
        self._shares: dict[str, float] = {}

    def take(self, part: Columns) -> None:
        """Add rows, in order of time where the last digit of a mean matters."""
        workers = part["worker"].astype(np.intp)
        if not len(workers):
            return
        self._grow(int(workers.max()) + 1)
        self._seen[workers] = True
        # The last, cut window has a share of less than its length.
        whole = part["complete"].astype(bool)
        cpu_share, length_s = part["cpu_share"][whole], part["length_s"][whole]
        np.add.at(self._cpu_s, workers[whole], cpu_share * length_s)
        np.add.at(self._whole_s, workers[whole], length_s)
        np.maximum.at(self._cpu_max, workers[whole], cpu_share)
        for name in _SHARES:
            told = part[name][whole]
            told = told[~np.isnan(told)]
            if len(told):
                self._shares[name] = max(float(told.max()), self._shares.get(name, 0.0))
        for name in _PEAKS:
            self._peaks[name] = max(self._peaks[name], int(part[name].max()))
        for name in _SUMS:
            self._sums[name] += int(part[name].sum())

    def _grow(self, workers: int) -> None:
        more = max(0, workers - len(self._seen))
        self._cpu_s, self._cpu_max, self._whole_s = (
            np.append(held, np.zeros(more)) for held in (self._cpu_s, self._cpu_max, self._whole_s)
        )
        self._seen = np.append(self._seen, np.zeros(more, dtype=bool))

    def whole_s(self, worker: int) -> int:
        """Seconds of whole windows that one worker has."""
        return int(self._whole_s[worker]) if worker < len(self._whole_s) else 0

    def numbers(self) -> dict[str, Any]:
        """The fields of `GeneratorNumbers` that speak of the engines as a whole."""
        told = self._whole_s > 0
        means = self._cpu_s[told] / self._whole_s[told]
        return {
            "cpu_share": round(float(means.max(initial=0.0)), 4),
            "cpu_share_max": round(float(self._cpu_max[self._seen].max(initial=0.0)), 4),
            **self._peaks,
            "reconnects": self._sums["reconnects"],
            "redirects": self._sums["moved"] + self._sums["ask"],
            "wait_share_max": self._shares.get("wait_share"),
            "nic_share_max": self._shares.get("nic_share"),
        }
