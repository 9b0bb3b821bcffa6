"""What AWS says when it refuses, as one line; and which region is in force."""

import os
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from bootstrap.emr import account
from conf.errors import AccountError, UsageError, VergerError
from tests.emr.deployed import Said, scripted

DENIED = (
    "User: arn:aws:sts::123456789012:assumed-role/student/anna is not authorized to perform: "
    "emr-serverless:StartJobRun on resource: arn:aws:emr-serverless:eu-west-3:123456789012:/applications/00f"
)
PASSING = (
    "User: arn:aws:iam::123456789012:user/anna is not authorized to perform: iam:PassRole on resource: "
    "arn:aws:iam::123456789012:role/verger-stream"
)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def refused(code: str, message: str) -> VergerError:
    """Give what a refusal becomes."""
    said = Said("list_job_runs", refused=code, message=message)
    with scripted("emr-serverless", said) as client, pytest.raises(VergerError) as caught:
        account.call(client, "list_job_runs", applicationId="00f")
    assert "\n" not in str(caught.value)
    return caught.value


class TestRefusals:
    """Each says what was asked, what is wrong and what to do."""

    @pytest.mark.parametrize(
        ("message", "action"),
        [
            (DENIED, "emr-serverless:StartJobRun"),
            (PASSING, "iam:PassRole"),
            ("Denied", "emr-serverless:ListJobRuns"),
        ],
    )
    def test_what_is_denied_is_named_and_who_may(self, message: str, action: str) -> None:
        """The action as IAM spells it: AWS' own word, else the call's."""
        error = refused("AccessDeniedException", message)
        assert isinstance(error, AccountError)
        assert str(error).startswith(f"these credentials may not {action}; the role NAMEPREFIX-submitter of the base ")
        assert str(error).endswith(f"AWS says: {message}")

    def test_a_denial_of_another_code_is_one(self) -> None:
        """EMR says ValidationException where a role may not be passed."""
        assert "may not iam:PassRole;" in str(refused("ValidationException", PASSING))

    @pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"])
    def test_stale_credentials_are_told(self, code: str) -> None:
        """With where to say others."""
        error = refused(code, "The security token included in the request is expired")
        assert isinstance(error, UsageError)
        assert f"AWS does not take these credentials ({code}: The security token" in str(error)
        assert "AWS_PROFILE" in str(error)

    def test_throttling_is_told_with_how_often_it_was_tried(self) -> None:
        """As boto3 has tried again by itself."""
        error = refused("ThrottlingException", "Rate exceeded")
        assert isinstance(error, AccountError)
        assert str(error).startswith("emr-serverless:ListJobRuns: AWS throttles, 1 tries long (Rate exceeded)")

    def test_what_is_invalid_comes_in_aws_own_words(self) -> None:
        """In one line, with its code for whoever asks."""
        error = refused("ValidationException", "Worker size\nis not supported")
        assert isinstance(error, AccountError)
        assert error.code == "ValidationException"
        assert str(error) == "emr-serverless:ListJobRuns was refused: ValidationException: Worker size"

    def test_pages_are_refused_alike(self) -> None:
        """As a single call."""
        said = Said("list_steps", refused="AccessDeniedException", message="Denied")
        with scripted("emr", said) as client, pytest.raises(AccountError, match="may not elasticmapreduce:ListSteps;"):
            list(account.pages(client, "list_steps", ClusterId="j-1"))


class TestSilence:
    """Nobody to ask, or nobody who answers."""

    def test_without_credentials_it_says_where_they_are_looked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the whole chain of AWS."""
        client = account.client("emr-serverless", "eu-west-3")
        with pytest.raises(
            UsageError, match=r"emr-serverless:ListJobRuns: Unable to locate credentials: .*AWS_PROFILE"
        ):
            account.call(client, "list_job_runs", applicationId="00f")
        with pytest.raises(UsageError, match="Unable to locate credentials"):
            list(account.pages(client, "list_job_runs", applicationId="00f"))

    def test_a_profile_that_is_not_there_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where only the region is asked for."""
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(UsageError, match=r"profile \(nobody\) could not be found: .*AWS_PROFILE"):
            account.region()
        with pytest.raises(UsageError, match=r"emr in eu-west-3: .*profile \(nobody\)"):
            account.client("emr", "eu-west-3")

    def test_a_region_that_is_none_is_told(self) -> None:
        """Before anything is sent."""
        with pytest.raises(UsageError, match=r"--region: .*paris on the seine.* doesn't match"):
            account.client("emr", "paris on the seine")

    def test_a_host_that_does_not_answer_is_told(self) -> None:
        """With what was asked of it."""
        client = account.client("emr", "eu-west-3")

        def fail(**_: object) -> None:
            raise EndpointConnectionError(endpoint_url="https://elasticmapreduce")

        client.meta.events.register("before-send", fail)
        client.meta.events.register("before-sign", fail)
        with pytest.raises(AccountError, match="elasticmapreduce:ListSteps: AWS does not answer: Could not connect"):
            account.call(client, "list_steps", ClusterId="j-1")

    def test_no_credentials_are_no_silence(self) -> None:
        """Waiting would not help."""
        assert not isinstance(account._unanswered("AWS", NoCredentialsError()), AccountError)


class TestRegion:
    """Where the stack is looked for."""

    @pytest.mark.parametrize(
        ("given", "environment", "region"),
        [
            ("eu-north-1", {"AWS_REGION": "eu-west-1"}, "eu-north-1"),
            ("", {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
            ("", {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
            ("", {}, "eu-west-3"),
        ],
    )
    def test_the_narrowest_that_is_said_holds(
        self, given: str, environment: dict[str, str], region: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The setting, the environment, else the one of Verger."""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert account.region(given) == region

    def test_a_profiles_holds_as_for_aws_own_commands(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stack lies where `aws cloudformation deploy` has put it."""
        (tmp_path / "config").write_text("[default]\nregion = eu-central-1\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        assert account.region() == "eu-central-1"

    def test_clients_go_there_or_to_the_endpoint_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As tests and private endpoints need it."""
        assert (
            account.client("emr", "eu-west-3").meta.endpoint_url == "https://elasticmapreduce.eu-west-3.amazonaws.com"
        )
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert account.client("emr", "eu-west-3").meta.endpoint_url == "http://127.0.0.1:9"
