"""Backbones compared where landing and lake lie in buckets."""

from bootstrap import orchard
from bootstrap.comparison import compare
from conf.lake import create_lake
from conf.settings import Settings
from streaming.backbones.shelf import Compiled, save
from tests.conftest import TINY
from tests.storage.cloud import Cloud
from tests.unit.pictures import encoded


def test_landing_and_lake_may_lie_in_buckets(aws: Cloud, embedded: Compiled) -> None:
    """The compiled backbone is fetched for the length of the comparison; labels are folders as anywhere."""
    bucket = aws.bucket()
    varieties = list(orchard.VARIETIES)[:2]
    aws.put(
        bucket,
        {
            f"in/{variety}/{seed}.png": encoded(orchard.draw(variety, seed=seed, side=64), "PNG")
            for variety in varieties
            for seed in range(4)
        },
    )
    lake = create_lake(f"s3://{bucket}/lake")
    save(embedded, lake.backbones)
    (found,) = compare(Settings(landing=f"s3://{bucket}/in", lake=str(lake.root), cores=2), [TINY], 6)
    assert (found.pictures, found.labels, found.rejections) == (6, 2, {})
    assert found.purity is not None
