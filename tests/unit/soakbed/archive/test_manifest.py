from pathlib import Path

from soakbed.adapters.wheels import engine_of
from soakbed.archive.manifest import with_engine
from soakbed.records.places import Places

PROJECT = Path(__file__).resolve().parents[4]


def test_the_engine_that_pressed_a_target_is_kept_once_and_another_beside_it():
    first, other = {"build": "a", "packages": "p"}, {"build": "b", "packages": "p"}
    held = with_engine(with_engine({}, "etcd", first), "etcd", first)
    assert held == {"etcd": [first]}
    held = with_engine(with_engine(held, "tikv", first), "etcd", other)
    assert held == {"etcd": [first, other], "tikv": [first]}


def test_an_engine_is_named_by_its_own_files_and_the_lock_under_it(tmp_path):
    named = engine_of(Places(project=PROJECT, state=tmp_path, cache=tmp_path / "cache"))
    assert set(named) == {"build", "packages"}
    assert all(len(digest) == 64 for digest in named.values())
