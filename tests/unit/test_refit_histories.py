"""Whatever happens to pictures between refits, the refit of what changed is the refit of everything."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.deletion import delete_pictures
from conf.schemas import FEATURES
from conf.tables import open_table
from tests.unit.fields import WIDTH, Field
from tests.unit.test_refit import assert_exact

_SLICES = 10


def happen(field: Field, random: np.random.Generator, number: int) -> None:
    """Let new pictures come, and old ones be overwritten, overtaken by late ones, rejected, forgotten, compacted."""
    known = sorted(field.counting())
    field.grow(*(f"{'abc'[place % 3]}{number}-{place}" for place in range(random.integers(1, 40))), at=10 * number)
    if len(known) < WIDTH:
        return

    def some(share: float) -> list[str]:
        return [str(uri) for uri in random.choice(known, max(1, int(share * len(known))), replace=False)]

    if random.random() < 0.8:
        field.grow(*some(0.1), at=10 * number + 1)
    if random.random() < 0.4:
        field.grow(*some(0.1), at=-1 - number)
    if random.random() < 0.5:
        field.outcome(*({"uri": uri, "rejection": "corrupt", "attempt": 2 + number} for uri in some(0.05)))
    if random.random() < 0.6:
        delete_pictures(field.paths.table(FEATURES), some(0.1))
    if random.random() < 0.3:
        open_table(field.paths.table(FEATURES)).optimize.compact()
    if random.random() < 0.3:
        delete_pictures(field.paths.table(FEATURES), [f"a{number}-0"])


@settings(max_examples=2)
@given(st.integers(0, 2**32 - 1))
def test_ten_slices_make_what_one_piece_makes(seed: int) -> None:
    """With deletes, overwritten pictures, late ones and rejections in between; eigenvalues to 1e-9."""
    random = np.random.default_rng(seed)
    kinds = set()
    with TemporaryDirectory() as folder:
        field = Field(Path(folder) / "lake", seed)
        field.grow(*(f"d{place}" for place in range(60)))
        for number in range(_SLICES):
            done = field.refit(components=WIDTH)
            assert_exact(field, done)
            assert done.model is not None
            kinds.add(done.model.run_card["kind"])
            happen(field, random, number)
        assert_exact(field, field.refit(components=WIDTH))
    assert kinds == {"full", "incremental"}
