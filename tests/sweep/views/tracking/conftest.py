import shutil

import pytest

from tests.support.trackers import complete


@pytest.fixture(scope="session")
def one_finished_sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    complete(folder)
    return folder


@pytest.fixture
def finished(one_finished_sweep, tmp_path):
    """A finished sweep of the test's own."""
    return shutil.copytree(one_finished_sweep, tmp_path / "finished")
