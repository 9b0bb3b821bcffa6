"""One spelling per place."""

from pathlib import Path

import pytest

from conf.errors import UsageError
from conf.lake import create_lake
from conf.uris import folder_of


@pytest.mark.parametrize(
    "place",
    ["/data/x", "/data/./y/../x/", "file:/data/x", "file:///data/x", "file:///data/y/../x", "file://localhost/data/x"],
)
def test_every_spelling_of_a_folder_is_one_place(place: str) -> None:
    """Plain, dotted, and with one or three slashes: the same folder, so the same uris."""
    assert folder_of(place, "landing") == Path("/data/x")


def test_an_encoded_uri_is_decoded_and_a_plain_path_is_not() -> None:
    """Per cent is a letter of a plain path and an escape in a URI."""
    assert folder_of("file:///data/a%20b", "landing") == Path("/data/a b")
    assert folder_of("/data/a%20b", "landing") == Path("/data/a%20b")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file://server/share", "names the host server"),
        ("s3://bucket/x", "s3:// is not supported yet"),
        ("", "is missing"),
    ],
)
def test_a_place_out_of_reach_is_said_so(place: str, message: str) -> None:
    """Never taken for a relative path."""
    with pytest.raises(UsageError, match=message):
        folder_of(place, "landing")


@pytest.mark.parametrize("name", ["a\nb", "a[b]", "a%20b", "a#b", "a*", "a|b"])
def test_a_lake_path_that_some_reader_would_not_take_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is made there: a line break, patterns, and what delta-rs cannot put into a URL."""
    with pytest.raises(UsageError, match="not every reader"):
        create_lake(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []
