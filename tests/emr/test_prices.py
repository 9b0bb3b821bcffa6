"""The file of prices: what it must say, and how it is refused."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bootstrap.emr import account
from bootstrap.emr.billing import prices
from conf.errors import UsageError
from tests.emr import book

REGIONS = (account.REGION, "us-east-1")


@pytest.mark.parametrize("region", REGIONS)
def test_the_own_file_has_every_price_with_its_source_and_date(region: str) -> None:
    """A price is found, and its source names a place, or it says how it was inferred."""
    found = prices.read(region)
    assert list(found.prices) == list(prices.UNITS)
    for name, each in found.prices.items():
        assert each.usd > 0, name
        assert each.source, name
        assert date.fromisoformat(each.date) >= date(2026, 1, 1), name
        assert each.inferred or ":" in each.source, name


@pytest.mark.parametrize("region", REGIONS)
def test_graviton_and_spot_cost_less(region: str) -> None:
    """Prices typed into the wrong row would show here."""
    found = {name: each.usd for name, each in prices.read(region).prices.items()}
    for name in ("primary", "node", "vcpu", "memory"):
        assert found[f"{name}.arm64"] < found[f"{name}.x86_64"]
    for each in prices.ARCHITECTURES:
        assert found[f"spot.{each}"] < found[f"node.{each}"] == pytest.approx(2 * found[f"primary.{each}"])


def test_the_own_files_measurements_say_how_they_were_made() -> None:
    """By a command of the benches, on a day, on a machine; and each is one."""
    measured = prices.read(account.REGION).measured
    assert measured.command == "python -m tests.bench.requests"
    assert date.fromisoformat(measured.date)
    assert "cores" in measured.machine
    assert measured.batch_tier1 > measured.file_tier1 > 0
    assert measured.refit_cpu_seconds_per_million < measured.full_cpu_seconds_per_million


def test_a_price_is_per_its_quantity_after_what_is_free() -> None:
    """Per 1,000, per million: the quantity is of the unit itself."""
    price = prices.Price("sqs", 0.4, 1e6, "requests", 1e6, "here", "2026-11-01", "")
    assert price.of(0.5e6) == 0
    assert price.of(1e6) == 0
    assert price.of(3e6) == pytest.approx(0.8)


def test_a_copy_is_read(tmp_path: Path) -> None:
    """Other prices, in another unit's number; a price of nothing is one."""
    path = book.file(tmp_path, prices={"s3_tier1": {"usd": 5, "per": 1000}, "kms_key": {"usd": 0, "inferred": "so"}})
    found = prices.read(book.REGION, path)
    assert found.prices["s3_tier1"].of(3000) == 15
    assert found.prices["kms_key"].inferred == "so"
    assert (found.file, found.region, found.dates) == (str(path), book.REGION, ("2026-11-01", "2026-11-01"))


@pytest.mark.parametrize(
    ("differing", "named"),
    [
        ({"without": "ebs"}, "regions.eu-west-3.ebs is missing"),
        ({"without": "vcpu.arm64"}, "regions.eu-west-3.vcpu.arm64 is missing"),
        ({"without": "kms_share"}, "assumed.kms_share is missing"),
        ({"without": "file_tier1"}, "measured.file_tier1 is missing"),
        ({"prices": {"ebs": {"usd": -1}}}, "ebs.usd must be a number of at least 0, not -1"),
        ({"prices": {"ebs": {"usd": "nan"}}}, "ebs.usd must be a number of at least 0, not 'nan'"),
        ({"prices": {"ebs": {"usd": True}}}, "ebs.usd must be a number of at least 0, not True"),
        ({"prices": {"ebs": {"per": 0}}}, "ebs.per must be a number above 0, not 0"),
        ({"prices": {"ebs": {"unit": "hours"}}}, "ebs.unit must be \"GB months\", not 'hours'"),
        ({"prices": {"ebs": {"source": ""}}}, "ebs.source must say where the price was found"),
        ({"prices": {"ebs": {"date": "soon"}}}, "ebs.date must be a day, as \"2026-11-21\", not 'soon'"),
        ({"prices": {"ebs": {"price": 3}}}, "ebs has no price; it takes usd,"),
        ({"assumed": {"stream_utilisation": 0}}, "assumed.stream_utilisation must be a number above 0, not 0"),
        ({"assumed": {"job_utilisation": 1.5}}, "assumed.job_utilisation is a share: it must be at most 1, not 1.5"),
        ({"assumed": {"zones": "two"}}, "assumed.zones must be a number of at least 0, not 'two'"),
        ({"measured": {"command": 3}}, "measured.command must be a text, not 3"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(tmp_path: Path, differing: dict[str, Any], named: str) -> None:
    """One line: which file, which entry, and what it must be."""
    path = book.file(tmp_path, **differing)
    with pytest.raises(UsageError) as refused:
        prices.read(book.REGION, path)
    assert named in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_region_without_prices_is_refused(tmp_path: Path) -> None:
    """The message says which there are, and the mend."""
    with pytest.raises(UsageError, match="no prices of mars-1, but of eu-west-3: take one of these with --region, or"):
        prices.read("mars-1", book.file(tmp_path))


def test_another_currency_is_refused(tmp_path: Path) -> None:
    """Sums of two would be nonsense."""
    path = tmp_path / "prices.toml"
    path.write_text(book.text().replace('"USD"', '"EUR"'), "utf-8")
    with pytest.raises(UsageError, match=r"regions.eu-west-3.currency must be \"USD\", not 'EUR'"):
        prices.read(book.REGION, path)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"[regions", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b"", r"has no \[regions.NAME\]"),
        (b"regions = 3", r"has no \[regions.NAME\]"),
        (b"[regions.eu-west-3]\ncurrency = 'USD'\nebs = 3", "primary.x86_64 is missing"),
        (book.text().replace("[assumed]", "[supposed]").encode(), r"has no \[assumed\]"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, named: str) -> None:
    """Whatever it holds."""
    path = tmp_path / "prices.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=named):
        prices.read(book.REGION, path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The flag is named."""
    with pytest.raises(UsageError, match=r"--prices .*none.toml: No such file"):
        prices.read(book.REGION, tmp_path / "none.toml")


def test_the_region_is_the_flags_then_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_REGION goes before AWS_DEFAULT_REGION; without any it is Verger's own."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert account.region("") == account.REGION
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert account.region("") == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert account.region("") == "us-west-2"
    assert account.region("eu-north-1") == "eu-north-1"
