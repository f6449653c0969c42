"""`soakbed artifacts ...`: what the hosts get is listed, resolved, fetched, verified, exported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from soakbed.adapters.artifact_debian import deb_name
from soakbed.adapters.artifact_download import Watch
from soakbed.adapters.artifact_export import export as write_archive
from soakbed.adapters.artifact_listing import needed_files
from soakbed.adapters.artifact_pins import Resolved, UpstreamPin, read_pins, write_resolved
from soakbed.adapters.artifacts import CachedArtifacts, Found, machine_arch
from soakbed.adapters.signed_manifests import Manifests, mirror_at, root_of
from soakbed.adapters.wheels import HostPython, ensure_loadgen_bundle, exported_name
from soakbed.environment import places_of
from soakbed.errors import Mistake, SpecError, Unavailable
from soakbed.records.spec import TARGETS
from soakbed.units import bytes_text

__all__ = ["SubstituteOption", "app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "What is brought to the hosts: listed, resolved, fetched, verified, exported.\n\n"
        "`SOAKBED_ARTIFACTS` names a folder, a mirror's URL or an exported archive that is asked "
        "before the network. A folder may hold the pinned files, or other versions of them "
        "(`pd-server` and `tikv-server` as they are, `tikv-*.tar.gz`, `etcd-v*.tar.gz`, packages): "
        "those are used unless `--no-allow-substitute` forbids it, and the page names them as "
        "substituted.\n\n"
        "**Examples**\n\n"
        "- `soakbed artifacts list` says what is needed and what is here\n"
        "- `soakbed artifacts resolve` writes TiKV's checksums into artifacts.yml, once\n"
        "- `soakbed artifacts fetch` fills the cache; then no network is needed\n"
        "- `soakbed artifacts export artifacts.tar` is for machines without one"
    ),
)

TargetsOption = Annotated[
    str, typer.Option("--targets", help="Which databases, separated by spaces.")
]
ArchOption = Annotated[
    str, typer.Option("--arch", help="`amd64` or `arm64`; default: this machine's.")
]
SubstituteOption = Annotated[
    bool, typer.Option(help="Use another version where the pinned one cannot be had.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]
ALL = " ".join(TARGETS)


def _artifacts(*, watch: Watch | None = None) -> CachedArtifacts:
    return CachedArtifacts.of(places_of("artifacts"), watch=watch)


def _checked(targets: str, arch: str) -> tuple[list[str], str]:
    """The words of the command line, or every mistake in them."""
    names = list(dict.fromkeys(targets.split()))
    mistakes = [
        Mistake("command line", "--targets", name, "no such target", f"use some of: {ALL}")
        for name in names
        if name not in TARGETS
    ]
    arch = arch or machine_arch()
    if arch not in ("amd64", "arm64"):
        problem = "no artifacts are pinned for it"
        mistakes.append(Mistake("command line", "--arch", arch, problem, "use amd64 or arm64"))
    if mistakes:
        raise SpecError(mistakes)
    return names, arch


@app.command("list")
def list_(targets: TargetsOption = ALL, arch: ArchOption = "", as_json: JsonOption = False) -> None:
    """Say what is needed, which version is pinned, what is cached, where the rest comes from.

    Example: `soakbed artifacts list --targets tikv --json`
    """
    names, arch = _checked(targets, arch)
    rows = needed_files(_artifacts(), names, arch)
    if as_json:
        print(json.dumps([row.model_dump() for row in rows], indent=1))
        return
    console = Console()
    for target in names:
        console.print(target)
        for row in rows:
            if row.target == target:
                kind = "" if row.pinned else " (can stand in)"
                line = f"  {row.cached:7}  {row.name}{kind}  <- {row.source}"
                console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def verify(
    targets: TargetsOption = ALL, arch: ArchOption = "", as_json: JsonOption = False
) -> None:
    """Compare every cached file with its pinned sha256; exit code 4 when one is damaged.

    Example: `soakbed artifacts verify`
    """
    names, arch = _checked(targets, arch)
    rows = [row for row in needed_files(_artifacts(), names, arch) if row.cached != "absent"]
    if as_json:
        print(json.dumps([row.model_dump() for row in rows], indent=1))
    else:
        for row in rows:
            Console().print(f"{row.cached:8} {row.target}: {row.name}", markup=False)
    damaged = [row.name for row in rows if row.cached == "damaged"]
    if damaged:
        raise Unavailable(
            f"damaged in the cache: {', '.join(damaged)}",
            remedy="`soakbed artifacts fetch` takes them anew; a damaged file is never used",
        )


@app.command()
def fetch(
    targets: TargetsOption = ALL,
    arch: ArchOption = "",
    allow_substitute: SubstituteOption = True,
) -> None:
    """Bring what is missing into the cache, verified; half a file is completed, not begun anew.

    Exit code 4 when a target cannot be had.

    Example: `soakbed artifacts fetch --targets "etcd tikv" --arch arm64`
    """
    names, arch = _checked(targets, arch)
    found, lacking = _found(names, arch, allow_substitute=allow_substitute)
    for target, one in found.items():
        _say_found(target, one)
    _refuse_lacking(lacking)


def _found(
    targets: Sequence[str], arch: str, *, allow_substitute: bool
) -> tuple[dict[str, Found], dict[str, Unavailable]]:
    found: dict[str, Found] = {}
    lacking: dict[str, Unavailable] = {}
    with _bars() as watch:
        artifacts = _artifacts(watch=watch)
        for target in targets:
            try:
                found[target] = artifacts.found(
                    target, allow_substitute=allow_substitute, arch=arch
                )
            except Unavailable as error:
                lacking[target] = error
    return found, lacking


@contextmanager
def _bars() -> Iterator[Watch]:
    """One bar for each download; nothing where no one looks on."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def watch(name: str, done: int, of: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(escape(name), total=of or None)
            progress.update(tasks[name], completed=done)

        yield watch


