"""What the user adds to Spark's settings."""

import pytest
from pyspark.sql import SparkSession

from conf.errors import UsageError
from conf.session import set_sql


def test_a_sql_setting_takes_effect(spark: SparkSession) -> None:
    """It holds for the session from then on."""
    before = spark.conf.get("spark.sql.shuffle.partitions")
    set_sql(spark, "spark.sql.shuffle.partitions", "3")
    assert spark.conf.get("spark.sql.shuffle.partitions") == "3"
    set_sql(spark, "spark.sql.shuffle.partitions", str(before))


@pytest.mark.parametrize("setting", ["spark.sql.shuffle.partitions=abc", "spark.sql.extensions=x"])
def test_a_sql_setting_that_spark_refuses_is_one_line(spark: SparkSession, setting: str) -> None:
    """The message names the setting and says what Spark said."""
    key, value = setting.split("=")
    with pytest.raises(UsageError, match=f"spark_conf: {setting}: .*{key}") as raised:
        set_sql(spark, key, value)
    assert "\n" not in str(raised.value)
