"""What policies allow, as IAM's documentation has it: nothing but what a statement allows and none denies.

Only what the roles of the templates use: identity policies and trust policies of one account. An operator or an element
that is not known here is an error, never a silent yes or no. moto's own evaluation takes a condition that fails for a
denial of everything, and knows neither `s3:prefix` nor tags; a wildcard of IAM is none of its own either (a dot is any
character).

References: "Policy evaluation logic" and "IAM JSON policy elements: Condition operators" of the IAM User Guide.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Demand:
    """One action that somebody wants to take.

    Attributes
    ----------
    action : str
        Such as `s3:GetObject`.
    resource : str
        ARN; `*` where the action knows none.
    context : mapping
        Values of condition keys, as far as they are there.
    """

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)


def allowed(documents: Iterable[Document], demand: Demand) -> bool:
    """Whether policies allow something: a statement does, and none denies it."""
    effects = {each["Effect"] for document in documents for each in statements(document) if _applies(each, demand)}
    return effects == {"Allow"}


def statements(document: Document) -> list[Document]:
    """Return the statements of a policy."""
    return _listed(document["Statement"])


def values(statement: Document, element: str) -> list[str]:
    """Return the values of an element that may be one text or several; none where it is not there."""
    return _listed(statement.get(element, []))


def principals(statement: Document) -> list[str]:
    """Return whom a statement of a trust policy names: services, and accounts or roles."""
    return [each for kind in statement.get("Principal", {}).values() for each in _listed(kind)]


def _applies(statement: Document, demand: Demand) -> bool:
    unknown = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Principal", "Condition"}
    if unknown:
        raise ValueError(f"elements that are not evaluated here: {sorted(unknown)}")
    return (
        any(_like(each.lower(), demand.action.lower()) for each in values(statement, "Action"))
        # A trust policy names no resource: it is of its role.
        and ("Resource" not in statement or any(_like(each, demand.resource) for each in values(statement, "Resource")))
        and all(
            _holds(operator, key, _listed(expected), demand.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _holds(operator: str, key: str, expected: list[str], context: Mapping[str, str]) -> bool:
    found = context.get(key)
    match operator:
        case "StringEquals":
            return found in expected
        case "StringEqualsIfExists":
            return found is None or found in expected
        case "StringLike" | "ArnLike" | "ArnEquals":
            return found is not None and any(_like(each, found) for each in expected)
        case "Bool":
            return found is not None and found.lower() in expected
    raise ValueError(f"a condition that is not evaluated here: {operator} of {key}")


def _like(pattern: str, text: str) -> bool:
    """Whether a text matches a pattern of IAM: `*` is any characters, `?` one, everything else itself."""
    parts = re.split(r"([*?])", pattern)
    spelled = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in parts)
    return re.fullmatch(spelled, text, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
