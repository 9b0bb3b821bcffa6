from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import PCAModel, StandardScalerModel
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession

from batch import mllib
from batch.algebra.vectors import lists
from batch.model import Model, Projection
from conf.errors import StorageError, UsageError
from conf.uris import uri_of


def made(width: int, k: int) -> Model:
    """Return a model of columns of which the second is constant."""
    rng = np.random.default_rng(width)
    axes, _ = np.linalg.qr(rng.normal(size=(width - 1, k)))
    scale = rng.uniform(0.1, 9, width)
    scale[1] = 1
    projection = Projection(rng.normal(size=width), scale, np.insert(axes.T, 1, 0, axis=1))
    ratios = np.sort(rng.uniform(size=k))[::-1] / k
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return Model("id", "featurizer", now, 0, 9, 0, "covariance", projection, ratios * width, ratios, b"")


def transformed(spark: SparkSession, place: Path, vectors: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    """Load a saved pipeline and have Spark transform features, given as a lake's are."""
    rows = spark.createDataFrame(pa.table({"features": lists(vectors)}))
    found = PipelineModel.load(str(place)).transform(rows.select(array_to_vector(rows["features"]).alias("features")))
    return np.array([row["components"].toArray() for row in found.select("components").collect()])


@pytest.mark.parametrize(("width", "k"), [(5, 3), (4, 1), (1280, 200)])
def test_the_pipeline_gives_the_same_numbers(spark: SparkSession, tmp_path: Path, width: int, k: int) -> None:
    """Loaded from disk, on features of usual size, with a constant column that is constant no more."""
    model = made(width, k)
    mllib.save(spark, model, tmp_path / "new" / "a model")
    vectors = np.random.default_rng(1).normal(1, 9, (20, width)).astype(np.float32)
    found = transformed(spark, tmp_path / "new" / "a model", vectors)
    exact = model.projection.standardised(vectors) @ model.projection.basis.T
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12 * np.abs(exact).max())
    np.testing.assert_allclose(found, model.projection.components(vectors), rtol=0, atol=1e-6 * np.abs(exact).max())


def test_what_the_pipeline_says_of_itself(spark: SparkSession, tmp_path: Path) -> None:
    """As if Spark had fitted it."""
    model = made(6, 2)
    mllib.save(spark, model, uri_of(tmp_path / "model"))
    scaler, axes = PipelineModel.load(str(tmp_path / "model")).stages
    assert isinstance(scaler, StandardScalerModel)
    assert isinstance(axes, PCAModel)
    assert (scaler.getWithMean(), scaler.getWithStd(), axes.getK()) == (True, True, 2)
    assert (scaler.getInputCol(), axes.getOutputCol()) == ("features", "components")
    np.testing.assert_array_equal(axes.explainedVariance.toArray(), model.explained_variance_ratio)
    np.testing.assert_array_equal(axes.pc.toArray(), model.projection.basis.T)
    np.testing.assert_array_equal(scaler.mean.toArray(), model.projection.mean)
    assert scaler.std.toArray()[1] == 0


def test_nothing_is_replaced(spark: SparkSession, tmp_path: Path) -> None:
    """What is there may be anything; one line says what to do."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(UsageError, match="mine is there already: choose another"):
        mllib.save(spark, made(4, 1), tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "diary.txt"]


def test_a_path_that_spark_would_not_find_again(spark: SparkSession, tmp_path: Path) -> None:
    """It reads models by patterns."""
    with pytest.raises(UsageError, match=r"takes \[ in a path for a pattern"):
        mllib.save(spark, made(4, 1), tmp_path / "model[1]")


def test_a_place_that_cannot_be_written(spark: SparkSession, tmp_path: Path) -> None:
    """One line names it, and nothing is left."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"--out .*file/model cannot be written: ") as raised:
        mllib.save(spark, made(4, 1), tmp_path / "file" / "model")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_spark_cannot_write(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its Java side says becomes one line."""
    monkeypatch.setattr(mllib, "FILE_SCHEME", "nowhere://")
    with pytest.raises(StorageError, match=r"--out .*model cannot be written: .*nowhere") as raised:
        mllib.save(spark, made(4, 1), tmp_path / "model")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
