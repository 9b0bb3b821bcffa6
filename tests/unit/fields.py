"""A lake of pictures with features, refitted in this process, that several tests build on."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.publication import published
from batch.refit import Refit, refit
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.settings import Settings
from conf.tables import ensure
from tests.unit.lakes import ONE, Orchard, seconds

WIDTH = 6


class Field(Orchard):
    """A lake of pictures with features of six columns, refitted in this process."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        super().__init__(root)
        self.random = np.random.default_rng(seed)
        self.mixing = self.random.normal(size=(WIDTH, WIDTH)) * np.linspace(3, 0.2, WIDTH)[:, None]
        for table in (MODELS, COMPONENTS):
            ensure(table, self.paths.table(table))

    def vectors(self, count: int) -> NDArray[np.float32]:
        """Draw features."""
        return (self.random.normal(size=(count, WIDTH)) @ self.mixing + 5).astype(np.float32)

    def grow(self, *uris: str, at: int = 0, featurizer: str = ONE, **row: Any) -> None:
        """Give pictures features that were never seen before; landed some seconds after the morning."""
        moment = seconds(at)
        rows = [
            {
                "uri": uri,
                "features": vector.tolist(),
                "landed_at": moment,
                "discovered_at": moment,
                "label": uri[0],
                **row,
            }
            for uri, vector in zip(uris, self.vectors(len(uris)), strict=True)
        ]
        self.outcome(*rows, featurizer=featurizer)

    def refit(self, featurizer: str = ONE, **settings: Any) -> Refit:
        """Refit, and check that what is published is whole."""
        self.said: list[str] = []
        done = refit(self.paths, featurizer, Settings(**settings), say=self._hear)
        self.check()
        return done

    def _hear(self, text: str, done: float = 0, total: float = 0) -> None:
        if text not in self.said[-1:]:
            self.said.append(text)

    def check(self) -> None:
        """Check that the components are of one model and one version of features."""
        shown = published(self.paths, ONE)
        if shown is None:
            return
        rows = self.rows(COMPONENTS)
        assert {(row["model"], row["features_version"]) for row in rows if row["featurizer"] == ONE} == {
            (shown.model, shown.features_version)
        }

    def counting(self) -> dict[str, list[float]]:
        """Return the features of every picture that counts, decided row by row."""
        newest: dict[str, dict[str, Any]] = {}
        keys = ("landed_at", "discovered_at", "e_tag", "attempt")
        for row in self.rows(FEATURES):
            former = newest.get(row["uri"])
            if row["featurizer"] == ONE and (
                former is None or [row[key] for key in keys] > [former[key] for key in keys]
            ):
                newest[row["uri"]] = row
        return {uri: row["features"] for uri, row in newest.items() if row["features"] is not None}
