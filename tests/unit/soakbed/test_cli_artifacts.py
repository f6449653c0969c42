"""`soakbed artifacts`, word for word as it is typed, over a project and a mirror of its own."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from soakbed import cli_artifacts
from soakbed.adapters import wheels
from soakbed.adapters.artifact_pins import read_pins
from soakbed.adapters.wheels import HostPython, ensure_loadgen_bundle
from soakbed.errors import SoakbedError, SpecError, Unavailable
from soakbed.records.places import Places
from tests.signed_mirror import Mirror, key
from tests.told_help import help_of
from tests.unit.soakbed.adapters.test_artifacts_of_tikv import program, put, tarball
from tests.upstream import Upstream, sha256

PROJECT = Path(__file__).resolve().parents[3]
VERSION = "6.5.5"
BUILDS = {
    (component, VERSION, arch): tarball(
        f"{component}-server", program(f"{component}-server") + f"# {arch}\n".encode()
    )
    for component in ("pd", "tikv")
    for arch in ("amd64", "arm64")
}
COMMENT = "# a comment that stays"


def file_name(component, arch="amd64"):
    return f"{component}-v{VERSION}-linux-{arch}.tar.gz"


def pins_of(url):
    """artifacts.yml as it is written by hand: TiKV with a comment, and without any sha256."""
    files = {
        arch: [
            {"name": file_name(component, arch), "component": component, "sha256": "", "length": 0}
            for component in ("pd", "tikv")
        ]
        for arch in ("amd64", "arm64")
    }
    root = {"version": 6, "threshold": 2, "keys": [key(name).id for name in Mirror.ROOT_KEYS]}
    upstream = {"base_url": url, "root": root, "files": files}
    pin = {"tikv": {"version": VERSION, "upstream": upstream}}
    return f"{COMMENT}\n{yaml.safe_dump({'artifacts': pin}, sort_keys=False)}"


class Project:
    """A project with pins, a cache and a mirror; `run` types a command."""

    def __init__(self, folder, upstream, monkeypatch):
        self.folder, self.upstream = folder, upstream
        self.pins = folder / "playbooks" / "group_vars" / "all" / "artifacts.yml"
        self.pins.parent.mkdir(parents=True)
        self.pins.write_text(pins_of(upstream.url))
        self.named = ""
        self.lock = folder / "requirements" / "loadgen.lock"
        self.lock.parent.mkdir()
        self.lock.write_text("made-up==1\n")
        self.installs = True
        monkeypatch.setattr(wheels, "_install", self.install)
        monkeypatch.setattr(cli_artifacts, "TARGETS", ("tikv",))
        monkeypatch.setattr(cli_artifacts, "places_of", lambda _: self.places)

    @property
    def places(self):
        cache = self.folder / "cache"
        return Places(
            project=self.folder, state=self.folder, cache=cache, artifacts=str(self.named)
        )

    def run(self, *words):
        """What the command prints. Raises what it raises."""
        words = [*words] if "--targets" in words or words[0] == "--help" else [*words, *TIKV]
        done = CliRunner().invoke(cli_artifacts.app, words, env={"COLUMNS": "250"})
        if done.exception:
            raise done.exception
        return done.stdout

    def install(self, lock, into, python):
        """In pip's place: one package, which says for which machine it is."""
        if not self.installs:
            raise Unavailable("pip could not fetch the load host's packages", remedy="a network")
        (into / "made_up.py").write_text(f"MACHINE = {python.machine!r}\n")

    def cached(self, component):
        return self.folder / "cache" / "artifacts" / "tikv" / file_name(component)


TIKV = ("--targets", "tikv")


@pytest.fixture
def project(tmp_path, monkeypatch):
    served = tmp_path / "mirror"
    served.mkdir()
    for name, data in Mirror(BUILDS).files.items():
        (served / name).write_bytes(data)
    with Upstream(served) as upstream:
        yield Project(tmp_path / "project", upstream, monkeypatch)


def test_resolve_writes_every_checksum_and_keeps_the_comments(project):
    said = project.run("resolve")
    files = read_pins(project.pins)["tikv"].upstream.files
    assert {one.name: (one.sha256, one.length) for held in files.values() for one in held} == {
        file_name(component, arch): (sha256(data), len(data))
        for (component, _, arch), data in BUILDS.items()
    }
    assert project.pins.read_text().startswith(COMMENT)
    assert said.count("written: ") == 4
    assert "9.tikv.json: signed by 1 (needs 1)" in said


def test_resolve_again_changes_nothing(project):
    project.run("resolve")
    before = project.pins.read_text()
    assert project.run("resolve").count("as pinned: ") == 4
    assert project.pins.read_text() == before


