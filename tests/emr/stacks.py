"""A template as the rules see it: its text, what it says, and what its texts become once they are filled in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cfnlint.decode import cfn_yaml

from bootstrap.emr.template import printed
from tests.emr.deployed import APPLICATION, CLUSTER, OUTPUTS

ROLE = OUTPUTS["RefitRole"]
# What stands in the place of what only a deployed stack knows.
_DEPLOYED = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-3",
    "AWS::StackName": "verger",
    "Application": APPLICATION,
    "Cluster": CLUSTER,
    **{name: OUTPUTS[name] for name in ("Lake", "Landing", "Queue", "Package")},
    "Role": ROLE,
}


@dataclass(frozen=True)
class Template:
    """One template.

    Attributes
    ----------
    name : str
        As `verger emr template` knows it.
    text : str
        What would be deployed.
    body : Any
        What it says, tags as functions in their long form; its parts know their lines.
    """

    name: str
    text: str
    body: Any

    def of_type(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Yield the logical names and properties of the resources of a type."""
        for name, resource in self.body["Resources"].items():
            if resource["Type"] == kind:
                yield name, resource.get("Properties", {})

    def filled(self, value: Any) -> str:
        """Return what a text or an `Fn::Sub` becomes, with parameters at their defaults."""
        if isinstance(value, str):
            return value
        text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
        defaults = {name: str(each["Default"]) for name, each in self.body["Parameters"].items()}
        known = defaults | _DEPLOYED
        return re.sub(r"\$\{([^}]+)\}", lambda found: known[found[1]], text)


def template(name: str) -> Template:
    """Return a template as it is printed."""
    return read(name, printed(name, {}))


def broken(name: str, old: str, new: str) -> Template:
    """Return a template with its first `old` replaced."""
    text = printed(name, {})
    assert old in text, f"template {name} has no {old!r} to break"
    return read(name, text.replace(old, new, 1))


def read(name: str, text: str) -> Template:
    """Return the template that a text is."""
    return Template(name, text, cfn_yaml.loads(text))


def nodes(value: Any) -> Iterator[Any]:
    """Yield a value and everything within it."""
    yield value
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in within:
        yield from nodes(each)
