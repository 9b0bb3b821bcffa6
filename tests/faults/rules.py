"""The rules I1 to I7, checked by an independent reader against the ledger and a single-process reference."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from streaming.backbones.shelf import Compiled
from streaming.decode import decode
from tests.faults.ledger import Key, Ledger
from tests.faults.reading import IDENTITY, Tables

Vector = NDArray[np.float64]
Identities = Counter[tuple[Any, ...]]
# ARCHITECTURE.md: a vector may differ so much from the reference, an eigenvalue so much from that of a full fit.
_VECTOR, _EIGENVALUE, _COMPONENT = 1e-4, 1e-9, 1e-4
_PIXEL_LIMIT = 80_000_000
_OF_THE_PAST = ("gone", "changed")
_MOST_TOLD = 6


class Reference:
    """Vectors made one after the other in this process, by a bare interpreter of the model.

    Parameters
    ----------
    compiled
        The backbone.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._preparation = compiled.backbone.preparation
        self._interpreter = Interpreter(model_content=compiled.tflite, num_threads=1)
        self._interpreter.allocate_tensors()
        self._known: dict[str, Vector] = {}

    def vector(self, sha256: str, data: bytes) -> Vector:
        """Return the vector, (width,), of a picture's bytes."""
        if sha256 not in self._known:
            pixels = decode(data, self._preparation, _PIXEL_LIMIT).pixels
            self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], pixels[None])
            self._interpreter.invoke()
            output = self._interpreter.get_tensor(self._interpreter.get_output_details()[0]["index"])
            self._known[sha256] = output[0].astype(np.float64)
        return self._known[sha256]


@dataclass(frozen=True)
class Reader:
    """What the rules are checked with.

    Attributes
    ----------
    tables : Tables
    ledger : Ledger
    reference : Reference
    retried : bool
        Whether attempts beyond the first were asked for.
    """

    tables: Tables
    ledger: Ledger
    reference: Reference
    retried: bool = False

    def complete(self) -> bool:
        """Whether all that stands in the landing has arrived, and each arrival has an outcome."""
        arrived = _identities(self.tables.read("arrivals", IDENTITY))
        if not self.ledger.keys <= {each[:3] for each in arrived}:
            return False
        return set(arrived) <= set(_identities(self.tables.read("features", IDENTITY)))

    def violations(self) -> list[str]:
        """Return each rule that is broken, with what shows it."""
        arrived = _identities(self.tables.read("arrivals", IDENTITY))
        return [*self._of_arrivals(arrived), *self._of_outcomes(arrived), *self._of_publications(), *self._of_models()]

    def _of_arrivals(self, arrived: Identities) -> Iterator[str]:
        yield from _told("I2: arrived more than once", [each for each, times in arrived.items() if times > 1])
        yield from _told(
            "I3: arrived, but never stood in the landing", {_key(each) for each in arrived} - set(self.ledger.versions)
        )
        yield from _told(
            "I1: stands in the landing, but never arrived", self.ledger.keys - {_key(each) for each in arrived}
        )
        if not self.retried:
            yield from _told("I3: an attempt that nobody asked for", [each for each in arrived if each[3] != 1])

    def _of_outcomes(self, arrived: Identities) -> Iterator[str]:
        columns = [*IDENTITY, "sha256", "features", "rejection", "featurizer"]
        rows = self.tables.read("features", columns).to_pylist()
        if len({row["featurizer"] for row in rows}) > 1:
            yield "I3: outcomes of a featurizer that nobody asked for"
        outcomes = Counter(tuple(row[name] for name in IDENTITY) for row in rows)
        yield from _told("I1: arrived, and has no outcome", set(arrived) - set(outcomes))
        yield from _told("I2: more than one outcome", [each for each, times in outcomes.items() if times > 1])
        yield from _told("I3: an outcome of what never arrived", set(outcomes) - set(arrived))
        yield from _told("I4", list(filter(None, map(self._wrong, rows))))

    def _wrong(self, row: dict[str, Any]) -> str:
        """Return what is wrong with an outcome; empty where nothing is."""
        key = (row["uri"], row["e_tag"], row["landed_at"])
        version = self.ledger.versions.get(key)
        if version is None:
            return ""
        content = version.content
        if (row["features"] is None) == (row["rejection"] is None):
            return f"{key}: neither or both of features and rejection"
        if row["rejection"] is not None:
            past = key not in self.ledger.keys and row["rejection"] in _OF_THE_PAST
            fair = past or row["rejection"] == content.rejection
            return "" if fair else f"{key}: rejected as {row['rejection']}, not {content.rejection or 'at all'}"
        if content.rejection:
            return f"{key}: has features, though it is {content.rejection}"
        if row["sha256"] != content.sha256:
            return f"{key}: the bytes of another version"
        expected = self.reference.vector(content.sha256, content.data)
        error = float(np.linalg.norm(np.array(row["features"]) - expected) / np.linalg.norm(expected))
        return "" if error <= _VECTOR else f"{key}: {error:.2g} off the reference"

    def _of_models(self) -> Iterator[str]:
        shown = self.tables.read("components", ["uri", "e_tag", "model", "features_version", "components"])
        models = self.tables.read("models", _MODEL).to_pylist()
        if len({each["model"] for each in models}) != len(models):
            yield "I5: a model stands twice"
        if not models and not shown.num_rows:
            return
        named = set(zip(shown["model"].to_pylist(), shown["features_version"].to_pylist(), strict=True))
        if len(named) != 1:
            yield f"I5: components name {sorted(named)}"
            return
        ((name, version),) = named
        mine = [each for each in models if each["model"] == name and each["features_version"] == version]
        if not mine:
            yield f"I5: components are of {name}, which models does not know"
            return
        yield from self._of_components(mine[0], shown)

    def _of_components(self, model: dict[str, Any], shown: pa.Table) -> Iterator[str]:
        winners = _newest(self.tables.read("features", [*IDENTITY, "discovered_at", "features"]).to_pylist())
        pictures = {row["uri"]: row for row in winners if row["features"] is not None}
        placed = {row["uri"]: row for row in shown.to_pylist()}
        yield from _told("I5: has features and no components", set(pictures) - set(placed))
        yield from _told("I5: has components and no features", set(placed) - set(pictures))
        if len(placed) != shown.num_rows or set(pictures) != set(placed):
            return
        uris = sorted(pictures)
        features = np.array([pictures[uri]["features"] for uri in uris], np.float64)
        yield from _told(
            "I5: components of another version", [uri for uri in uris if placed[uri]["e_tag"] != pictures[uri]["e_tag"]]
        )
        mean, scale = np.array(model["mean"]), np.array(model["scale"])
        basis = np.frombuffer(model["basis"], np.float64).reshape(-1, len(mean))
        expected = ((features - mean) / scale) @ basis.T
        found = np.array([placed[uri]["components"] for uri in uris], np.float64)
        error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        if error > _COMPONENT:
            yield f"I5: components are {error:.2g} off their own model"
        yield from _told("I6", list(_eigenvalues_wrong(model, features)))

    def _of_publications(self) -> Iterator[str]:
        """Look at each version that a reader can have seen: all components are of one commit, and never gone."""
        standing: dict[str, int] = {}
        shown = False
        for version, actions in enumerate(self.tables.commits("components")):
            for action in actions:
                if "remove" in action:
                    standing.pop(action["remove"]["path"], None)
            standing |= {each["add"]["path"]: version for each in actions if "add" in each}
            if len(set(standing.values())) > 1:
                yield f"I5: version {version} of components is of several refits"
            if shown and not standing:
                yield f"I5: version {version} of components shows none"
            shown = shown or bool(standing)


