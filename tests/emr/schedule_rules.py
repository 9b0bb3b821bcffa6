"""Rules for what the Scheduler is to call: CloudFormation takes any text for it, and fails in the night."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.emr.service_model import faults
from tests.emr.stacks import Template, nodes

# botocore's names of what a universal target calls; whether its parameters begin with a small letter.
_CALLED = {
    "emrserverless:startJobRun": ("emr-serverless", "StartJobRun", True),
    "emr:addJobFlowSteps": ("emr", "AddJobFlowSteps", False),
}
# One for each time that the schedule is due, whatever is tried again; a scheduled time has a colon, which no token may.
_TOKEN = "<aws.scheduler.execution-id>"
_FIELD = r"[^ ()]+"
_EXPRESSION = re.compile(rf"rate\([1-9][0-9]* (minute|hour|day)s?\)|cron\({_FIELD}( {_FIELD}){{5}}\)")
_JOBS_OWN = re.compile(r'"(MaxAttempts|MaxFailedAttemptsPerHour)": ([0-9]+)')
_MOST_ATTEMPTS = 10


def inputs_are_what_the_service_reads(template: Template) -> Iterator[str]:
    """Input is JSON with PascalCase keys, and a request that the service's model takes."""
    for name, schedule in template.of_type("AWS::Scheduler::Schedule"):
        try:
            said = json.loads(template.filled(schedule["Target"]["Input"]))
        except json.JSONDecodeError as error:
            yield f"{name}: the input is no JSON: {error}"
            continue
        # The names of tags are one's own.
        named = {**said, "Tags": None}
        for key in sorted({key for each in nodes(named) if isinstance(each, dict) for key in each}):
            if not re.fullmatch("[A-Z][A-Za-z0-9]*", key):
                yield f"{name}: the input's key {key} is not PascalCase"
        called = template.filled(schedule["Target"]["Arn"]).partition(":::aws-sdk:")[2]
        if called not in _CALLED:
            yield f"{name}: calls {called or 'nothing'}, which is none of {', '.join(_CALLED)}"
            continue
        service, operation, small = _CALLED[called]
        yield from (f"{name}: {each}" for each in faults(service, operation, as_request(said, small)))


def scheduled(template: Template, name: str) -> Any:
    """Return what a schedule of a template says when it calls."""
    schedule = dict(template.of_type("AWS::Scheduler::Schedule"))[name]
    return json.loads(template.filled(schedule["Target"]["Input"]))


def as_request(said: Any, small: bool = True) -> Any:
    """Return what the service gets of what a schedule says; with `small`, by names that begin with a small letter."""
    if isinstance(said, dict):
        return {key[0].lower() + key[1:] if small else key: as_request(each, small) for key, each in said.items()}
    if isinstance(said, list):
        return [as_request(each, small) for each in said]
    return "d1a4c1c3-6f5e-4a4c-9d7b-0123456789ab" if said == _TOKEN else said


def jobs_have_a_token(template: Template) -> Iterator[str]:
    """One execution of the schedule starts one job."""
    for name, schedule in template.of_type("AWS::Scheduler::Schedule"):
        text = template.filled(schedule["Target"]["Input"])
        if "startJobRun" in template.filled(schedule["Target"]["Arn"]) and f'"ClientToken": "{_TOKEN}"' not in text:
            yield f"{name}: ClientToken is not {_TOKEN}"


def retries_are_bounded(template: Template) -> Iterator[str]:
    """Retries end within hours, and what failed is kept; a job's own are as many as EMR allows."""
    for name, schedule in template.of_type("AWS::Scheduler::Schedule"):
        target = schedule["Target"]
        policy = target.get("RetryPolicy", {})
        if not 0 <= policy.get("MaximumRetryAttempts", 185) <= _MOST_ATTEMPTS:
            yield f"{name}: RetryPolicy does not bound the attempts"
        if not 60 <= policy.get("MaximumEventAgeInSeconds", 86400) <= 6 * 3600:
            yield f"{name}: RetryPolicy does not bound the age"
        if "DeadLetterConfig" not in target:
            yield f"{name}: what could not be called is not kept (DeadLetterConfig)"
        for key, value in _JOBS_OWN.findall(template.filled(target["Input"])):
            if not 1 <= int(value) <= _MOST_ATTEMPTS:
                yield f"{name}: {key} is {value}, not within 1 and {_MOST_ATTEMPTS}"


def expressions_are_schedules(template: Template) -> Iterator[str]:
    """Cron has six fields, and one of its two days is `?`."""
    for name, schedule in template.of_type("AWS::Scheduler::Schedule"):
        said = schedule["ScheduleExpression"]
        expression = template.body["Parameters"][said["Ref"]]["Default"] if isinstance(said, dict) else said
        if not expression and isinstance(said, dict):
            # A schedule that is not made unless somebody says when.
            continue
        if not _EXPRESSION.fullmatch(expression):
            yield f"{name}: {expression!r} is no schedule"
        elif expression.startswith("cron") and "?" not in expression:
            yield f"{name}: {expression!r} names a day of the month and one of the week; one has to be ?"


def steps_that_fail_let_others_run(template: Template) -> Iterator[str]:
    """EMR refuses any other ActionOnFailure where steps run beside one another."""
    if all(each.get("StepConcurrencyLevel", 1) == 1 for _, each in template.of_type("AWS::EMR::Cluster")):
        return
    own = [step for _, each in template.of_type("AWS::EMR::Cluster") for step in each.get("Steps", ())]
    own += [each for _, each in template.of_type("AWS::EMR::Step")]
    said = [each["ActionOnFailure"] for each in own]
    for _, schedule in template.of_type("AWS::Scheduler::Schedule"):
        said += re.findall(r'"ActionOnFailure": "(\w+)"', template.filled(schedule["Target"]["Input"]))
    yield from (f"ActionOnFailure is {each}, where steps run together" for each in said if each != "CONTINUE")
