"""Where things lie, from the environment (SOAKBED_*) or their usual places. Its only reader."""

from __future__ import annotations

import os
from pathlib import Path

from soakbed.records.places import Places

__all__ = ["PROJECT", "archive_of_runs", "folder_of_states", "places_of"]

_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")  # as AWS's own tools read them
PROJECT = Path(__file__).resolve().parent.parent


def archive_of_runs() -> Path:
    """The folder of the run folders."""
    return Path(os.environ.get("SOAKBED_RESULTS", PROJECT / "results")).absolute()


def folder_of_states() -> Path:
    """The folder of all testbeds' states."""
    return Path(os.environ.get("SOAKBED_STATE", PROJECT / ".soakbed")).absolute()


def places_of(testbed: str) -> Places:
    """The places of one testbed."""
    user_cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Places(
        project=PROJECT,
        state=folder_of_states() / testbed,
        cache=Path(os.environ.get("SOAKBED_CACHE", user_cache / "soakbed")).absolute(),
        debian_mirror=os.environ.get("SOAKBED_DEBIAN_MIRROR", ""),
        artifacts=os.environ.get("SOAKBED_ARTIFACTS", ""),
        terraform=os.environ.get("SOAKBED_TERRAFORM", ""),
        terraform_plugins=os.environ.get("SOAKBED_TERRAFORM_PLUGINS", ""),
        s3_by_path=any(os.environ.get(name) for name in _ENDPOINTS),
        known_hosts=os.environ.get("SOAKBED_KNOWN_HOSTS", ""),
        checkip=os.environ.get("SOAKBED_CHECKIP", Places.model_fields["checkip"].default),
        archive=archive_of_runs(),
    )
