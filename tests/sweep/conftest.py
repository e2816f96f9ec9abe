import pytest

from tests.support.builtin_texts import write_texts


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Folder with the texts of the builtin trainer's tests."""
    folder = tmp_path_factory.mktemp("text")
    write_texts(folder)
    return folder