def test_a_pin_is_not_changed_without_renew(project):
    project.run("resolve")
    wrong = project.pins.read_text().replace(sha256(BUILDS["pd", VERSION, "amd64"]), "ab" * 32)
    project.pins.write_text(wrong)
    with pytest.raises(SpecError) as refused:
        project.run("resolve")
    assert refused.value.mistakes[0].key == f"{file_name('pd')}.sha256"
    assert "--renew" in refused.value.mistakes[0].remedy
    assert project.pins.read_text() == wrong
    assert project.run("resolve", "--renew").count("written: ") == 1
    assert "ab" * 32 not in project.pins.read_text()


def test_what_is_not_signed_by_the_pinned_keys_is_not_written(project):
    forged = project.pins.read_text().replace(key("root-b").id, "0b" * 32)
    forged = forged.replace(key("root-c").id, "0c" * 32)
    project.pins.write_text(forged)
    with pytest.raises(Unavailable, match=r"6.root.json is signed by 1 of the trusted keys"):
        project.run("resolve")
    assert project.pins.read_text() == forged


def test_a_mirror_on_disk_with_root_keys_of_its_own(project):
    text = project.pins.read_text()
    for name in Mirror.ROOT_KEYS:
        text = text.replace(key(name).id, key(f"not {name}").id)
    project.pins.write_text(text.replace(project.upstream.url, "http://127.0.0.1:9/"))
    folder = str(project.upstream.folder)
    with pytest.raises(Unavailable, match="is signed by 0"):
        project.run("resolve", "--mirror", folder)
    said = project.run("resolve", "--mirror", folder, "--root", f"{folder}/6.root.json")
    assert said.count("written: ") == 4


def test_a_root_file_that_is_not_there_is_a_mistake_on_the_command_line(project):
    with pytest.raises(SpecError) as wrong:
        project.run("resolve", "--root", "/nowhere/root.json")
    assert wrong.value.mistakes[0].key == "--root"


def test_fetch_before_resolve_names_the_way_and_downloads_nothing(project):
    with pytest.raises(Unavailable, match="has no sha256 for it yet") as refused:
        project.run("fetch", "--arch", "amd64")
    assert "soakbed artifacts resolve" in refused.value.remedy
    assert project.upstream.files == []


def test_resolve_and_fetch_fill_the_cache_and_then_no_network_is_needed(project):
    project.run("resolve")
    assert "tikv 6.5.5 (upstream)" in project.run("fetch", "--arch", "amd64")
    project.pins.write_text(
        project.pins.read_text().replace(project.upstream.url, "http://127.0.0.1:9/")
    )
    assert "tikv 6.5.5 (cache:upstream)" in project.run("fetch", "--arch", "amd64")
    assert project.cached("tikv").read_bytes() == BUILDS["tikv", VERSION, "amd64"]


def test_list_says_what_is_needed_what_is_here_and_where_the_rest_comes_from(project):
    rows = json.loads(project.run("list", "--arch", "amd64", "--json"))
    assert [(row["name"], row["sha256"], row["cached"]) for row in rows] == [
        (file_name("pd"), "", "absent"),
        (file_name("tikv"), "", "absent"),
    ]
    assert "not before `soakbed artifacts resolve`" in rows[0]["source"]
    project.run("resolve")
    project.upstream.break_off_after = [10, 0]
    with pytest.raises(Unavailable):
        project.run("fetch", "--arch", "amd64")
    rows = json.loads(project.run("list", "--arch", "amd64", "--json"))
    assert [row["cached"] for row in rows] == ["half", "absent"]
    assert rows[1]["source"] == project.upstream.url + file_name("tikv")
    assert rows[1]["length"] == len(BUILDS["tikv", VERSION, "amd64"])
    project.run("fetch", "--arch", "amd64")
    rows = json.loads(project.run("list", "--arch", "amd64", "--json"))
    assert [(row["cached"], row["source"]) for row in rows] == [("whole", "cache")] * 2
    shown = project.run("list", "--arch", "amd64")
    assert file_name("pd") in shown and "whole" in shown


def test_list_names_what_stands_in_from_the_users_folder(project, tmp_path):
    project.named = tmp_path / "named"
    project.named.mkdir()
    put(
        project.named,
        pd_server=program("pd-server", "7.1.0"),
        tikv_server=program("tikv-server", "7.1.0"),
    )
    rows = json.loads(project.run("list", "--arch", "amd64", "--json"))
    given = [row for row in rows if not row["pinned"]]
    assert [(row["name"], row["version"], row["source"]) for row in given] == [
        ("pd-server", "7.1.0", str(project.named)),
        ("tikv-server", "7.1.0", str(project.named)),
    ]
    assert "substituted: SOAKBED_ARTIFACTS has" in project.run("fetch", "--arch", "amd64")
    with pytest.raises(Unavailable, match="allow_substitute is off"):
        project.run("fetch", "--arch", "amd64", "--no-allow-substitute")


