"""What tests of modules share: certificates, and a stand-in for PD that the modules ask."""

import datetime as dt

import pytest

from soakbed.adapters.pki import ensure_pki
from tests.standins.local import LocalPd

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Of a host d1 at 127.0.0.1."""
    folder = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, {"d1": ["127.0.0.1"]}, lifetime=2 * DAY, renew_below=DAY)


@pytest.fixture
def serve(pki, tmp_path):
    """A function that makes a member of PD which leads alone."""
    local = LocalPd(pki, tmp_path)
    yield local
    local.close()
