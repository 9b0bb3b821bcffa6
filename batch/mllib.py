"""A model as a pipeline of Spark ML: StandardScalerModel and PCAModel, which give the same numbers.

Spark has no public way to make either from numbers: they are constructed in the JVM, whose constructors are open to
it, and handed over as Spark's own Python side hands over vectors, as bytes. Spark's PCAModel does not centre, as the
scaler before it does; and Spark's scaler makes a column of standard deviation 0 zero, as a constant one is to be.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from batch.export import place_of
from batch.model import Doubles, Model, Projection
from conf.errors import StorageError, UsageError, first_line
from conf.uris import FILE_SCHEME

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

INPUT, BETWEEN, OUTPUT = "features", "standardised", "components"
# Spark reads a saved model by patterns of paths.
_PATTERNS = frozenset("[{*?\\")


def pipeline(spark: SparkSession, model: Model) -> PipelineModel:
    """Return a model as a pipeline from the column `features`, of vectors, to `components`.

    `pyspark.ml.functions.array_to_vector` makes vectors of the lists that a lake's features are. The column
    `standardised` stays in what `transform` returns.

    Parameters
    ----------
    spark
        A session with a JVM, as Spark Connect has none.
    """
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import PCAModel, StandardScalerModel

    fitted = model.projection
    scaler = StandardScalerModel(
        _made(spark, "StandardScalerModel", _vector(_deviations(fitted)), _vector(fitted.mean))
    )
    scaler._set(withMean=True, withStd=True, inputCol=INPUT, outputCol=BETWEEN)
    ratios = _vector(model.explained_variance_ratio)
    axes = PCAModel(_made(spark, "PCAModel", _matrix(fitted.basis), ratios))
    axes._set(k=model.k, inputCol=BETWEEN, outputCol=OUTPUT)
    return PipelineModel([scaler, axes])


def save(spark: SparkSession, model: Model, out: str | Path) -> None:
    """Save a model where `pyspark.ml.PipelineModel.load` finds the pipeline that `pipeline` returns.

    Loading takes Spark alone, nothing of Verger or Delta: what Spark 4.1 writes, 3.5 reads, too.

    Parameters
    ----------
    out
        A folder, as a path or file:// URI, that is not there yet: it appears once it is complete. On a cluster it has
        to be one that every executor shares.

    Raises
    ------
    UsageError
        There is something at `out`, or Spark would take its path for a pattern.
    StorageError
        It cannot be written.
    """
    path = place_of(out)
    awkward = sorted(_PATTERNS.intersection(str(path)))
    if awkward:
        raise UsageError(f"--out {path}: Spark takes {' '.join(awkward)} in a path for a pattern: choose another")
    temporary = path.with_name(f".{uuid4().hex}")
    try:
        if path.exists() or path.is_symlink():
            raise UsageError(f"--out {path} is there already: choose another, or delete it")
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(pipeline(spark, model), temporary)
        temporary.rename(path)
    except (OSError, StorageError) as error:
        raise StorageError(f"--out {path} cannot be written: {first_line(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _save(made: PipelineModel, folder: Path) -> None:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        made.write().save(f"{FILE_SCHEME}{folder}")
    except (PySparkException, Py4JJavaError) as error:
        said = error.java_exception.toString() if isinstance(error, Py4JJavaError) else error
        raise StorageError(str(said)) from error


def _deviations(fitted: Projection) -> Doubles:
    """Return the standard deviations (d), 0 where no axis looks at a column, as none does at a constant one."""
    return np.where(fitted.basis.any(axis=0), fitted.scale, 0.0)


def _made(spark: SparkSession, name: str, *parts: Any) -> Any:
    """Construct a model of Spark ML in the JVM."""
    from pyspark.ml.common import _py2java

    make = getattr(spark._jvm, f"org.apache.spark.ml.feature.{name}")
    return make(f"{name}_{uuid4().hex[:12]}", *(_py2java(spark.sparkContext, part) for part in parts))


def _vector(values: Doubles) -> Any:
    from pyspark.ml.linalg import DenseVector

    return DenseVector(values)


def _matrix(basis: Doubles) -> Any:
    """Return the axes as the columns of a matrix, which Spark keeps column by column."""
    from pyspark.ml.linalg import DenseMatrix

    k, width = basis.shape
    return DenseMatrix(width, k, basis.ravel())
