"""A path names the files that a user means by it, in one order, or says what is missing."""

import pytest

from bimix_sweep.data.finding.braces import expand_braces
from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """A folder in which every file holds its own name."""
    for name in ("web/a.txt", "web/b.txt", "books/x/c.txt", "code/d-8.txt", "code/d-10.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "code" / "d-9.txt").write_text("code/d-9.txt")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expanded"),
    [
        ("a/b", ["a/b"]),
        ("{a,b}/*.txt", ["a/*.txt", "b/*.txt"]),
        ("x{1,{2,3}z}y{,0}", ["x1y", "x1y0", "x2zy", "x2zy0", "x3zy", "x3zy0"]),
        ("s-{008..011}", ["s-008", "s-009", "s-010", "s-011"]),
        ("s-{2..0}", ["s-2", "s-1", "s-0"]),
        ("{a}{b,c}", ["{a}b", "{a}c"]),
        ("open{a,b", ["open{a,b"]),
    ],
)
def test_braces_stand_for_what_they_stand_for_in_a_shell(path, expanded):
    assert expand_braces(path) == expanded


def test_braces_that_stand_for_millions_of_paths_are_refused():
    with pytest.raises(DataError, match=r"stands for more than 100,000 paths"):
        expand_braces("{0..9999999}")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["web", "books"], ["web/a.txt", "web/b.txt", "books/x/c.txt"]),
        (["books", "web/b.txt", "web/*"], ["books/x/c.txt", "web/b.txt", "web/a.txt"]),
        (["{books,web}/**/*.txt"], ["books/x/c.txt", "web/a.txt", "web/b.txt"]),
        (["code/d-{8..10}.txt"], ["code/d-8.txt", "code/d-9.txt", "code/d-10.txt"]),
        (["code"], ["code/d-8.txt", "code/d-9.txt", "code/d-10.txt"]),
    ],
)
def test_several_paths_name_each_file_once_in_their_order(folder, paths, names):
    assert [*Source(path=[folder / path for path in paths]).texts()] == names
    uris = [f"{folder.as_uri()}/{path}" for path in paths]
    assert [*Source(path=uris).texts()] == names


def test_a_list_names_files_folders_and_globs_relative_to_itself(folder):
    lists = folder / "lists"
    lists.mkdir()
    (lists / "all.txt").write_text(f"# shards\n../web/{{b,a}}.txt\n\n{folder / 'books'}\n")
    names = ["web/b.txt", "web/a.txt", "books/x/c.txt"]
    assert [*Source(path=f"@{lists / 'all.txt'}").texts()] == names
    assert [*Source(path=f"@{lists.as_uri()}/all.txt").texts()] == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"@.*list\.txt cannot be read \(No such file"),
        ("# nothing\n", r"@.*list\.txt lists nothing; need a file, folder, glob or URI a line"),
        ("@other.txt\n", r"@.*list\.txt lists @other\.txt; need files, folders"),
        ("gone.jsonl\n", r"gone\.jsonl was not found"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path, content, message):
    if content is not None:
        (tmp_path / "list.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        list(Source(path=f"@{tmp_path / 'list.txt'}").texts())


def test_each_of_several_paths_must_be_there(folder):
    with pytest.raises(DataError, match=r"web/z\.txt was not found; need a file, a folder"):
        list(Source(path=f"{folder}/web/{{a,z}}.txt").texts())
    with pytest.raises(DataError, match=r"music was not found"):
        list(Source(path=[folder / "web", folder / "music"]).texts())


def test_a_name_that_looks_like_a_pattern_is_that_file(tmp_path):
    for name in ("a[1].txt", "{b,c}.txt", "d*.txt"):
        (tmp_path / name).write_text(name)
        assert [*Source(path=tmp_path / name).texts()] == [name]
