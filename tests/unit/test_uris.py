"""One spelling per place."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conf.errors import UsageError
from conf.lake import create_lake
from conf.objects import ObjectPath
from conf.uris import folder_of, key_of, located, object_uri, spelled, uri_of

# Of any text that UTF-8 can hold: S3 takes all of it.
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
SCHEMES = st.sampled_from(["s3", "gs", "az"])


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


@given(SCHEMES, KEYS)
@example("s3", "a//b")
@example("s3", "a%20b+c?d#e")
@example("s3", "/../.")
def test_a_key_comes_back_from_its_uri(scheme: str, key: str) -> None:
    """Whatever it holds; the URI is plain ASCII in which only slashes stand for themselves."""
    uri = object_uri(scheme, "bucket", key)
    assert key_of(uri) == key
    assert re.fullmatch(rf"{scheme}://bucket/[A-Za-z0-9._~/%-]*", uri)


@given(KEYS, KEYS)
def test_different_keys_have_different_uris(one: str, other: str) -> None:
    """Each object is one picture."""
    assert (object_uri("s3", "bucket", one) == object_uri("s3", "bucket", other)) == (one == other)


@given(SCHEMES, KEYS)
@example("s3", "a%20b")
@example("s3", "100%41")
def test_the_tables_spelling_means_itself(scheme: str, key: str) -> None:
    """What is copied from a row names the row's picture, and spelling it again changes nothing."""
    uri = object_uri(scheme, "bucket", key).rstrip("/")
    assert spelled(uri, "landing") == uri


@given(KEYS)
@example("100%")
@example("a b/c+d?e#f")
def test_a_key_may_be_given_as_it_is(key: str) -> None:
    """Where no part of it looks encoded."""
    if not re.search("%[0-9A-Fa-f]{2}", key):
        assert spelled(f"s3://bucket/{key}", "landing") == object_uri("s3", "bucket", key).rstrip("/")


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3a://bucket/in/", "s3://bucket/in"),
        ("s3n://bucket/in", "s3://bucket/in"),
        ("gcs://bucket/in", "gs://bucket/in"),
        ("azure://container/in", "az://container/in"),
        ("s3://bucket/a%20b", "s3://bucket/a%20b"),
        ("s3://bucket/a b", "s3://bucket/a%20b"),
        ("s3://bucket/a%zz", "s3://bucket/a%25zz"),
        ("s3://bucket/a%ff", "s3://bucket/a%25ff"),
        ("/data/a b", "file:///data/a%20b"),
        ("file:///data/a%20b", "file:///data/a%20b"),
    ],
)
def test_every_spelling_of_a_place_is_one_uri(given: str, uri: str) -> None:
    """Raw or encoded, with the scheme of any program, with a slash at its end or without."""
    assert spelled(given, "landing") == uri


def test_a_place_is_a_path_or_an_object() -> None:
    """As the lake's tables name it, the key as it is."""
    assert located("/lake/arrivals") == Path("/lake/arrivals")
    assert located("s3://bucket/lake/a b") == ObjectPath("s3://bucket/lake/a b")


def test_a_file_uri_is_not_taken_for_an_objects(tmp_path: Path) -> None:
    """Nor a folder whose name looks like one."""
    place = tmp_path / "s3:" / "bucket"
    assert spelled(str(place), "landing") == uri_of(place)
