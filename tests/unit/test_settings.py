import math
import re
import shlex
from pathlib import Path
from typing import Any, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import UsageError
from conf.settings import FIELDS, NAMES, TEXTS, TYPES, Settings, flag, resolve

NUMBERS = [name for name in NAMES if FIELDS[name].metadata["least"] is not None]
CHOICES = [name for name in NAMES if FIELDS[name].metadata["choices"]]


def source(origin: str, name: str, value: Any, folder: Path) -> dict[str, Any]:
    """Set one setting in one of the three sources, as `resolve` takes them."""
    arguments: dict[str, Any] = {"flags": {}, "environment": {}, "folder": folder}
    if origin == "file":
        text = value if isinstance(value, str) else str(value).lower()
        shown = f'"{text}"' if isinstance(value, str) else text
        (folder / "verger.toml").write_text(f"{name} = {shown}\n")
    elif origin == "environment":
        arguments["environment"] = {f"VERGER_{name.upper()}": str(value)}
    else:
        arguments["flags"] = {name: value}
    return arguments


def shown_origin(origin: str, name: str) -> str:
    """Give the part of a message that says where a value was set."""
    return {"file": "verger.toml", "environment": f"environment VERGER_{name.upper()}", "flag": f"flag {flag(name)}"}[
        origin
    ]


def test_without_sources_the_defaults_are_in_force(tmp_path: Path) -> None:
    """Nothing given, nothing found: every value is the declared default and says so."""
    resolved = resolve({}, {}, folder=tmp_path)
    assert resolved.settings == Settings()
    assert set(resolved.origins) == set(NAMES)
    assert set(resolved.origins.values()) == {"default"}


def test_each_source_wins_over_the_one_below(tmp_path: Path) -> None:
    """A flag beats the environment, the environment the file, the file the default; origins tell which."""
    (tmp_path / "verger.toml").write_text('settle = 3\npoll = 3\ntrigger = 3\nlabel = "none"\n')
    resolved = resolve(
        {"trigger": 5.0, "cores": None}, {"VERGER_POLL": "4", "VERGER_TRIGGER": "4", "HOME": "/root"}, folder=tmp_path
    )
    values = resolved.settings
    assert (values.lake, values.settle, values.poll, values.trigger, values.label) == ("", 3.0, 4.0, 5.0, "none")
    assert resolved.origins["cores"] == "default"
    assert resolved.origins["settle"] == str(tmp_path / "verger.toml")
    assert resolved.origins["poll"] == "environment VERGER_POLL"
    assert resolved.origins["trigger"] == "flag --trigger"


def test_a_flag_equal_to_the_default_still_counts_as_given(tmp_path: Path) -> None:
    """False, zero and the empty text are values: they win over the sources below."""
    (tmp_path / "verger.toml").write_text('once = true\ncores = 7\nlabel = "none"\n')
    resolved = resolve({"once": False, "cores": 0, "label": ""}, {}, folder=tmp_path)
    assert (resolved.settings.once, resolved.settings.cores, resolved.settings.label) == (False, 0, "")


def test_a_config_file_replaces_the_folders_own(tmp_path: Path) -> None:
    """With --config, verger.toml of the working directory is not read."""
    (tmp_path / "verger.toml").write_text("cores = 1\nsettle = 9\n")
    chosen = tmp_path / "other.toml"
    chosen.write_text("cores = 2\n")
    resolved = resolve({}, {}, chosen, tmp_path)
    assert (resolved.settings.cores, resolved.settings.settle) == (2, 2.0)
    assert resolved.origins["cores"] == str(chosen)


