"""Where Terraform runs, and what it may load there: `adapters.terraform` asks, infra/ is used.

Terraform fetches every plugin that any module below a root names. So testbeds that need none
(local, static) have infra/ itself as their root, and AWS has infra/aws/. What init writes beside a
root (its lock file) has no place in infra/: infra/aws/ is called by a small root that is written
into the testbed's state, and which also says where the state lies. So is infra/ where that is S3.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.testbed_spec import RemoteState

__all__ = [
    "Backend",
    "Root",
    "backend_of",
    "check_plugins",
    "copied_root",
    "plugin_missing",
    "root_for",
]

Backend = Mapping[str, Mapping[str, Any]]  # {"local": {"path": ...}}, as Terraform's JSON has it

_LOCK = ".terraform.lock.hcl"
_LOCKED = re.compile(r'provider "[^"]*/(\w+/\w+)" \{\s*version\s*=\s*"([^"]+)"(.*?)\n\}', re.DOTALL)
_H1 = re.compile(r'"(h1:[^"]+)"')
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Root:
    """One root: the folder Terraform runs in, the options of its init, and the plugins' pins."""

    folder: Path
    init: tuple[str, ...]
    pins: Path | None = None  # None: nothing is loaded


def root_for(
    kind: str, variables: Iterable[str], *, places: Places, folder: Path, backend: Backend
) -> Root:
    """The root that makes testbeds of provider `kind`; `folder`: Terraform's part of the state."""
    if kind != "aws" and "local" in backend:
        path = backend["local"]["path"]
        return Root(places.infra, (f"-backend-config=path={path}", "-reconfigure"))
    module = places.infra.resolve() / ("aws" if kind == "aws" else ".")
    written = folder.resolve() / "root"
    written.mkdir(parents=True, exist_ok=True)
    # A path that is not relative would be copied, and the copy would outlive changes of infra/.
    document = _document(os.path.relpath(module, written), sorted(variables), backend)
    (written / "main.tf.json").write_text(json.dumps(document, indent=1) + "\n")
    if kind != "aws":
        return Root(written, ("-reconfigure",))
    return Root(written, ("-reconfigure", *_plugin_dir(places)), module / "provider.json")


def backend_of(remote: RemoteState | None, *, file: Path, by_path: bool) -> Backend:
    """Where the state lies: in an S3 object, or in a file of this machine.

    The object's lock is another object beside it, so that no second service is needed. `by_path`:
    the bucket is named in the path, as servers other than AWS's own want it.
    """
    if remote is None:
        return {"local": {"path": str(file)}}
    asked = {**remote.model_dump(), "use_lockfile": True, "encrypt": True}
    return {"s3": asked | ({"use_path_style": True} if by_path else {})}


def copied_root(kind: str, *, places: Places, folder: Path) -> Root:
    """A root to validate and test in: infra/ itself, or a copy where init would write beside it."""
    if kind != "aws":
        return Root(places.infra, ("-backend=false",))
    copy = folder / "copy"
    if copy.exists():
        shutil.rmtree(copy)
    for part in ("aws", "modules/aws"):
        shutil.copytree(places.infra / part, copy / part)
    options = ("-backend=false", *_plugin_dir(places))
    return Root(copy / "aws", options, copy / "aws/provider.json")


def check_plugins(root: Root) -> None:
    """Raise if init took another plugin than the pinned one: another version, or other bytes."""
    if root.pins is None:
        return
    pins = json.loads(root.pins.read_text())
    lock = root.folder / _LOCK
    text = lock.read_text() if lock.exists() else ""
    locked = {name: (found, _H1.findall(rest)) for name, found, rest in _LOCKED.findall(text)}
    source = pins["source"]
    version, hashes = locked.get(source, ("none", []))
    if set(locked) == {source} and version == pins["version"]:
        # A lock may carry the sums of several platforms, and this one's is always among them.
        if hashes and set(hashes) <= set(pins["h1"].values()):
            return
        why = f"plugin {source} {version} has the sum {', '.join(hashes) or 'none'}"
    else:
        why = f"init took {', '.join(f'{n} {v}' for n, (v, _) in locked.items()) or 'no plugin'}"
    raise ProvisionError(
        f"{why}; pinned is {source} {pins['version']} with one of {', '.join(pins['h1'].values())}",
        remedy=f"give Terraform the plugin as it was released (SOAKBED_TERRAFORM_PLUGINS), "
        f"or look at {root.pins}",
    )


def plugin_missing(places: Places) -> str:
    """Why the AWS plugin is not at hand on this machine, with the way out; "" if it is.

    It looks into the folder that the user named and nowhere else, so that nothing is downloaded to
    find out.
    """
    pins = json.loads((places.infra / "aws/provider.json").read_text())
    what = f"the AWS provider {pins['version']} for Terraform is not at hand"
    if not places.terraform_plugins:
        return f"{what}; set SOAKBED_TERRAFORM_PLUGINS to a folder of plugins that has it"
    system = f"{platform.system().lower()}_{_ARCHITECTURES.get(platform.machine(), '')}"
    below = Path(places.terraform_plugins).expanduser()
    packed = f"*/{pins['source']}/terraform-provider-aws_{pins['version']}_{system}.zip"
    unpacked = f"*/{pins['source']}/{pins['version']}/{system}"
    if any(below.glob(packed)) or any(below.glob(unpacked)):
        return ""
    return f"{what} in {below} (SOAKBED_TERRAFORM_PLUGINS); put it there as {unpacked}/"


def _plugin_dir(places: Places) -> tuple[str, ...]:
    if not places.terraform_plugins:
        return ()
    return (f"-plugin-dir={Path(places.terraform_plugins).expanduser().absolute()}",)


def _document(module: str, variables: list[str], backend: Backend) -> dict[str, Any]:
    """The small root: what goes into the module, what comes out, and where the state lies."""
    return {
        "terraform": {"backend": backend},
        "variable": {name: {} for name in variables},
        "module": {
            "testbed": {"source": module} | {name: f"${{var.{name}}}" for name in variables}
        },
        "output": {"testbed": {"value": "${module.testbed.testbed}"}},
    }
