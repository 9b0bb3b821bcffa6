"""The pictures of the benches: real photos where this checkout has them beside it, else drawn ones."""

import shutil
from pathlib import Path

from bootstrap import orchard

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "fruits"


def wave(folder: Path, count: int) -> list[Path]:
    """Return `count` pictures under `folder`, which is made."""
    if not PHOTOS.is_dir():
        return orchard.plant(folder, count, seed=0)
    paths = sorted(PHOTOS.rglob("*.jpg"))
    folder.mkdir()
    taken = [paths[place * len(paths) // count] for place in range(count)]
    return [Path(shutil.copyfile(path, folder / f"{place:05}.jpg")) for place, path in enumerate(taken)]
