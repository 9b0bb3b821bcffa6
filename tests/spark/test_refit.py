"""The batch leg on Spark: the same numbers as in this process, and no trouble with a stream that writes meanwhile."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from batch import refit
from batch.publication import published
from batch.rows.winners import snapshot, winners
from conf import lease
from conf.errors import LakeError, UsageError
from conf.lake import LakePaths
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.settings import Settings
from conf.tables import open_table
from streaming.backbones.shelf import Compiled, save
from tests.conftest import TINY
from tests.spark.attended import attended
from tests.spark.conftest import Sessions
from tests.unit.fields import WIDTH, Field
from tests.unit.lakes import ONE


@pytest.fixture
def field(tmp_path: Path) -> Field:
    """Return a lake with pictures in several files, some of which lose."""
    made = Field(tmp_path / "lake")
    for part in range(5):
        made.grow(*(f"{'abc'[number % 3]}{part}-{number}" for number in range(30)), at=part)
    made.grow("a0-0", "b0-1", at=50)
    made.outcome({"uri": "c0-2", "rejection": "corrupt", "attempt": 2})
    return made


def settings(field: Field, **given: Any) -> Settings:
    """Return the settings of a refit."""
    return Settings(lake=str(field.paths.root), **given)


@pytest.mark.parametrize("solver", ["covariance", "randomized"])
def test_spark_gives_what_this_process_gives(solver: str, field: Field, sessions: Sessions) -> None:
    """Axes, variances, components, and what is lost of each label."""
    asked = settings(field, components=3, solver=solver)
    here = refit.refit(field.paths, ONE, asked).model
    said: list[tuple[str, float, float]] = []

    def hear(text: str, done: float = 0, total: float = 0) -> None:
        said.append((text, done, total))

    done = refit.run(settings(field, components=3, solver=solver, full=True), hear, sessions)
    there = done.model
    assert here is not None
    assert there is not None
    assert there.parent == here.id
    np.testing.assert_allclose(there.explained_variance, here.explained_variance, rtol=1e-9)
    np.testing.assert_allclose(there.projection.basis, here.projection.basis, atol=1e-8)
    assert there.n == here.n == 149
    assert published(field.paths, ONE).model == there.id  # type: ignore[union-attr]
    assert sum(row["model"] == there.id for row in field.rows(COMPONENTS)) == 149
    assert there.drift is not None
    assert there.drift["principal_angles"] == pytest.approx([0, 0, 0], abs=1e-4)
    assert "of memory for each task" in said[0][0]
    assert ("placing 149 pictures on 3 axes", 149, 149) in said


def test_where_nothing_is_new_no_session_is_started(field: Field, sessions: Sessions) -> None:
    """A scheduled refit that finds nothing costs no JVM."""
    refit.run(settings(field), sessions=sessions)
    versions = field.version(MODELS), field.version(COMPONENTS)

    def never(name: str, **_: Any) -> Any:
        pytest.fail("a session was asked for")

    assert not refit.run(settings(field), sessions=never).written
    assert (field.version(MODELS), field.version(COMPONENTS)) == versions


def test_on_yarn_the_session_comes_first(field: Field, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """YARN gives up a driver without one, however long the plan takes; also where nothing turns out to be new."""
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    monkeypatch.setenv("CONTAINER_ID", "container_1_0001_01_000001")
    asked: list[str] = []

    def counted(name: str, **more: Any) -> Any:
        asked.append(f"{name}, planned: {bool(planned)}")
        return sessions(name, **more)

    planned: list[str] = []
    monkeypatch.setattr("conf.points.reach", planned.append)
    assert refit.run(settings(field), sessions=counted).written
    planned.clear()
    assert not refit.run(settings(field), sessions=counted).written
    assert asked == ["verger refit, planned: False"] * 2


def test_a_second_refit_of_a_lake_is_refused(field: Field, sessions: Sessions) -> None:
    """With who holds it."""
    with lease.hold(field.paths.lease("refit")), pytest.raises(LakeError, match=r"another process writes this lake as"):
        refit.run(settings(field), sessions=sessions)


def test_what_does_not_fit_into_memory_is_refused_before_spark_starts(
    field: Field, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mend; what it takes is said where it fits."""
    monkeypatch.setattr(refit, "available_bytes", lambda: 1 << 30)
    with pytest.raises(
        UsageError, match=r"--solver covariance takes .* of memory for each task.*: say --solver randomi"
    ):
        refit.run(settings(field), sessions=sessions)
    assert field.rows(MODELS) == []