def test_the_working_directory_is_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder argument verger.toml is that of the working directory."""
    (tmp_path / "verger.toml").write_text("cores = 3\n")
    monkeypatch.chdir(tmp_path)
    assert resolve({}, {}).settings.cores == 3


def test_the_file_takes_names_as_flags_spell_them(tmp_path: Path) -> None:
    """Dashes and underscores both name a setting in the file."""
    (tmp_path / "verger.toml").write_text("batch-pictures = 10\npixel_limit = 20\n")
    settings = resolve({}, {}, folder=tmp_path).settings
    assert (settings.batch_pictures, settings.pixel_limit) == (10, 20)


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    """--config promises a file; without it nothing starts on defaults in silence."""
    with pytest.raises(UsageError, match=r"--config .*absent\.toml: No such file"):
        resolve({}, {}, tmp_path / "absent.toml")


def test_a_folder_as_config_file_is_named(tmp_path: Path) -> None:
    """A folder is no file to read settings from."""
    with pytest.raises(UsageError, match=re.escape(f"--config {tmp_path}: Is a directory")):
        resolve({}, {}, tmp_path)


@pytest.mark.parametrize("content", [b"cores = = 1", b"cores = 1\ncores = 2", b'lake = "\xff"', b"[cores"])
def test_broken_toml_is_named_with_its_place(content: bytes, tmp_path: Path) -> None:
    """The message says which file is not TOML, also where its bytes are not UTF-8."""
    (tmp_path / "verger.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"verger\.toml: not valid TOML: ."):
        resolve({}, {}, folder=tmp_path)


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_beyond_all_measure_in_the_file_is_refused(digits: int, tmp_path: Path) -> None:
    """A whole number that no float holds, or that Python will not read, is a usage error as any other."""
    (tmp_path / "verger.toml").write_text(f"poll = {'9' * digits}\n")
    with pytest.raises(UsageError, match=r"verger\.toml"):
        resolve({}, {}, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("cores", "many", "cores must be a whole number, not 'many'"),
        ("cores", "1.5", "cores must be a whole number, not '1.5'"),
        ("cores", "", "cores must be a whole number, not ''"),
        ("poll", "soon", "poll must be a number, not 'soon'"),
        ("once", "maybe", "once must be true or false, not 'maybe'"),
        ("once", "2", "once must be true or false, not '2'"),
    ],
)
@pytest.mark.parametrize("origin", ["file", "environment", "flag"])
def test_a_text_that_is_not_of_the_type_is_refused(
    origin: str, name: str, value: str, said: str, tmp_path: Path
) -> None:
    """Each source's text is read as the setting's type or refused with the setting and the source."""
    with pytest.raises(UsageError) as caught:
        resolve(**source(origin, name, value, tmp_path))
    assert str(caught.value).startswith(said)
    assert shown_origin(origin, name) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cores = 1.0", "cores must be a whole number, not 1.0"),
        ("cores = true", "cores must be a whole number, not True"),
        ("poll = true", "poll must be a number, not True"),
        ("once = 1", "once must be true or false, not 1"),
        ("lake = 1", "lake must be a text, not 1"),
        ('lake = ["a"]', "lake must be a text, not ['a']"),
        ("poll = 2026-01-01", "poll must be a number, not datetime.date(2026, 1, 1)"),
    ],
)
def test_a_toml_value_of_another_type_is_refused(line: str, said: str, tmp_path: Path) -> None:
    """TOML's own types count: no float for a whole number, no boolean for a number, no number for a text."""
    (tmp_path / "verger.toml").write_text(line)
    with pytest.raises(UsageError) as caught:
        resolve({}, {}, folder=tmp_path)
    assert str(caught.value) == f"{said} ({tmp_path / 'verger.toml'})"


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("origin", ["file", "environment", "flag"])
def test_a_number_below_its_least_is_refused(origin: str, name: str, tmp_path: Path) -> None:
    """The least value itself is taken, one below it is not."""
    kind, least = TYPES[name], FIELDS[name].metadata["least"]
    resolved = resolve(**source(origin, name, kind(least), tmp_path))
    assert getattr(resolved.settings, name) == least
    with pytest.raises(
        UsageError, match=rf"{name} must be a finite number of at least {least:g}( and at most 1)?, not -?[\d.]+ "
    ) as caught:
        resolve(**source(origin, name, kind(least - 1), tmp_path))
    assert shown_origin(origin, name) in str(caught.value)


def test_a_number_above_its_most_is_refused() -> None:
    """A share cannot be more than all."""
    assert resolve({"variance": "1"}, {}).settings.variance == 1.0
    with pytest.raises(
        UsageError, match=r"variance must be a finite number of at least 0\.01 and at most 1, not 1\.01 "
    ):
        resolve({"variance": "1.01"}, {})


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("origin", ["file", "environment"])
def test_a_number_that_is_not_finite_is_refused(origin: str, value: str, tmp_path: Path) -> None:
    """Not-a-number and infinity are no seconds."""
    shown: Any = float(value) if origin == "file" else value
    with pytest.raises(UsageError, match=f"settle must be a finite number of at least 0, not {value}"):
        resolve(**source(origin, "settle", shown, tmp_path))


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("origin", ["file", "environment", "flag"])
def test_a_value_outside_the_choices_is_refused(origin: str, name: str, tmp_path: Path) -> None:
    """The message lists what may be chosen."""
    listed = ", ".join(FIELDS[name].metadata["choices"])
    with pytest.raises(UsageError) as caught:
        resolve(**source(origin, name, "other", tmp_path))
    assert str(caught.value).startswith(f"{name} must be one of {listed}, not 'other' (")
    assert shown_origin(origin, name) in str(caught.value)


