"""Passwords: made once, private, and fit for redis.conf without quotes."""

import re
import stat

from soakbed.adapters.secrets import ensure_passwords

USERS = ("admin", "bench")


def test_passwords_are_made_once(tmp_path):
    file = tmp_path / "secrets" / "redis.json"
    first = ensure_passwords(file, USERS)
    assert ensure_passwords(file, USERS) == first
    assert set(first) == set(USERS)


def test_a_new_user_gets_a_password_and_the_others_keep_theirs(tmp_path):
    file = tmp_path / "redis.json"
    first = ensure_passwords(file, USERS)
    more = ensure_passwords(file, (*USERS, "replication"))
    assert {user: more[user] for user in USERS} == first
    assert len(set(more.values())) == 3


def test_only_the_owner_can_read_them(tmp_path):
    file = tmp_path / "secrets" / "redis.json"
    ensure_passwords(file, USERS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [left.name for left in file.parent.iterdir()] == ["redis.json"]


def test_they_are_long_and_need_no_quotes(tmp_path):
    for password in ensure_passwords(tmp_path / "redis.json", USERS).values():
        assert re.fullmatch(r"[A-Za-z0-9_-]{40,}", password)
