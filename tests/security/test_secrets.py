"""No secret is in the log, in messages, in `verger config`, on a command line, or in what goes to Spark.

`test_canary.py` looks for one everywhere while both legs run; here are the parts of which that is made.
"""

import io
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkConf
from pyspark.serializers import CloudPickleSerializer

from bootstrap import cli
from conf import access, logs, session
from conf.access import Access
from conf.errors import PlatformError, UsageError
from conf.logs import configure, fields, logger
from conf.object_storage import ObjectStorage
from conf.objects import ObjectPath
from conf.redaction import SPARK_PATTERN, is_secret, redacted
from conf.session import COMMON, parse_spark_conf
from conf.tables import open_table
from streaming.worker import Work
from tests.security.models import backbone
from tests.storage.answering import Answer, answering

CANARY = "CANARYabc/+123=="
SECRETS = {
    "spark.hadoop.fs.s3a.access.key": CANARY,
    "spark.hadoop.fs.s3a.secret.key": CANARY,
    "spark.hadoop.fs.s3a.session.token": CANARY,
    "spark.hadoop.fs.s3a.bucket.mine.secret.key": CANARY,
    "spark.hadoop.fs.s3a.encryption.key": CANARY,
    "spark.hadoop.fs.s3a.server-side-encryption.key": CANARY,
    "spark.hadoop.fs.s3a.proxy.password": CANARY,
    "spark.hadoop.fs.azure.account.key.mine.dfs.core.windows.net": CANARY,
    "spark.hadoop.fs.azure.sas.box.mine.blob.core.windows.net": CANARY,
    "spark.hadoop.fs.azure.account.oauth2.client.secret": CANARY,
    "spark.hadoop.fs.gs.auth.service.account.private.key": CANARY,
    "spark.executorEnv.AWS_SECRET_ACCESS_KEY": CANARY,
    "spark.authenticate.secret": CANARY,
}
ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CLIENT_SECRET", "GOOGLE_SERVICE_ACCOUNT_PRIVATE_KEY",
)  # fmt: skip