def test_verify_finds_a_damaged_file_and_fetch_mends_it(project):
    project.run("resolve")
    project.run("fetch", "--arch", "amd64")
    assert project.run("verify", "--arch", "amd64").count("whole") == 2
    project.cached("tikv").write_bytes(b"rotten")
    with pytest.raises(Unavailable, match=rf"damaged in the cache: {file_name('tikv')}") as found:
        project.run("verify", "--arch", "amd64")
    assert found.value.exit_code == 4
    project.run("fetch", "--arch", "amd64")
    assert project.run("verify", "--arch", "amd64").count("whole") == 2


def test_export_makes_an_archive_that_serves_where_there_is_no_network(project, tmp_path):
    project.run("resolve")
    archive = tmp_path / "artifacts.tar"
    assert "3 files" in project.run("export", str(archive), "--arch", "amd64")
    project.cached("tikv").unlink()
    project.cached("pd").unlink()
    project.pins.write_text(
        project.pins.read_text().replace(project.upstream.url, "http://127.0.0.1:9/")
    )
    project.named = archive
    said = project.run("fetch", "--arch", "amd64", "--no-allow-substitute")
    assert said == "tikv 6.5.5 (named)\n"


def held_in(bundle):
    with tarfile.open(bundle) as packed:
        return packed.extractfile("made_up.py").read().decode()


@pytest.mark.parametrize(("arch", "machine"), [("amd64", "x86_64"), ("arm64", "aarch64")])
def test_export_holds_the_load_hosts_packages_for_a_controller_without_network(
    project, tmp_path, arch, machine
):
    project.run("resolve")
    project.named, archive = "", tmp_path / "artifacts.tar"
    project.run("export", str(archive), "--arch", arch)
    shutil.rmtree(project.folder / "cache")
    project.installs, python = False, HostPython(machine=machine)
    with pytest.raises(Unavailable, match="pip could not fetch"):
        ensure_loadgen_bundle(project.places, python=python)
    project.named = archive
    assert held_in(ensure_loadgen_bundle(project.places, python=python)) == (
        f"MACHINE = {machine!r}\n"
    )
    other = HostPython(machine="riscv64")
    with pytest.raises(Unavailable, match="pip could not fetch"):
        ensure_loadgen_bundle(project.places, python=other)
    project.lock.write_text("made-up==2\n")
    with pytest.raises(Unavailable, match="pip could not fetch"):
        ensure_loadgen_bundle(project.places, python=python)


def test_packages_in_an_archive_that_was_cut_short_are_refused(project, tmp_path):
    project.run("resolve")
    archive = tmp_path / "artifacts.tar"
    project.run("export", str(archive), "--arch", "amd64")
    shutil.rmtree(project.folder / "cache")
    archive.write_bytes(archive.read_bytes()[:-20_000])
    project.named = archive
    with pytest.raises(Unavailable, match="is not a whole archive"):
        ensure_loadgen_bundle(project.places, python=HostPython.of_arch("amd64"))


def test_export_without_the_load_hosts_packages_says_so_and_keeps_the_rest(project, tmp_path):
    project.run("resolve")
    project.installs = False
    archive = tmp_path / "artifacts.tar"
    with pytest.raises(Unavailable, match="pip could not fetch the load host"):
        project.run("export", str(archive), "--arch", "amd64")
    with tarfile.open(archive) as packed:
        held = packed.getnames()
    assert len(held) == 3 and not any("load-host" in name for name in held)


def test_export_to_a_place_that_cannot_be_written_is_a_mistake(project):
    project.run("resolve")
    with pytest.raises(SpecError) as wrong:
        project.run("export", "/proc/artifacts.tar", "--arch", "amd64")
    assert wrong.value.mistakes[0].key == "ARCHIVE"


@pytest.mark.parametrize(
    "words",
    [("--targets", "tivk"), ("--targets", "tikv", "--arch", "riscv64")],
    ids=["target", "architecture"],
)
def test_a_misspelt_word_is_named_with_what_can_be_used(project, words):
    with pytest.raises(SoakbedError) as wrong:
        project.run("list", *words)
    assert wrong.value.exit_code == 2


HELPED = tuple(f"artifacts {word}" for word in ("list", "verify", "fetch", "resolve", "export"))


@pytest.mark.parametrize("command", HELPED)
def test_every_command_has_help_with_an_example(command):
    code, said = help_of(*HELPED)[command]
    assert code == 0
    assert f"soakbed {command}" in said and "Example" in said
