import re
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkConf
from pyspark.errors import PySparkRuntimeError

from conf import jars
from conf.errors import PlatformError, UsageError
from conf.session import check_java, launch, parse_spark_conf


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("  \n ", {}),
        ("spark.a=1", {"spark.a": "1"}),
        ("spark.a=1  spark.b.c=x=y\nspark.d=", {"spark.a": "1", "spark.b.c": "x=y", "spark.d": ""}),
        ("spark.a=1 spark.a=2", {"spark.a": "2"}),
    ],
)
def test_spark_settings_are_words_of_key_and_value(text: str, pairs: dict[str, str]) -> None:
    """Only the first equals sign divides; a later word wins."""
    assert parse_spark_conf(text) == pairs


@pytest.mark.parametrize("word", ["spark.a", "a=1", "=1", "spark_a=1", "--conf"])
def test_a_word_that_is_no_spark_setting_is_refused(word: str) -> None:
    """The message shows the word."""
    with pytest.raises(UsageError, match=re.escape(f"spark_conf: {word!r} is not spark.KEY=VALUE")):
        parse_spark_conf(f"spark.good=1 {word}")


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the whole PATH, without JAVA_HOME."""
    folder = tmp_path / "home" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def fake_java(folder: Path, said: str, code: int = 0) -> None:
    """Write a `java` that says something on standard error."""
    script = folder / "java"
    script.write_text(f"#!/bin/sh\n/bin/cat >&2 <<'END'\n{said}\nEND\nexit {code}\n")
    script.chmod(0o755)


SEVENTEEN = 'openjdk version "17.0.12" 2024-07-16'


@pytest.mark.parametrize(
    "said",
    [
        SEVENTEEN,
        'openjdk version "21" 2023-09-19',
        'java version "25-ea"',
        f"Picked up JAVA_TOOL_OPTIONS: -Xmx1g\n{SEVENTEEN}",
    ],
)
def test_java_17_and_later_serve(said: str, bin_folder: Path) -> None:
    """The version is read from what `java -version` says, whoever made that Java."""
    fake_java(bin_folder, said)
    check_java()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('openjdk version "11.0.24" 2024-07-16', "'11'"),
        ('java version "1.8.0_292"', "'8'"),
        ("no version at all", "'no version at all'"),
    ],
)
def test_an_older_java_is_refused(said: str, shown: str, bin_folder: Path) -> None:
    """The message tells which Java was found where, which is needed and how to get it."""
    fake_java(bin_folder, said)
    with pytest.raises(PlatformError) as caught:
        check_java()
    assert str(caught.value).startswith(
        f"Java 17 is needed, {bin_folder}/java is {shown}: install it (apt-get install "
    )


def test_a_machine_without_java_is_told_how_to_get_it(bin_folder: Path) -> None:
    """No java on PATH is one clear line."""
    with pytest.raises(PlatformError, match=r"Java 17 is needed, no java on PATH: install it .*JAVA_HOME"):
        check_java()


def test_java_home_wins_over_the_path(bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark starts the Java of JAVA_HOME, so that is the one that is looked at."""
    fake_java(bin_folder, 'openjdk version "11"')
    (tmp_path / "good" / "bin").mkdir(parents=True)
    fake_java(tmp_path / "good" / "bin", SEVENTEEN)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "good"))
    check_java()


def test_a_java_home_without_java_is_named(bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good Java on PATH does not help where JAVA_HOME points elsewhere."""
    fake_java(bin_folder, SEVENTEEN)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(PlatformError, match=re.escape(f"JAVA_HOME={tmp_path} holds no Java that starts")):
        check_java()


def test_a_java_that_fails_is_refused(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java that cannot start does not serve, whatever it says."""
    fake_java(bin_folder, SEVENTEEN, code=1)
    monkeypatch.setenv("JAVA_HOME", str(bin_folder.parent))
    with pytest.raises(PlatformError, match="holds no Java that starts"):
        check_java()


def launch_that_says(said: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Launch with a Java side that says something and dies; give the error's message."""

    def dies(conf: SparkConf, popen_kwargs: dict[str, Any]) -> None:
        popen_kwargs["stderr"].write(said.encode())
        popen_kwargs["stderr"].flush()
        raise PySparkRuntimeError(errorClass="JAVA_GATEWAY_EXITED", messageParameters={})

    monkeypatch.setattr("pyspark.java_gateway.launch_gateway", dies)
    with pytest.raises(PlatformError) as caught:
        launch(SparkConf(loadDefaults=False), log)
    return str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        ":: UNRESOLVED ::\nException: [unresolved dependency: io.delta#delta-spark_4.1_2.13;4.2.0: not found]",
        "Server access error at url https://central.example/ (java.net.UnknownHostException)",
        "[download failed: io.delta#delta-storage;4.2.0]",
    ],
)
def test_jars_that_cannot_be_fetched_are_told_as_such(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start without a network says what to do once, instead of Ivy's pages."""
    message = launch_that_says(said, tmp_path / "log", monkeypatch)
    assert message.startswith(
        "the Delta jars could not be fetched from Maven Central: connect once and run `make setup`"
    )
    assert "\n" not in message


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "WARNING: x\nError: Could not create the Java Virtual Machine.\nat y\n",
            "Error: Could not create the Java Virtual Machine.",
        ),
        ("first\n\n  last word \n", "last word"),
        ("", "it said nothing"),
        ("Exception " + "x" * 1000, "Exception " + "x" * 290),
    ],
)
def test_a_java_side_that_dies_is_quoted_in_one_line(
    said: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that a dying JVM says, the telling line is shown."""
    message = launch_that_says(said, tmp_path / "log", monkeypatch)
    assert message == f"the Java side of Spark did not start: {shown}"


@pytest.mark.parametrize(("s3", "wanted"), [(False, jars.delta()), (True, jars.delta() + jars.S3)])
def test_without_cached_jars_spark_resolves_coordinates(
    s3: bool, wanted: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start names Maven coordinates, what to leave out, and the cache to fill; S3's only where needed."""
    monkeypatch.setattr(jars, "IVY", tmp_path)
    settings = jars.spark_settings(s3=s3)
    assert set(settings) == {"spark.jars.packages", "spark.jars.excludes", "spark.jars.ivy"}
    assert settings["spark.jars.packages"].split(",") == list(wanted)
    assert settings["spark.jars.ivy"] == str(tmp_path)


def test_cached_jars_are_named_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once every jar lies in the cache, no coordinate is resolved; while one is missing, all are."""
    monkeypatch.setattr(jars, "IVY", tmp_path)
    (tmp_path / "jars").mkdir()
    names = [f"{group}_{name}-{version}.jar" for group, name, version in (each.split(":") for each in jars.delta())]
    for name in names[:-1]:
        (tmp_path / "jars" / name).write_bytes(b"")
    assert "spark.jars" not in jars.spark_settings()
    (tmp_path / "jars" / names[-1]).write_bytes(b"")
    assert jars.spark_settings() == {"spark.jars": ",".join(str(tmp_path / "jars" / name) for name in names)}
    assert "spark.jars" not in jars.spark_settings(s3=True)
