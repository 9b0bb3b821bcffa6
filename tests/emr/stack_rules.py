"""Rules for what makes three templates one thing that CloudFormation takes."""

import re
from collections.abc import Iterable, Iterator

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent

from tests.emr.stacks import Template, nodes

_MOST_BYTES = 51_200
_RELEASE = re.compile(r"emr-spark-8\.[0-9]+\.[0-9]+")


def releases_are_of_8(template: Template) -> Iterator[str]:
    """Verger's Spark and Delta are those of EMR's release 8, whose labels begin with emr-spark."""
    for kind in ("AWS::EMRServerless::Application", "AWS::EMR::Cluster"):
        for name, each in template.of_type(kind):
            declared = template.body["Parameters"][each["ReleaseLabel"]["Ref"]]
            if not _RELEASE.fullmatch(declared["Default"]):
                yield f"{name}: {declared['Default']} is no release of EMR Spark 8"
            if re.fullmatch(declared["AllowedPattern"], "emr-7.12.0"):
                yield f"{name}: any release is allowed"


def templates_are_plain(template: Template) -> Iterator[str]:
    """CloudFormation reads no aliases of YAML, and takes at most 51,200 bytes without a bucket to fetch them from."""
    if any(isinstance(each, AliasEvent) for each in YAML(pure=True).parse(template.text)):
        yield "has aliases of YAML"
    if len(template.text.encode()) > _MOST_BYTES:
        yield f"has {len(template.text.encode()):,} bytes, over {_MOST_BYTES:,}"


def exports(base: Template) -> set[str]:
    """Return what a base gives to others, by the names after that of the stack."""
    names = [each["Export"]["Name"]["Fn::Sub"] for each in base.body["Outputs"].values() if "Export" in each]
    return {each.removeprefix("${AWS::StackName}-") for each in names}


def imports(templates: Iterable[Template]) -> set[str]:
    """Return what templates take from a base."""
    return {
        each["Fn::ImportValue"]["Fn::Sub"].removeprefix("${Base}-")
        for template in templates
        for each in nodes(template.body)
        if isinstance(each, dict) and "Fn::ImportValue" in each
    }
