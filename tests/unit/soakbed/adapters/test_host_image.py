"""The image is named after its recipe, so a changed recipe can never boot an old image."""

import pytest

from soakbed.adapters.host_image import debian_mirror, image_folder, recipe_hash
from soakbed.records.places import Places


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "infra/image"
    (folder / "rootfs/etc").mkdir(parents=True)
    (folder / "packages.txt").write_text("systemd\n")
    (folder / "build.sh").write_text("#!/bin/bash\n")
    (folder / "rootfs/etc/motd").write_text("hello\n")
    return folder


CHANGES = {
    "another package": lambda f: (f / "packages.txt").write_text("systemd\ndbus\n"),
    "another file": lambda f: (f / "rootfs/etc/issue").write_text(""),
    "a file less": lambda f: (f / "rootfs/etc/motd").unlink(),
    "a file of another name": lambda f: (f / "rootfs/etc/motd").rename(f / "rootfs/etc/issue"),
    "a file that may run": lambda f: (f / "rootfs/etc/motd").chmod(0o755),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_of_the_recipe_names_another_image(recipe, change):
    before = recipe_hash(recipe)
    assert recipe_hash(recipe) == before
    change(recipe)
    assert recipe_hash(recipe) != before


def test_the_image_lies_in_the_cache_under_the_hash_of_its_recipe(recipe, tmp_path):
    places = Places(project=tmp_path, state=tmp_path / "state", cache=tmp_path / "cache")
    assert image_folder(places) == tmp_path / "cache/images" / recipe_hash(recipe)


def test_a_mirror_that_the_user_names_wins():
    assert debian_mirror("http://mirror.example/debian") == "http://mirror.example/debian"