class TestSpark:
    """What Spark is told, and what it shows of it."""

    def test_a_command_line_holds_no_secret(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every user of the machine can read it; other settings stand there, as the JVM needs some of them to start."""
        seen: dict[str, str] = {}

        def launch_gateway(conf: SparkConf, _: Any) -> None:
            seen.update(conf.getAll())

        monkeypatch.setattr("pyspark.java_gateway.launch_gateway", launch_gateway)
        conf = SparkConf(loadDefaults=False).setAll([*SECRETS.items(), *COMMON.items(), ("spark.driver.memory", "2g")])
        session.launch(conf, tmp_path / "log")
        assert CANARY not in str(seen)
        assert seen.items() >= {**COMMON, "spark.driver.memory": "2g"}.items()

    def test_a_session_is_launched_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever settings a person adds."""
        seen: list[tuple[str, str]] = []

        def launch_gateway(conf: SparkConf, _: Any) -> None:
            seen.extend(conf.getAll())
            raise PlatformError("seen")

        monkeypatch.setattr("pyspark.java_gateway.launch_gateway", launch_gateway)
        with pytest.raises(PlatformError, match="seen"), session.session("test", extra=SECRETS):
            pass
        assert dict(seen)["spark.redaction.regex"] == SPARK_PATTERN
        assert CANARY not in str(seen)

    @pytest.mark.parametrize("key", SECRETS)
    def test_its_pages_hide_what_holds_a_secret(self, key: str) -> None:
        """By the name of the setting."""
        assert re.search(SPARK_PATTERN, key)
        assert is_secret(key)

    @pytest.mark.parametrize(
        "value",
        ["http://me:word@proxy:8080", "https://a.blob.core.windows.net/c?sv=1&sig=abc", "-Dtrust.password=abc"],
    )
    def test_its_pages_hide_a_value_that_is_one(self, value: str) -> None:
        """Whatever the setting is called."""
        assert re.search(SPARK_PATTERN, value)

    @pytest.mark.parametrize(
        ("key", "value"),
        [each for each in COMMON.items() if each[0] != "spark.redaction.regex"]
        + [
            ("spark.hadoop.fs.s3a.endpoint", "http://store:9000"),
            ("spark.hadoop.fs.s3a.aws.credentials.provider", "software.amazon.awssdk.DefaultCredentialsProvider"),
            ("spark.local.dir", "/tmp/verger-x"),
            ("spark.sql.session.timeZone", "UTC"),
        ],
    )
    def test_its_pages_show_the_rest(self, key: str, value: str) -> None:
        """Else they would be of no use."""
        assert not re.search(SPARK_PATTERN, key)
        assert not re.search(SPARK_PATTERN, value)

    def test_what_it_hid_before_it_hides(self) -> None:
        """Its default is part of ours."""
        for word in ("secret", "PASSWORD", "token", "access.key", "accesskey"):
            assert re.search(SPARK_PATTERN, f"spark.x.{word}")


def test_a_task_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's constants go to every machine: they say where, and not by whose right."""
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:9000")
    storage = ObjectStorage("s3://bucket/x", access.settled("s3://bucket/x"))
    storage._store()
    work = Work(backbone(), 3, "model", storage, "s3://bucket/x", "parent", 1, 1)
    pickled: bytes = CloudPickleSerializer().dumps((lambda: work, work))  # type: ignore[no-untyped-call]
    assert b"http://store:9000" in pickled
    assert CANARY.encode() not in pickled


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a command in this process, in an empty folder, and gives all that it printed."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(logs, "configure", lambda: None)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["verger", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        return "".join(capsys.readouterr())

    return run


class TestMessages:
    """What a person is told."""

    @pytest.mark.parametrize(
        "settings",
        [
            ("--spark-conf", f"spark.hadoop.fs.s3a.secret.key={CANARY} spark.a=b"),
            ("--queue", f"https://me:{CANARY}@sqs.example/1/queue"),
        ],
    )
    def test_settings_are_shown_without_secrets(self, says: Callable[..., str], settings: tuple[str, str]) -> None:
        """The rest of them stands there."""
        shown = says("config", *settings)
        assert CANARY not in shown
        assert "***" in shown
        assert "spark.a=b" in shown or "sqs.example/1/queue" in shown

    @pytest.mark.parametrize(
        "arguments",
        [
            ("config", "--s3-endpoint", f"http://me:{CANARY}@store:9000"),
            ("status", "--lake", "s3://b/l", "--s3-endpoint", f"http://{CANARY}@store:9000"),
            ("status", "--lake", f"az://me:{CANARY}@b/l"),
            ("status", "--lake", f"https://me:{CANARY}@b/l"),
        ],
    )
    @pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["", "debug"])
    def test_an_error_holds_none(
        self, says: Callable[..., str], arguments: tuple[str, ...], debug: tuple[str, ...],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Also not its traceback, and whether or not the error is one that was foreseen."""
        for name in ENVIRONMENT:
            monkeypatch.setenv(name, "of the environment")
        shown = says(*arguments, *debug)
        assert CANARY not in shown
        assert shown

    def test_a_setting_of_spark_that_is_misspelled_is_named_without_its_value(self) -> None:
        """Whoever forgets `spark.hadoop.` has told no one the key."""
        with pytest.raises(UsageError, match=re.escape("'fs.s3a.secret.key=***' is not spark.KEY=VALUE")):
            parse_spark_conf(f"fs.s3a.secret.key={CANARY}")

    @pytest.mark.parametrize("endpoint", [f"http://me:{CANARY}@store", f"http://{CANARY}@store:1", "//a:b@c://d@e"])
    def test_an_endpoint_holds_none(self, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It travels with tasks: a user or a password in it is refused, and not repeated."""
        with pytest.raises(UsageError, match="holds a user or a password: leave them out") as raised:
            Access(endpoint)
        assert CANARY not in str(raised.value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(UsageError, match="AWS_ENDPOINT_URL"):
            access.settled("s3://bucket/lake")


EXPIRED = f"<Error><Code>ExpiredToken</Code><Message>It has expired.</Message><Token-0>{CANARY}</Token-0></Error>"


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    "ask",
    [
        lambda way: ObjectPath("s3://bucket/key").read_bytes(),
        lambda way: list(ObjectPath("s3://bucket/key").iterdir()),
        lambda way: ObjectStorage("s3://bucket/x", way).read("s3://bucket/x/1.jpg", "t", 3, 100),
        lambda way: open_table("s3://bucket/lake/arrivals"),
        lambda way: access.client("s3", way).list_objects_v2(Bucket="bucket"),
    ],
    ids=["read", "list", "fetch", "table", "boto3"],
)
def test_what_a_store_repeats_of_a_token_is_not_passed_on(
    ask: Callable[[Access], Any], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 names the token that it refuses; the message that a person gets names the refusal."""
    for name in ENVIRONMENT[:3]:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setattr("conf.tables.persistently", lambda call, *_: call())
    with answering(lambda _: Answer(status, EXPIRED.encode())) as way:
        access.use(way)
        with pytest.raises(Exception, match=r".") as raised:
            ask(way)
    assert CANARY not in str(raised.value)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Send the product's log to a stream until the end of the test."""
    product, stream = logger(), io.StringIO()
    before = product.handlers[:], product.propagate, product.level
    configure(stream)
    yield stream
    product.handlers[:], product.propagate = before[:2]
    product.setLevel(before[2])


class TestLog:
    """The log, as JSON; the form for a person goes the same way."""

    @pytest.mark.parametrize("name", ENVIRONMENT)
    def test_a_secret_of_the_environment_is_hidden(
        self, name: str, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the sentence, its fields and a traceback, whoever wrote it there."""
        monkeypatch.setenv(name, CANARY)
        try:
            raise OSError(f"403 {CANARY}")
        except OSError as error:
            logger().exception("refused: %s", error, extra=fields(error=error, all={"deep": [f"<{CANARY}>"]}))
        assert CANARY not in log.getvalue()
        assert json.loads(log.getvalue())["all"] == {"deep": ["<***>"]}

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (f"fs.s3a.secret.key={CANARY}, b", "fs.s3a.secret.key=***, b"),
            (f"http://me:{CANARY}@host/x", "http://***@host/x"),
            ("https://a.net/c?sv=1&sig=abc%2B&se=2", "https://a.net/c?sv=1&sig=***&se=2"),
            ('"my_token=abc"', '"my_token=***"'),
            ("token=\\", "token=\\"),
            ("http://store:9000/a b@c", "http://store:9000/a b@c"),
            ("https://word@host/x", "https://***@host/x"),
            ("abfss://box@mine.dfs.core.windows.net/x", "abfss://box@mine.dfs.core.windows.net/x"),
            ("pictures=512", "pictures=512"),
        ],
    )
    def test_what_looks_like_one_is_hidden(self, text: str, shown: str, log: io.StringIO) -> None:
        """And the line stays one of JSON."""
        logger().warning("%s", text, extra=fields(why=text))
        assert json.loads(log.getvalue())["why"] == shown

    def test_on_a_terminal_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a person sees is seen by whoever stands beside."""
        monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
        record = logging.LogRecord("verger", logging.WARNING, "", 0, f"refused {CANARY}", (), None)
        assert logs._Plain().format(record) == "warning: refused ***"

    def test_short_values_are_not_taken_for_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They stand in ordinary words."""
        monkeypatch.setenv("MY_TOKEN", "pear")
        assert redacted("a pear") == "a pear"

    @pytest.mark.parametrize(
        "text", ["secret" * 5000, "://" * 10000, "://" + "a:" * 10000, "a" * 30000, "&sig=" * 6000]
    )
    def test_a_long_name_does_not_hold_up_the_log(self, text: str) -> None:
        """Each part of a line is looked at a few times at most."""
        begun = time.perf_counter()
        redacted(text)
        assert time.perf_counter() - begun < 2
