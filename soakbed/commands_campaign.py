"""What `soakbed campaign` does, in the words of its stages; `cli_campaign` only parses."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console

from soakbed.archive.campaign_folder import CampaignFolder
from soakbed.archive.manifest import commit_of
from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.commands import Session
from soakbed.errors import InvalidRun, LoadError
from soakbed.pipeline import Bench, Stopwatch
from soakbed.progress import Display
from soakbed.records.campaign import Campaign, CampaignPlan, CampaignSpec, Cell, CellState
from soakbed.records.spec import TestbedSpec
from soakbed.records.summary import MeasuredTarget
from soakbed.records.testbed import Testbed
from soakbed.report.campaign_text import campaign_json, plan_text, status_json, status_text
from soakbed.reporting_campaign import CampaignForm, campaign_report
from soakbed.stages.campaign_plan import plan_campaign
from soakbed.stages.campaign_results import results_of
from soakbed.stages.campaign_run import CellRunner
from soakbed.stages.campaign_times import overheads_of
from soakbed.stages.configure import wipe_target
from soakbed.stages.inventory import testbed_of

__all__ = ["plan", "report", "run", "status"]