@pytest.mark.parametrize("origin", ["file", "environment"])
@pytest.mark.parametrize(
    ("name", "hint"), [("landng", "; did you mean landing?"), ("zzz", "; `verger config` lists them")]
)
def test_a_name_that_is_no_setting_is_refused(origin: str, name: str, hint: str, tmp_path: Path) -> None:
    """A misspelt name is never ignored; a near one is suggested."""
    with pytest.raises(UsageError) as caught:
        resolve(**source(origin, name, "x", tmp_path))
    assert str(caught.value).endswith(f"no setting is named {name}{hint}")
    assert shown_origin(origin, name) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("1", True), ("Yes", True), (" TRUE ", True), ("false", False), ("0", False), ("no", False)],
)
def test_booleans_of_the_environment(text: str, value: bool, tmp_path: Path) -> None:
    """The environment knows only text: the usual words for yes and no are read."""
    assert resolve({}, {"VERGER_ONCE": text}, folder=tmp_path).settings.once is value


def test_numbers_of_the_environment_may_be_grouped(tmp_path: Path) -> None:
    """Underscores group digits as they do in TOML, and blanks around a number do not count."""
    environment = {"VERGER_PIXEL_LIMIT": " 1_000_000 ", "VERGER_POLL": "1e1"}
    settings = resolve({}, environment, folder=tmp_path).settings
    assert (settings.pixel_limit, settings.poll) == (1_000_000, 10.0)


@pytest.mark.parametrize(
    ("name", "spelt"), [("lake", "--lake"), ("batch_pictures", "--batch-pictures"), ("byte_limit", "--byte-limit")]
)
def test_a_flag_is_spelt_with_dashes(name: str, spelt: str) -> None:
    """The command line writes a setting's name with dashes."""
    assert flag(name) == spelt


def test_a_list_is_a_toml_list_or_the_words_of_a_text(tmp_path: Path) -> None:
    """Quotes keep the blanks of a path together; an empty list is refused by name."""
    (tmp_path / "verger.toml").write_text('backbone = ["vgg16@64", "my net.keras"]\n')
    assert resolve({}, {}, folder=tmp_path).settings.backbone == ("vgg16@64", "my net.keras")
    assert resolve({}, {"VERGER_BACKBONE": "vgg16 'my net.keras'"}).settings.backbone == ("vgg16", "my net.keras")
    for text in ("", "'unclosed"):
        with pytest.raises(UsageError, match="backbone must be a text or a list of texts"):
            resolve({}, {"VERGER_BACKBONE": text})


def accepted(name: str) -> st.SearchStrategy[Any]:
    """Give any value that a setting takes."""
    least, kind = FIELDS[name].metadata["least"], TYPES[name]
    if FIELDS[name].metadata["choices"]:
        return st.sampled_from(FIELDS[name].metadata["choices"])
    if kind is int:
        return st.integers(min_value=int(least), max_value=2**63 - 1)
    if kind is float:
        most = FIELDS[name].metadata["most"]
        return st.floats(least, most if math.isfinite(most) else None, allow_nan=False, allow_infinity=False)
    texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
    if kind == TEXTS:
        return st.lists(texts.filter(bool), min_size=1).map(tuple)
    return st.booleans() if kind is bool else texts


def as_text(value: Any) -> str:
    """Write a value as a person does in the environment."""
    return shlex.join(value) if isinstance(value, tuple) else str(value)


@given(st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), accepted(name))))
def test_any_value_that_a_setting_takes_arrives_as_given(given_: tuple[str, Any]) -> None:
    """From a flag and from the environment alike, a value comes out equal and of its type, and nothing else moves."""
    name, value = given_
    nowhere = Path("/nonexistent")
    for resolved in (
        resolve({name: value}, {}, folder=nowhere),
        resolve({}, {f"VERGER_{name.upper()}": as_text(value)}, folder=nowhere),
    ):
        assert getattr(resolved.settings, name) == value
        assert type(getattr(resolved.settings, name)) is (get_origin(TYPES[name]) or TYPES[name])
        assert [each for each in NAMES if resolved.origins[each] != "default"] == [name]