_MODEL = ("model", "features_version", "n", "mean", "scale", "basis", "explained_variance", "solver", "run_card")


def _eigenvalues_wrong(model: dict[str, Any], features: Vector) -> Iterator[str]:
    """Compare a model's eigenvalues with those of a fit from scratch, as scikit-learn's PCA has them."""
    n = len(features)
    if model["n"] != n:
        yield f"{model['model']} is of {model['n']} pictures, there are {n}"
        return
    scale = features.std(axis=0)
    # A column whose deviation is a millionth of its values counts as constant: standardised, it would be round-off.
    varying = scale > 1e-6 * np.sqrt((features**2).mean(axis=0))
    standardised = (features[:, varying] - features[:, varying].mean(axis=0)) / scale[varying]
    values = np.linalg.svd(standardised, compute_uv=False) ** 2 / (n - 1)
    # The axes stand in the order of those that they continue, not by size.
    found = np.sort(model["explained_variance"])[::-1]
    error = float(np.abs(found - values[: len(found)]).max() / values[0])
    if error > _EIGENVALUE:
        card = json.loads(model["run_card"])
        yield (
            f"{model['model']}, {card['kind']} after {card['increments']}: eigenvalues {error:.2g} off a fit from "
            f"scratch; {varying.sum()} columns vary, of the model {(np.array(model['scale']) != 1).sum()}"
        )


def _newest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the row of each uri that counts."""
    ordered = sorted(rows, key=lambda row: (row["landed_at"], row["discovered_at"], row["e_tag"], row["attempt"]))
    return list({row["uri"]: row for row in ordered}.values())


def _identities(rows: pa.Table) -> Identities:
    return Counter(zip(*(rows[name].to_pylist() for name in IDENTITY), strict=True))


def _key(identity: tuple[Any, ...]) -> Key:
    return identity[0], identity[1], identity[2]


def _told(rule: str, shown: Any) -> Iterator[str]:
    found = sorted(map(str, shown))
    if found:
        yield f"{rule}: {len(found)}, as {'; '.join(found[:_MOST_TOLD])}"
