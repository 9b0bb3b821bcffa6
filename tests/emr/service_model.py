"""A request held against a service's model: what botocore checks before it sends, and what only the service would."""

import re
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.validate import ParamValidator


def complaints(service: str, operation: str, request: Any) -> list[str]:
    """Return what is wrong with a request; nothing where the service would read it.

    Parameters
    ----------
    service, operation
        As botocore names them: `emr-serverless`, `StartJobRun`.
    request
        Its parameters.
    """
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    return ([report.generate_report()] if report.has_errors() else []) + list(_beyond(shape, request, operation))


def _beyond(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Yield what botocore leaves to the service: enumerations, patterns, greatest lengths and values."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, each in value.items():
            if name in shape.members:
                yield from _beyond(shape.members[name], each, f"{path}.{name}")
    elif shape.type_name == "list" and isinstance(value, list):
        yield from _outside(shape, len(value), f"{path}, its length")
        for each in value:
            yield from _beyond(shape.member, each, f"{path}[]")
    elif shape.type_name == "string" and isinstance(value, str):
        yield from _outside(shape, len(value), f"{path}, its length")
        if shape.enum and value not in shape.enum:
            yield f"{path} is {value!r}, none of {', '.join(shape.enum)}"
        pattern = shape.metadata.get("pattern", "")
        # With halves of characters, as Java has them: EMR's word for any text.
        if pattern and "\\uD800" not in pattern and not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{path} is {value!r}, which does not match {pattern}"
    elif shape.type_name in ("integer", "long") and isinstance(value, int):
        yield from _outside(shape, value, path)


def _outside(shape: Any, size: int, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min", size), shape.metadata.get("max", size)
    if not least <= size <= most:
        yield f"{path} is {size}, not within {least} and {most}"
