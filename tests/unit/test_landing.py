import re

import pytest

from conf.errors import UsageError
from streaming.landing import Kind, NameRule, is_hidden, labeller, parse_skip

LANDING = "file:///data/landing"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("apple.jpg", Kind.PICTURE),
        ("README", Kind.PICTURE),
        ("apple.TXT.jpg", Kind.PICTURE),
        ("_DSC0001.jpg", Kind.PICTURE),
        ("txt", Kind.PICTURE),
        ("pear.", Kind.PICTURE),
        ("notes.txt", Kind.SKIPPED),
        ("notes.TXT", Kind.SKIPPED),
        (".apple.jpg", Kind.HIDDEN),
        (".notes.txt", Kind.HIDDEN),
        ("Thumbs.db", Kind.HIDDEN),
        ("desktop.ini", Kind.HIDDEN),
        ("_SUCCESS", Kind.HIDDEN),
        ("_delta_log", Kind.HIDDEN),
        ("apple.jpg.part", Kind.TEMPORARY),
        ("apple.jpg.TMP", Kind.TEMPORARY),
        ("apple.jpg.crdownload", Kind.TEMPORARY),
        ("apple.jpg~", Kind.TEMPORARY),
    ],
)
def test_a_name_says_what_a_file_is(name: str, kind: Kind) -> None:
    """Only hidden, temporary and skipped names do not count; anything else may be a picture, whatever its extension."""
    assert NameRule(frozenset({"txt", "ini", "db"})).kind(name) is kind


@pytest.mark.parametrize(
    ("text", "extensions"),
    [
        ("txt,csv", {"txt", "csv"}),
        (" .TXT , Csv,,", {"txt", "csv"}),
        ("", set()),
        (" , ", set()),
    ],
)
def test_extensions_are_read_with_or_without_their_dot(text: str, extensions: set[str]) -> None:
    """Blanks, dots, case and empty parts do not matter."""
    assert parse_skip(text).skip == extensions


@pytest.mark.parametrize(("name", "hidden"), [(".git", True), ("_temporary", True), ("_apples", False), ("a.b", False)])
def test_folders_are_hidden_by_the_same_names(name: str, hidden: bool) -> None:
    """A leading dot hides; a leading underscore alone does not."""
    assert is_hidden(name) is hidden


@pytest.mark.parametrize(
    ("uri", "label"),
    [
        (f"{LANDING}/Apple/1.jpg", "Apple"),
        (f"{LANDING}/deep/er/Pear/1.jpg", "Pear"),
        (f"{LANDING}/Apple%20Red%201/1.jpg", "Apple Red 1"),
        (f"{LANDING}/P%C3%AAche/1.jpg", "Pêche"),
        (f"{LANDING}/100%25%20%23a/1.jpg", "100% #a"),
        (f"{LANDING}/%FF/1.jpg", "\ufffd"),
        (f"{LANDING}/1.jpg", None),
    ],
)
def test_the_label_is_the_parent_folder_decoded(uri: str, label: str | None) -> None:
    """The folder that holds the picture labels it; at the landing's own root nothing does."""
    assert labeller("parent", LANDING)(uri) == label


def test_a_trailing_slash_of_the_landing_does_not_make_a_label() -> None:
    """The landing's own name labels nothing, however the landing is written."""
    assert labeller("parent", f"{LANDING}/")(f"{LANDING}/1.jpg") is None


def test_a_picture_at_the_root_of_the_file_system_has_no_label() -> None:
    """The root folder has no name."""
    assert labeller("parent", "file:///")("file:///1.jpg") is None


def test_none_gives_no_label() -> None:
    """The rule `none` leaves every picture without a label."""
    assert labeller("none", LANDING)(f"{LANDING}/Apple/1.jpg") is None


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        (r"/(?P<label>[^/]+)/Pêche", "fruit & veg"),
        (r"landing/(?P<label>[^/]+)/", "fruit & veg"),
        (r"/(?P<label>\w+)_\d+\.jpg$", "red"),
        (r"/(?P<label>kiwi)/", None),
        (r"landing/(?:(?P<label>kiwi)|fruit)", None),
    ],
)
def test_an_expression_searches_the_decoded_uri(rule: str, label: str | None) -> None:
    """The group `label` is what it matched in readable names; no match, or a group left out, is no label."""
    assert labeller(rule, LANDING)(f"{LANDING}/fruit%20%26%20veg/P%C3%AAche/red_1.jpg") == label


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("(", "--label '(': neither parent, none nor a regular expression: missing )"),
        ("Parent", "--label 'Parent': the expression needs a group named label: (?P<label>…)"),
        ("(?P<lable>x)", "--label '(?P<lable>x)': the expression needs a group named label: (?P<label>…)"),
    ],
)
def test_an_expression_that_cannot_label_is_refused(rule: str, said: str) -> None:
    """The message shows the rule and what it lacks."""
    with pytest.raises(UsageError, match=re.escape(said)):
        labeller(rule, LANDING)
