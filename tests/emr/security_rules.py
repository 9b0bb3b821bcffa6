"""Rules for what is closed, encrypted and narrow."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.emr.stacks import Template, nodes

_TLS_ONLY = {"Bool": {"aws:SecureTransport": "false"}}
_PUBLIC = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
# The whole of what a security configuration of ours says, by EMR's guide; a key that is misspelt is ignored by nobody.
_SECURITY: Mapping[str, Any] = {
    "EncryptionConfiguration": {
        "EnableAtRestEncryption": True,
        "AtRestEncryptionConfiguration": {
            "LocalDiskEncryptionConfiguration": {
                "EncryptionKeyProviderType": "AwsKms",
                "AwsKmsKey": ...,
                "EnableEbsEncryption": True,
            }
        },
        "EnableInTransitEncryption": True,
        "InTransitEncryptionConfiguration": {"TLSCertificateConfiguration": {"CertificateProviderType": "EMR"}},
    },
    "InstanceMetadataServiceConfiguration": {
        "MinimumInstanceMetadataServiceVersion": 2,
        "HttpPutResponseHopLimit": 1,
    },
    "AuthorizationConfiguration": {"IAMConfiguration": {"EnableApplicationScopedIAMRole": True}},
}


def buckets_are_closed(template: Template) -> Iterator[str]:
    """Encrypted by a key, without a public door, by TLS alone, owned whole, and left where a stack goes."""
    for name, bucket in template.of_type("AWS::S3::Bucket"):
        rules = bucket.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [{}])
        if rules[0].get("ServerSideEncryptionByDefault", {}).get("SSEAlgorithm") != "aws:kms":
            yield f"{name}: is not encrypted by a key"
        if rules[0].get("BucketKeyEnabled") is not True:
            yield f"{name}: asks KMS for each object (BucketKeyEnabled)"
        if any(bucket.get("PublicAccessBlockConfiguration", {}).get(each) is not True for each in _PUBLIC):
            yield f"{name}: can be made public"
        if bucket.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
            yield f"{name}: may hold objects of others"
        own = [each for _, each in template.of_type("AWS::S3::BucketPolicy") if each["Bucket"] == {"Ref": name}]
        if not _by_tls_alone(own, "s3:*", [{"Fn::GetAtt": [name, "Arn"]}, {"Fn::Sub": f"${{{name}.Arn}}/*"}]):
            yield f"{name}: can be reached without TLS"
        resource = template.body["Resources"][name]
        # A creation that fails takes an empty one with it: its name must be free for the next.
        if (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")) != ("RetainExceptOnCreate", "Retain"):
            yield f"{name}: goes with its stack"


def queues_are_closed(template: Template) -> Iterator[str]:
    """Encrypted, and by TLS alone."""
    for name, queue in template.of_type("AWS::SQS::Queue"):
        if queue.get("SqsManagedSseEnabled") is not True:
            yield f"{name}: is not encrypted"
        own = [each for _, each in template.of_type("AWS::SQS::QueuePolicy") if {"Ref": name} in each["Queues"]]
        if not _by_tls_alone(own, "sqs:*", {"Fn::GetAtt": [name, "Arn"]}):
            yield f"{name}: can be reached without TLS"


def _by_tls_alone(policies: Iterable[Any], action: str, resource: Any) -> bool:
    refusal = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": resource, "Condition": _TLS_ONLY}
    return any(each == {**each, **refusal} for policy in policies for each in policy["PolicyDocument"]["Statement"])


def services_that_write_name_their_source(template: Template) -> Iterator[str]:
    """S3 and CloudWatch act for any account: a policy names whose bucket or alarm it means."""
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for name, policy in template.of_type(kind):
            for each in policy["PolicyDocument"]["Statement"]:
                service = each["Principal"].get("Service") if isinstance(each["Principal"], dict) else None
                keys = {key for test in each.get("Condition", {}).values() for key in test}
                # EventBridge's guide forbids conditions in a topic's policy.
                if service not in (None, "events.amazonaws.com") and not {"aws:SourceArn", "aws:SourceAccount"} <= keys:
                    yield f"{name}: {service} may act for others"


def nobody_may_come_in(template: Template) -> Iterator[str]:
    """No rule lets an address in, groups alone; no group has EC2's own rule that lets everything out."""
    rules = [(name, each) for name, each in template.of_type("AWS::EC2::SecurityGroupIngress")]
    for name, group in template.of_type("AWS::EC2::SecurityGroup"):
        rules += [(name, each) for each in group.get("SecurityGroupIngress", ())]
        if not group.get("SecurityGroupEgress"):
            yield f"{name}: lets everything out"
    for name, rule in rules:
        if "SourceSecurityGroupId" not in rule:
            yield f"{name}: lets addresses in"


def there_is_no_way_to_the_internet(template: Template) -> Iterator[str]:
    """No gateway, no public address, no key to log in with."""
    for kind in ("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::EgressOnlyInternetGateway"):
        yield from (f"{name}: is a way to the internet" for name, _ in template.of_type(kind))
    for each in nodes(template.body["Resources"]):
        if isinstance(each, dict):
            yield from (f"{key} is set" for key in ("MapPublicIpOnLaunch", "Ec2KeyName") if key in each)


def wildcards_have_a_reason(template: Template) -> Iterator[str]:
    """Where a statement allows more than one thing by a star, a comment beside it says why it cannot be narrower.

    The objects under a bucket or a prefix are no such star.
    """
    lines = template.text.splitlines()
    for statement in nodes(template.body["Resources"]):
        if isinstance(statement, dict) and statement.get("Effect") == "Allow" and "Resource" in statement:
            first = min(_line(each, statement) for each in nodes(statement["Resource"]))
            for resource in nodes(statement["Resource"]):
                # Counted from 0; the comment stands above `Resource`, which may have a line of its own, or beside it.
                beside = lines[max(first - 2, 0) : _line(resource, statement) + 1]
                if isinstance(resource, str) and _wide(resource) and not any("#" in line for line in beside):
                    yield f"line {_line(resource, statement) + 1}: {resource} without a reason"


def _line(node: Any, within: Any) -> int:
    mark = getattr(node, "start_mark", None)
    return int(mark.line if mark else within.end_mark.line)


def _wide(resources: str) -> bool:
    # One, or several that are split at their blanks.
    return any("*" in (each.removesuffix("/*") if _of_s3(each) else each) for each in resources.split())


def _of_s3(resource: str) -> bool:
    return ":s3:::" in resource or resource.startswith("${")


def security_configurations_say_what_they_mean(template: Template) -> Iterator[str]:
    """EMR takes one JSON for it, which no schema describes: ours has these keys and values, and no others."""
    for name, each in template.of_type("AWS::EMR::SecurityConfiguration"):
        yield from (f"{name}: {found}" for found in _differences(_SECURITY, each["SecurityConfiguration"]))


def _differences(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    if not isinstance(expected, Mapping):
        if expected is not ... and found != expected:
            yield f"{path} is {found}, not {expected}"
        return
    for key in sorted({*expected, *found}):
        if key not in expected or key not in found:
            yield f"{path}.{key} is {'unknown' if key not in expected else 'missing'}"
        else:
            yield from _differences(expected[key], found[key], f"{path}.{key}")
