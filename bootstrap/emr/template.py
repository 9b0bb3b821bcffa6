"""The CloudFormation templates, printed with other defaults for their parameters.

They are files of this package for people to read, so what is printed is the file itself: where defaults are changed,
these are, and no other byte.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from conf.errors import UsageError

if TYPE_CHECKING:
    from ruamel.yaml import Node

# In the order in which they are deployed; one of the two later ones is enough.
NAMES = ("base", "serverless", "cluster")
_TEMPLATES = files("bootstrap") / "templates"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class Parameter:
    """A parameter as a template declares it.

    Attributes
    ----------
    name : str
        Its name.
    declared : Mapping
        `Type`, `Description`, `AllowedPattern` and so on, as texts; `AllowedValues` as a list of texts.
    start, end : int
        Where its default stands in the text.
    """

    name: str
    declared: Mapping[str, Any]
    start: int
    end: int


def printed(name: str, parameters: Mapping[str, str]) -> str:
    """Return a template's text, with these values as the defaults of its parameters.

    Parameters
    ----------
    name
        One of `NAMES`.
    parameters
        Values by the parameters' names.

    Raises
    ------
    UsageError
        There is no such template or parameter, or the parameter does not take the value. What the template's `Rules`
        say of several parameters together, CloudFormation checks.
    """
    text = _text(name)
    known = {each.name: each for each in parameters_of(text)} if parameters else {}
    for given, value in parameters.items():
        if given not in known:
            raise UsageError(f"template {name} has no parameter {given!r}{_meant(given, known)}")
        _check(known[given], value)
    for each in sorted((known[given] for given in parameters), key=lambda each: each.start, reverse=True):
        text = f"{text[: each.start]}{_written(each, parameters[each.name])}{text[each.end :]}"
    return text


def parameters_of(text: str) -> list[Parameter]:
    """Return the parameters of a template's text, in its order; all of ours have defaults."""
    # Every command imports this module, few need a reader of YAML.
    from ruamel.yaml import YAML

    declared = _members(_members(YAML(pure=True).compose(text))["Parameters"])
    return [_parameter(name, _members(node)) for name, node in declared.items()]


def _parameter(name: str, members: Mapping[str, Node]) -> Parameter:
    default = members["Default"]
    plain = {key: _plain(node) for key, node in members.items()}
    return Parameter(name, plain, default.start_mark.index, default.end_mark.index)


def _text(name: str) -> str:
    if name not in NAMES:
        raise UsageError(f"there is no template {name!r}{_meant(name, NAMES)}: there are {', '.join(NAMES)}")
    return (_TEMPLATES / f"{name}.yaml").read_text("utf-8")


def _meant(name: str, known: Iterable[str]) -> str:
    """Return which name was probably meant, whatever its case."""
    of = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), of, n=1)
    return f" (did you mean {of[near[0]]}?)" if near else ""


def _check(parameter: Parameter, value: str) -> None:
    declared = parameter.declared
    if declared["Type"] == "Number" and not _NUMBER.fullmatch(value):
        _refuse(parameter, value, "is not a number")
    allowed = declared.get("AllowedValues")
    if allowed and value not in allowed:
        _refuse(parameter, value, f"is none of {', '.join(allowed)}")
    pattern = declared.get("AllowedPattern")
    if pattern and not re.fullmatch(pattern, value):
        _refuse(parameter, value, f"does not match {pattern}")
    if "MinValue" in declared and float(value) < float(declared["MinValue"]):
        _refuse(parameter, value, f"is below {declared['MinValue']}")
    if "MaxValue" in declared and float(value) > float(declared["MaxValue"]):
        _refuse(parameter, value, f"is over {declared['MaxValue']}")


def _refuse(parameter: Parameter, value: str, why: str) -> None:
    raise UsageError(f"parameter {parameter.name}: {value!r} {why} ({parameter.declared['Description']})")


def _written(parameter: Parameter, value: str) -> str:
    # A text of JSON is one of YAML, and stays a text where it looks like a number or a truth value.
    return value if parameter.declared["Type"] == "Number" else json.dumps(value)


def _members(node: Node) -> dict[str, Node]:
    return {key.value: value for key, value in node.value}


def _plain(node: Node) -> Any:
    return [_plain(each) for each in node.value] if isinstance(node.value, list) else node.value