def _say_found(target: str, found: Found) -> None:
    console = Console()
    origins = ", ".join(dict.fromkeys(use.origin for use in found.uses))
    console.print(f"{target} {found.version} ({origins})", markup=False, highlight=False)
    told = {use.reason: use.substituted for use in found.uses if use.reason}
    for reason, substituted in told.items():
        line = f"  {'substituted: ' if substituted else ''}{reason}"
        console.print(line, markup=False, style="yellow", soft_wrap=True)


def _refuse_lacking(lacking: dict[str, Unavailable]) -> None:
    if not lacking:
        return
    problems = "\n".join(error.problem for error in lacking.values())
    remedies = dict.fromkeys(error.remedy for error in lacking.values())
    raise Unavailable(problems, remedy="\n  or: ".join(remedies))


@app.command()
def resolve(
    targets: TargetsOption = ALL,
    mirror: Annotated[
        str, typer.Option(help="Another mirror than the pinned one: a URL or a folder.")
    ] = "",
    root: Annotated[
        Path | None, typer.Option(help="A root.json that you trust, for a mirror of your own.")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Change checksums that are pinned already.")
    ] = False,
) -> None:
    """Write sha256 and length from the mirror's signed manifests into artifacts.yml, once.

    Every signature is checked back to the root keys that artifacts.yml names. A file that is
    pinned already is not changed without --renew.

    Example: `soakbed artifacts resolve`
    """
    names, _ = _checked(targets, "")
    pins_file = _artifacts().pins_file
    resolved: dict[str, Resolved] = {}
    console = Console()
    for target, pin in read_pins(pins_file).items():
        if target in names and pin.upstream and pin.upstream.root:
            manifests = _manifests(pin.upstream, mirror, root)
            for arch, files in pin.upstream.files.items():
                for one in files:
                    resolved[one.name] = manifests.file(
                        one.component, pin.version, arch, name=one.name
                    )
            for line in dict.fromkeys(manifests.story):
                console.print(f"  {line}", markup=False, highlight=False)
    changed = _written(pins_file, resolved, renew=renew)
    for name, new in resolved.items():
        word = "written" if name in changed else "as pinned"
        line = f"{word}: {name} {new.sha256} ({bytes_text(new.length)})"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _written(pins_file: Path, resolved: dict[str, Resolved], *, renew: bool) -> list[str]:
    try:
        return write_resolved(pins_file, resolved, renew=renew)
    except OSError as error:
        problem = error.strerror or str(error)
        remedy = "give yourself the right to write it"
        raise SpecError([Mistake(str(pins_file), "sha256", "", problem, remedy)]) from error


