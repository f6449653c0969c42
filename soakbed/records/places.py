"""Where things lie on the controller; made once by `cli`, handed down to every stage."""

from __future__ import annotations

from pathlib import Path

from soakbed.records.frozen import Frozen

__all__ = ["Places"]


class Places(Frozen):
    """Folders of one testbed. `project` holds infra/, playbooks/, loadgen/ and results/.

    `state` belongs to one testbed (Terraform state, keys, lock); `cache` is shared by all and may
    be deleted at any time; `debian_mirror` is "" to use the machine's own apt set-up.
    """

    project: Path
    state: Path
    cache: Path
    debian_mirror: str = ""
    artifacts: str = ""  # a folder or mirror of artifacts that the user names (SOAKBED_ARTIFACTS)
    terraform: str = ""  # a terraform or tofu binary that the user names (SOAKBED_TERRAFORM)
    terraform_plugins: str = ""  # a folder of its provider plugins (SOAKBED_TERRAFORM_PLUGINS)
    s3_by_path: bool = False  # another S3 than AWS's own was named (AWS_ENDPOINT_URL)
    known_hosts: str = ""  # a file of SSH host keys that the user names (SOAKBED_KNOWN_HOSTS)
    checkip: str = "https://checkip.amazonaws.com"  # says who asks it (SOAKBED_CHECKIP)
    archive: Path | None = None  # another folder for run folders (SOAKBED_RESULTS)

    @property
    def infra(self) -> Path:
        """The Terraform module."""
        return self.project / "infra"

    @property
    def playbooks(self) -> Path:
        """The Ansible project."""
        return self.project / "playbooks"

    @property
    def results(self) -> Path:
        """The archive."""
        return self.archive or self.project / "results"
