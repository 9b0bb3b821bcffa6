"""Whether the tasks fit into memory, as it is predicted before they start."""

import dataclasses
from pathlib import Path

import pytest

from conf.errors import UsageError
from conf.memory import available_bytes
from streaming.backbones import memory
from streaming.backbones.shelf import Compiled, Manifest

GIGABYTE = 1_000_000_000


@pytest.fixture(scope="module")
def manifest(embedded: Compiled) -> Manifest:
    """Return the manifest of a backbone that was measured at 100 MB a task."""
    return dataclasses.replace(embedded.manifest, task_bytes={"litert": 100_000_000})


def test_what_fits_is_told(manifest: Manifest) -> None:
    """With the number of tasks: as many for each backbone as there are cores."""
    said = memory.check([manifest, manifest], cores=2, available=32 * GIGABYTE)
    assert said.startswith("4 tasks take about ")
    assert said.endswith("; 32.0 GB are free")


def test_what_cannot_fit_is_refused_with_the_mend(manifest: Manifest) -> None:
    """As many cores as do fit; the prediction for those is then accepted."""
    free = 8 * GIGABYTE
    with pytest.raises(
        UsageError, match=r"--cores: 128 tasks take about .* and 8\.0 GB are free; say --cores (\d+), or"
    ) as told:
        memory.check([manifest, manifest], cores=64, available=free)
    fitting = int(str(told.value).split("say --cores ")[1].split(",")[0])
    assert memory.check([manifest, manifest], cores=fitting, available=free)
    with pytest.raises(UsageError):
        memory.check([manifest, manifest], cores=fitting + 1, available=free)


def test_where_one_task_is_too_much_a_smaller_backbone_is_the_mend(manifest: Manifest) -> None:
    """Fewer cores would not help."""
    large = dataclasses.replace(manifest, task_bytes={"litert": 20 * GIGABYTE})
    with pytest.raises(UsageError, match=r"one task is too much: take a smaller --backbone or a smaller input"):
        memory.check([large], cores=1, available=8 * GIGABYTE)


def test_a_backbone_that_was_never_measured_is_estimated(manifest: Manifest) -> None:
    """From its weights and its input: more of either is more memory."""
    unknown = dataclasses.replace(manifest, task_bytes={})
    heavier = dataclasses.replace(unknown, tflite_bytes=unknown.tflite_bytes * 10)
    assert unknown.tflite_bytes < memory.task_bytes(unknown) < memory.task_bytes(heavier)
    assert memory.task_bytes(manifest) == 100_000_000


def test_the_machine_and_every_group_above_the_process_bound_what_is_free(tmp_path: Path) -> None:
    """Under control groups of version 2: the least of what is left anywhere, caches that can be dropped counted in."""
    written(tmp_path / "proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    written(tmp_path / "proc/self/cgroup", "0::/pod/container\n")
    group(tmp_path / "sys/fs/cgroup/pod", limit="3000000000", used=1_500_000_000, cache=500_000_000)
    group(tmp_path / "sys/fs/cgroup/pod/container", limit="max", used=1_000_000_000, cache=0)
    assert available_bytes(tmp_path) == 2_000_000_000
    group(tmp_path / "sys/fs/cgroup/pod", limit="max", used=1, cache=0)
    assert available_bytes(tmp_path) == 8_000_000 * 1024


def test_where_the_system_says_nothing_the_prediction_is_only_told(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As elsewhere than on Linux."""
    assert available_bytes(tmp_path) is None
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    assert memory.check([manifest], cores=1000).startswith("1000 tasks take about ")


def group(folder: Path, limit: str, used: int, cache: int) -> None:
    """Make a control group."""
    written(folder / "memory.max", f"{limit}\n")
    written(folder / "memory.current", f"{used}\n")
    written(folder / "memory.stat", f"anon 5\ninactive_file {cache}\n")


def written(path: Path, text: str) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