def _manifests(pin: UpstreamPin, mirror: str, root: Path | None) -> Manifests:
    assert pin.root is not None  # asked only then
    base_url = mirror or pin.base_url
    if Path(base_url).is_dir():
        base_url = Path(base_url).absolute().as_uri()
    trusted = pin.root
    if root is not None:
        try:
            trusted = root_of(root.read_bytes(), str(root))
        except OSError as error:
            problem = error.strerror or str(error)
            remedy = "name the root.json that came with the mirror"
            mistake = Mistake("command line", "--root", str(root), problem, remedy)
            raise SpecError([mistake]) from error
    return Manifests(mirror_at(base_url), trusted)


@app.command()
def export(
    archive: Annotated[Path, typer.Argument(help="The archive to write, a .tar.")],
    targets: TargetsOption = ALL,
    arch: ArchOption = "",
    allow_substitute: SubstituteOption = True,
) -> None:
    """Write one archive of all files; SOAKBED_ARTIFACTS takes it on a machine without a network.

    It holds what soakbed brings to hosts: the targets' files, and the load hosts' Python packages.
    Fetches what is missing first. What cannot be had is left out, and told.

    Not in it is what a controller needs before soakbed runs there, which no file of soakbed's
    could bring: Debian packages from a mirror within reach, and wheels (`pip download -r
    requirements/controller.lock -d WHEELS`, there `PIP_FIND_LINKS=WHEELS make setup`). Nor is the
    image of local hosts, which is made of Debian packages: SOAKBED_DEBIAN_MIRROR names a mirror,
    or copy `images/` of the cache. A static testbed needs none.

    Example: `soakbed artifacts export artifacts.tar`, there
    `SOAKBED_ARTIFACTS=artifacts.tar make bench`
    """
    names, arch = _checked(targets, arch)
    found, lacking = _found(names, arch, allow_substitute=allow_substitute)
    if found:
        files = {_exported_name(file): file for one in found.values() for file in one.files}
        try:
            bundle = ensure_loadgen_bundle(places_of("artifacts"), python=HostPython.of_arch(arch))
            files[exported_name(bundle)] = bundle
        except Unavailable as error:
            lacking["load hosts"] = error
        _write(archive, files, [_account(target, one, arch) for target, one in found.items()])
        for target, one in found.items():
            _say_found(target, one)
        size = bytes_text(archive.stat().st_size)
        Console().print(f"{archive}: {len(files)} files, {size}", markup=False, soft_wrap=True)
    _refuse_lacking(lacking)


def _write(archive: Path, files: dict[str, Path], accounts: list[dict[str, object]]) -> None:
    try:
        write_archive(archive, files, targets=accounts)
    except OSError as error:
        problem, remedy = error.strerror or str(error), "name a place that you may write to"
        mistake = Mistake("command line", "ARCHIVE", str(archive), problem, remedy)
        raise SpecError([mistake]) from error


def _exported_name(file: Path) -> str:
    """The name under which a folder of artifacts is searched for it."""
    if file.suffix != ".deb":
        return file.name
    package, version, rest = file.name.split("_")
    return deb_name(package, version, rest.removesuffix(".deb"))


def _account(target: str, found: Found, arch: str) -> dict[str, object]:
    uses = [use.model_dump() for use in found.uses]
    return {"target": target, "version": found.version, "arch": arch, "files": uses}
