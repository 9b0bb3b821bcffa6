"""A request held against the service's own model: what botocore checks before it sends, and what it leaves to AWS.

botocore checks names, types, what is required, and least values. AWS refuses also what is over a maximum, no member of
an enumeration, or no match of a pattern; all of these stand in the model.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import OperationModel, Shape
from botocore.session import get_session
from botocore.validate import ParamValidator

# Java spells the characters beyond 16 bits as pairs, which Python's expressions do not know.
_PAIRS = re.compile(r"\\u[dD]800\\u[dD][cC]00-\\u[dD][bB][fF][fF]\\u[dD][fF][fF][fF]")


def faults(service: str, operation: str, params: dict[str, Any]) -> list[str]:
    """Return what AWS would refuse of a request; nothing where the model has nothing against it.

    Parameters
    ----------
    service
        As boto3 names it.
    operation
        As the model names it: `StartJobRun`.
    params
        As boto3 takes them.
    """
    shape = _operation(service, operation).input_shape
    if shape is None:
        return ["the operation takes nothing"] if params else []
    report = ParamValidator().validate(params, shape)
    own = report.generate_report().splitlines() if report.has_errors() else []
    return [*own, *_beyond(shape, params, "")]


@cache
def _operation(service: str, operation: str) -> OperationModel:
    return get_session().get_service_model(service).operation_model(operation)


def _beyond(shape: Any, value: Any, place: str) -> Iterator[str]:
    """Yield what botocore leaves to AWS."""
    yield from _bounds(shape, value, place)
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, each in value.items():
            if name in shape.members:
                yield from _beyond(shape.members[name], each, f"{place}.{name}")
    elif shape.type_name == "list" and isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _beyond(shape.member, each, f"{place}[{number}]")
    elif shape.type_name == "map" and isinstance(value, dict):
        for name, each in value.items():
            yield from _beyond(shape.key, name, f"{place} key {name}")
            yield from _beyond(shape.value, each, f"{place}.{name}")


def _bounds(shape: Shape, value: Any, place: str) -> Iterator[str]:
    told = shape.metadata
    measure = len(value) if isinstance(value, str | list | tuple | dict) else value
    counted = isinstance(measure, int | float) and not isinstance(measure, bool)
    if counted and not told.get("min", measure) <= measure <= told.get("max", measure):
        yield f"{place}: {measure} is not from {told.get('min', '')} to {told.get('max', '')}"
    if isinstance(value, str) and told.get("enum") and value not in told["enum"]:
        yield f"{place}: {value!r} is none of {', '.join(told['enum'])}"
    if isinstance(value, str) and "pattern" in told and not _pattern(told["pattern"]).fullmatch(value):
        yield f"{place}: {value!r} does not match {told['pattern']}"


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(_PAIRS.sub(lambda _: "\\U00010000-\\U0010FFFF", text))
