"""IAM's rules, as its documentation has them."""

import pytest

from tests.emr.policies import Demand, allowed

BUCKET = "arn:aws:s3:::verger.lake"
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{BUCKET}/lake/*"}
LIST = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": BUCKET}


@pytest.mark.parametrize(
    ("statement", "demand", "verdict"),
    [
        (READ, Demand("s3:GetObject", f"{BUCKET}/lake/a/b"), True),
        (READ, Demand("S3:getobject", f"{BUCKET}/lake/a"), True),
        (READ, Demand("s3:GetObjectVersion", f"{BUCKET}/lake/a"), False),
        (READ, Demand("s3:GetObject", f"{BUCKET}/Lake/a"), False),
        (READ, Demand("s3:GetObject", "arn:aws:s3:::verger-lake/lake/a"), False),
        (READ | {"Action": "s3:Get*"}, Demand("s3:GetObjectVersion", f"{BUCKET}/lake/a"), True),
        (READ | {"Resource": f"{BUCKET}/lake/?"}, Demand("s3:GetObject", f"{BUCKET}/lake/ab"), False),
        (READ | {"Effect": "Deny"}, Demand("s3:GetObject", f"{BUCKET}/lake/a"), False),
        (
            LIST | {"Condition": {"StringLike": {"s3:prefix": "lake/*"}}},
            Demand("s3:ListBucket", BUCKET, {"s3:prefix": "lake/a"}), True,
        ),
        (
            LIST | {"Condition": {"StringLike": {"s3:prefix": ["lake/*", "packages/*"]}}},
            Demand("s3:ListBucket", BUCKET, {"s3:prefix": "logs/"}), False,
        ),
        (LIST | {"Condition": {"StringLike": {"s3:prefix": "*"}}}, Demand("s3:ListBucket", BUCKET), False),
        (
            LIST | {"Condition": {"StringEquals": {"s3:prefix": "a*"}}},
            Demand("s3:ListBucket", BUCKET, {"s3:prefix": "ab"}), False,
        ),
        (LIST | {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, Demand("s3:ListBucket", BUCKET), False),
    ],
)  # fmt: skip
def test_one_statement(statement: dict[str, object], demand: Demand, verdict: bool) -> None:
    """Actions in any case, resources in their own; wildcards; a condition needs its key."""
    assert allowed([{"Statement": statement}], demand) is verdict


def test_what_one_policy_denies_another_cannot_allow() -> None:
    """An explicit denial wins; nothing said is a denial, too."""
    demand = Demand("s3:GetObject", f"{BUCKET}/lake/a")
    assert allowed([{"Statement": [READ]}, {"Statement": []}], demand)
    assert not allowed([{"Statement": [READ]}, {"Statement": [READ | {"Effect": "Deny"}]}], demand)
    assert not allowed([], demand)


@pytest.mark.parametrize(
    "more", [{"NotAction": "s3:*"}, {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]
)  # fmt: skip
def test_what_is_not_known_is_an_error(more: dict[str, object]) -> None:
    """Neither a yes nor a no by mistake."""
    with pytest.raises(ValueError, match="not evaluated here"):
        allowed([{"Statement": READ | more}], Demand("s3:GetObject", f"{BUCKET}/lake/a"))