@pytest.mark.long
def test_a_refit_while_the_stream_writes(
    landing: Path, lake: LakePaths, sessions: Sessions, spark: SparkSession, embedded: Compiled
) -> None:
    """Both go on undisturbed; the model names the version it saw, and its components are of exactly that."""
    save(embedded, lake.backbones)
    streamed = Settings(landing=str(landing), lake=str(lake.root), backbone=(TINY,), settle=0.0, poll=0.2, trigger=0.0)
    featurizer = embedded.backbone.featurizer
    with attended(streamed, sessions) as running:
        versions = set()
        for enough in (24, 31):
            # What lands now is featurized while the refit runs.
            running.until(lambda enough=enough: running.totals.featurized >= enough)  # type: ignore[misc]
            running.land("More", 8)
            done = refit.run(Settings(lake=str(lake.root), components=3), sessions=sessions)
            assert done.model is not None
            versions.add(done.model.features_version)
            assert done.model.n == _components(lake, featurizer, done.model.features_version)
        running.until(lambda: running.totals.backlog == 0 and running.totals.landed == 40)
    assert len(versions) == 2
    done = refit.run(Settings(lake=str(lake.root), components=3), sessions=sessions)
    assert done.model is not None
    assert (done.model.n, done.model.width) == (40, 1280)


def _components(lake: LakePaths, featurizer: str, version: int) -> int:
    """Count the published components, which must be of the pictures that counted at a version."""
    rows = open_table(lake.table(COMPONENTS)).to_pyarrow_table()
    assert set(rows["features_version"].to_pylist()) == {version}
    counting = winners(snapshot(lake.table(FEATURES), featurizer, version), pa.array([], pa.string()))
    assert counting.n == rows.num_rows
    return int(rows.num_rows)


def test_the_numbers_are_those_of_scikit_learn_and_of_spark_ml(field: Field, spark: SparkSession) -> None:
    """Standardisation and PCA, to 1e-6, but for signs; Spark's scaler divides by the sample's deviation."""
    from pyspark.ml.feature import PCA as SparkPCA
    from pyspark.ml.feature import StandardScaler as SparkScaler
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as F
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    done = refit.refit(field.paths, ONE, settings(field, components=WIDTH)).model
    assert done is not None
    counting = field.counting()
    matrix = np.array(list(counting.values()))
    theirs = PCA().fit(StandardScaler().fit_transform(matrix))
    np.testing.assert_allclose(done.explained_variance, theirs.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(done.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(np.abs(done.projection.basis), np.abs(theirs.components_), atol=1e-6)
    rows = {row["uri"]: row["components"] for row in field.rows(COMPONENTS)}
    expected = theirs.transform(StandardScaler().fit_transform(matrix))
    np.testing.assert_allclose(np.abs([rows[uri] for uri in counting]), np.abs(expected), atol=1e-5)
    frame = spark.createDataFrame(pa.table({"features": matrix.tolist()})).select(
        array_to_vector(F.col("features")).alias("features")
    )
    scaler = SparkScaler(withMean=True, withStd=True, inputCol="features", outputCol="z").fit(frame)
    spark_pca = SparkPCA(k=WIDTH, inputCol="z", outputCol="c").fit(scaler.transform(frame))
    np.testing.assert_allclose(np.abs(done.projection.basis), np.abs(spark_pca.pc.toArray().T), atol=1e-6)
    np.testing.assert_allclose(done.explained_variance_ratio, spark_pca.explainedVariance.toArray(), atol=1e-6)
