"""The check over a service's model finds what AWS would refuse."""

from typing import Any

import pytest

from tests.emr.service_model import faults

ROLE = "arn:aws:iam::123456789012:role/verger-stream"
SOUND: dict[str, Any] = {"applicationId": "00app", "clientToken": "t", "executionRoleArn": ROLE, "mode": "STREAMING"}


def test_a_sound_request_has_no_faults() -> None:
    """Neither botocore nor the model has anything against it."""
    assert faults("emr-serverless", "StartJobRun", SOUND) == []


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"mode": "NOPE"}, ".mode: 'NOPE' is none of BATCH, STREAMING"),
        ({"applicationId": "A!"}, ".applicationId: 'A!' does not match [0-9a-z]+"),
        ({"applicationId": "a" * 65}, ".applicationId: 65 is not from 1 to 64"),
        ({"executionTimeoutMinutes": 1_000_001}, ".executionTimeoutMinutes: 1000001 is not from 0 to 1000000"),
        ({"tags": {"!": "stream"}}, ".tags key !: '!' does not match [A-Za-z0-9 /_.:=+@-]+"),
        ({"jobDriver": {"sparkSubmit": {"entryPoint": ""}}}, ".jobDriver.sparkSubmit.entryPoint: 0 is not from 1 to"),
        ({"jobDriver": {"sparkSubmit": {}}}, 'Missing required parameter in jobDriver.sparkSubmit: "entryPoint"'),
        ({"retryPolicy": {"maxFailedAttemptsPerHour": "5"}}, "Invalid type for parameter retryPolicy.maxFailed"),
        ({"unheard": "of"}, 'Unknown parameter in input: "unheard"'),
    ],
)
def test_each_kind_of_fault_is_found(more: dict[str, Any], fault: str) -> None:
    """Enumerations, patterns, lengths, maximums, keys of maps; and what botocore finds by itself."""
    assert any(each.startswith(fault) for each in faults("emr-serverless", "StartJobRun", {**SOUND, **more}))


def test_patterns_that_java_writes_are_understood() -> None:
    """Characters beyond 16 bits are within, control characters are not."""
    step = {"Name": "verger 🌳", "HadoopJarStep": {"Jar": "command-runner.jar"}}
    assert faults("emr", "AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [step]}) == []
    (fault,) = faults("emr", "AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [{**step, "Name": "a\0b"}]})
    assert fault.startswith(".Steps[0].Name: ")
