import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyspark
import pytest
from numpy.typing import NDArray
from PIL import Image

from conf.errors import BackboneError, IsolationError, LakeError, OutageError, Rejected, StorageError
from conf.rejections import Reason
from conf.retrying import RETRIED
from conf.schemas import ARRIVALS, FEATURES
from streaming import worker
from streaming.backbones.request import parse_backbone
from streaming.worker import INPUT, Work, featurize
from tests.unit.hostile import harmful, telling, vulnerable

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
LANDING = "file:///landing"
BACKBONE = parse_backbone("mobilenet-v2-0.35@32", "random:1").with_weights("0" * 64)
SCHEMA = pa.schema([ARRIVALS.schema.field(name) for name in INPUT])


def png(grey: int) -> bytes:
    """Draw a picture of one grey, 40 by 30 pixels."""
    target = io.BytesIO()
    Image.new("RGB", (40, 30), (grey, grey, grey)).save(target, "PNG")
    return target.getvalue()


@dataclass
class FakeStorage:
    """A storage that reads from a dict; an exception in it is raised."""

    content: Mapping[str, bytes | Exception]
    ahead: int = 1
    asked: list[tuple[str, str, int, int]] = field(default_factory=list)

    def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
        """Give the bytes of a picture, whatever its version."""
        self.asked.append((uri, e_tag, size, byte_limit))
        found = self.content[uri.removeprefix(f"{LANDING}/")]
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class MeanGrey:
    """A runtime whose vectors are the mean grey, its double and one; it keeps how many pictures came at a time."""

    batch: int = 1
    sizes: list[int] = field(default_factory=list)

    def vectors(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Give the vectors of prepared pictures."""
        assert {each.shape for each in pictures} == {(32, 32, 3)}
        self.sizes.append(len(pictures))
        greys = [float(each.mean()) for each in pictures]
        return [np.array([grey, 2 * grey, 1], dtype=np.float32) for grey in greys]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> MeanGrey:
    """Put the mean grey in the runtime's place."""
    runtime = MeanGrey()
    monkeypatch.setattr(worker, "runtime_for", lambda *asked: runtime)
    return runtime


def work(content: Mapping[str, bytes | Exception], **changes: Any) -> Work:
    """Give the constants of a task that reads from `content`."""
    usual = Work(
        BACKBONE, 3, "model.tflite", FakeStorage(content), LANDING, "parent", pixel_limit=10_000, byte_limit=100_000
    )
    return replace(usual, **changes)


def arrivals(*names: str, size: int = 100) -> pa.RecordBatch:
    """Give arrivals of these pictures, each a second after the other."""
    rows = [
        {
            "uri": f"{LANDING}/{name}",
            "e_tag": f"{size}-{number}",
            "landed_at": MORNING + timedelta(seconds=number),
            "discovered_at": MORNING + timedelta(minutes=1),
            "attempt": 1,
            "size": size,
        }
        for number, name in enumerate(names)
    ]
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def featurized(batch: pa.RecordBatch, task: Work, **options: Any) -> list[dict[str, Any]]:
    """Give the rows that come out."""
    return [row for out in featurize(iter([batch]), task, **options) for row in out.to_pylist()]


def test_a_picture_becomes_a_row_of_features() -> None:
    """The row holds the arrival's identity, what the bytes told, the vector and the featurizer's id."""
    later = MORNING + timedelta(hours=1)
    data = png(10)
    (out,) = featurize(iter([arrivals("Apple%20Red/1.png")]), work({"Apple%20Red/1.png": data}), lambda: later)
    assert out.to_pylist() == [
        {
            "uri": f"{LANDING}/Apple%20Red/1.png",
            "e_tag": "100-0",
            "landed_at": MORNING,
            "discovered_at": MORNING + timedelta(minutes=1),
            "attempt": 1,
            "label": "Apple Red",
            "sha256": hashlib.sha256(data).hexdigest(),
            "format": "png",
            "width": 40,
            "height": 30,
            "featurizer": BACKBONE.featurizer,
            "features": [10.0, 20.0, 1.0],
            "rejection": None,
            "detail": None,
            "featurized_at": later,
        }
    ]


@pytest.mark.parametrize("content", [{"1.png": png(1)}, {"1.png": b"no picture"}], ids=["features", "rejection"])
def test_batches_have_the_columns_of_the_features_table(content: dict[str, bytes]) -> None:
    """Names, order and types are the table's, also where a batch holds no vector at all."""
    (out,) = featurize(iter([arrivals("1.png")]), work(content))
    assert out.schema.names == FEATURES.schema.names
    assert out.schema.types == FEATURES.schema.types
    out.validate(full=True)


def test_the_columns_that_must_be_filled_are_filled() -> None:
    """A batch of rejections alone still fits a table whose required columns take no null."""
    (out,) = featurize(iter([arrivals("1.png", "2.png")]), work({"1.png": b"", "2.png": png(1)}))
    required = [column.name for column in FEATURES.schema if not column.nullable]
    assert {name: out.column(name).null_count for name in required} == dict.fromkeys(required, 0)


def test_every_arrival_has_one_outcome_in_its_order() -> None:
    """Good and bad pictures come out in the order in which they went in, each with a vector or a rejection."""
    content: dict[str, bytes | Exception] = {
        "a.png": png(1),
        "b.png": b"",
        "c.png": png(3),
        "d.png": b"no picture at all",
        "e.png": Rejected(Reason.GONE, "No such file or directory"),
        "f.png": png(6),
    }
    rows = featurized(arrivals(*content), work(content))
    assert [row["uri"].rpartition("/")[2] for row in rows] == list(content)
    assert [row["features"] and row["features"][0] for row in rows] == [1.0, None, 3.0, None, None, 6.0]
    assert [row["rejection"] for row in rows] == [None, "empty", None, "not_a_picture", "gone", None]
    assert all((row["features"] is None) != (row["rejection"] is None) for row in rows)


def test_a_rejection_carries_its_reason_and_detail() -> None:
    """A picture that could not be read has no hash; one that was read and not decoded has one."""
    content: dict[str, bytes | Exception] = {
        "a.png": Rejected(Reason.FORBIDDEN, "Permission denied"),
        "b.png": b"noise",
    }
    forbidden, noise = featurized(arrivals(*content), work(content))
    assert (forbidden["rejection"], forbidden["detail"], forbidden["sha256"]) == (
        "forbidden",
        "Permission denied",
        None,
    )
    assert (noise["rejection"], noise["sha256"]) == ("not_a_picture", hashlib.sha256(b"noise").hexdigest())
    assert noise["detail"]
    for row in (forbidden, noise):
        assert (row["format"], row["width"], row["height"], row["features"]) == (None, None, None, None)


def test_the_pixel_limit_rejects() -> None:
    """The limit reaches the decoder."""
    (row,) = featurized(arrivals("1.png"), work({"1.png": png(1)}, pixel_limit=40 * 30 - 1))
    assert row["rejection"] == "too_many_pixels"


def test_a_file_over_the_byte_limit_is_never_read() -> None:
    """Its size is known from its arrival."""
    task = work({}, byte_limit=99)
    (row,) = featurized(arrivals("1.png", size=100), task)
    assert (row["rejection"], row["detail"]) == ("too_many_bytes", "100 bytes, the limit is 99")
    assert isinstance(task.storage, FakeStorage)
    assert task.storage.asked == []


def test_the_version_that_arrived_is_the_one_that_is_read() -> None:
    """The storage gets the arrival's e_tag and size, and the limit; a size at the limit is read."""
    task = work({"1.png": png(1)}, byte_limit=100)
    featurized(arrivals("1.png", size=100), task)
    assert isinstance(task.storage, FakeStorage)
    assert task.storage.asked == [(f"{LANDING}/1.png", "100-0", 100, 100)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_a_rejection(value: float, runtime: MeanGrey) -> None:
    """A single bad value would spoil every mean; the row still says what the picture was."""
    vector = np.array([1, value, value, 0], dtype=np.float32)
    runtime.vectors = lambda pictures: [vector]  # type: ignore[method-assign]
    (row,) = featurized(arrivals("1.png"), work({"1.png": png(1)}))
    assert (row["features"], row["rejection"], row["detail"]) == (None, "non_finite", "2 of 4 values are not finite")
    assert (row["format"], row["width"], row["height"]) == ("png", 40, 30)


@pytest.mark.parametrize("error", [StorageError("the landing does not answer"), BackboneError("damaged")])
def test_a_fault_of_the_world_is_no_row(error: Exception) -> None:
    """The task fails and Spark runs it again; nothing of its last batch comes out."""
    content: dict[str, bytes | Exception] = {"1.png": png(1), "2.png": error}
    with pytest.raises(type(error), match=str(error)):
        featurized(arrivals("1.png", "2.png"), work(content))


@pytest.mark.parametrize(
    ("sizes", "rows"), [([300], [128, 128, 44]), ([128], [128]), ([0], []), ([], []), ([3, 0, 129], [3, 128, 1])]
)
def test_batches_are_split_into_short_ones(sizes: list[int], rows: list[int]) -> None:
    """At most 128 rows come out at a time, so that wide vectors stay small; none is lost at a seam."""
    names = [[f"{number}-{row}.png" for row in range(size)] for number, size in enumerate(sizes)]
    content: dict[str, bytes | Exception] = {name: b"" for batch in names for name in batch}
    out = list(featurize(iter([arrivals(*batch) for batch in names]), work(content)))
    assert [each.num_rows for each in out] == rows
    assert [uri.rpartition("/")[2] for each in out for uri in each.column("uri").to_pylist()] == list(content)


def test_batches_are_taken_as_they_are_asked_for() -> None:
    """A worker does not hoard: the first rows come out before the second batch is read."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield arrivals("1.png")
        raise AssertionError("read ahead")

    assert next(featurize(batches(), work({"1.png": png(1)}))).num_rows == 1


def test_a_slice_of_a_batch_is_taken_for_what_it_is() -> None:
    """Arrow hands out views with an offset; the rows outside do not show."""
    content = {f"{number}.png": png(number) for number in range(6)}
    rows = featurized(arrivals(*content).slice(2, 3), work(content))
    assert [row["features"][0] for row in rows] == [2.0, 3.0, 4.0]


def test_a_task_loads_its_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model, backbone, width and the runtime's name go to the loader together, before the first picture."""
    asked: list[Any] = []

    def runtime_for(*each: Any) -> MeanGrey:
        asked.append(each)
        return MeanGrey()

    monkeypatch.setattr(worker, "runtime_for", runtime_for)
    task = work({"1.png": png(1)}, runtime="tensorflow")
    list(featurize(iter([arrivals("1.png"), arrivals("1.png")]), task))
    assert asked == [(Path("model.tflite"), BACKBONE, 3, "tensorflow")]


def test_time_goes_on_while_pictures_are_featurized() -> None:
    """Each row has the moment at which its own outcome was there."""
    ticks = iter(MORNING + timedelta(seconds=number) for number in range(100))
    content = {"1.png": png(1), "2.png": b""}
    (out,) = featurize(iter([arrivals(*content)]), work(content), lambda: next(ticks))
    first, second = out.column("featurized_at").to_pylist()
    assert first < second


@pytest.mark.parametrize(("rule", "label"), [("parent", "Apple"), ("none", None), (r"(?P<label>\d)\.png", "1")])
def test_the_label_follows_the_rule_and_rejections_are_labelled_too(rule: str, label: str | None) -> None:
    """A label comes from the name alone."""
    content = {"Apple/1.png": png(1)}
    assert featurized(arrivals(*content), work(content, label=rule))[0]["label"] == label
    assert featurized(arrivals(*content), work({"Apple/1.png": b""}, label=rule))[0]["label"] == label


def test_wide_vectors_go_out_fewer_at_a_time() -> None:
    """No record batch has more than 8 MiB of vectors."""
    names = [f"{row}.png" for row in range(9)]
    task = work(dict.fromkeys(names, b""), width=1 << 19)
    assert [out.num_rows for out in featurize(iter([arrivals(*names)]), task)] == [4, 4, 1]


@pytest.mark.parametrize("ahead", [2, 16])
def test_pictures_that_are_fetched_ahead_come_out_the_same(ahead: int) -> None:
    """Order, vectors and rejections do not depend on how many pictures are on their way, over several batches."""
    content = {f"{n}.png": (png(n), b"", Rejected(Reason.GONE, "not there"))[n % 3] for n in range(60)}
    names = list(content)
    batches = [arrivals(*names[:40]), arrivals(*names[40:])]
    task = work({}, storage=FakeStorage(content, ahead))
    rows = [row for out in featurize(iter(batches), task) for row in out.to_pylist()]
    assert [row["uri"].rpartition("/")[2] for row in rows] == names
    assert [row["features"] and row["features"][0] for row in rows] == [None if n % 3 else n for n in range(60)]
    assert [row["rejection"] for row in rows] == [(None, "empty", "gone")[n % 3] for n in range(60)]


class Told(list[int]):
    """Stands for an accumulator: it keeps what it is told."""

    add = list.append


class TestRetried:
    """How many fetches were tried again is told once, at the end of the task."""

    def test_the_driver_is_told_of_retries(self) -> None:
        """Only of those of this task, and also where there were none."""
        told = Told()

        class Shaky(FakeStorage):
            def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
                if len(self.asked) < 2:
                    self.asked.append((uri, e_tag, size, byte_limit))
                    raise OutageError("slow down")
                return super().read(uri, e_tag, size, byte_limit)

        RETRIED.add("fetch", 7)
        task = work({}, storage=Shaky({"1.png": png(1)}), retried=told)
        assert featurized(arrivals("1.png"), task)[0]["features"][0] == 1.0
        assert told == [2]
        featurized(arrivals("1.png"), task)
        assert told == [2, 0]


class Owner:
    """A fence that notes how far the work was at each check, and refuses the check of a number."""

    def __init__(self, storage: FakeStorage, refused: int = 0) -> None:
        self.storage, self.refused = storage, refused
        self.checks: list[int] = []

    def check(self) -> None:
        """Note the check; refuse it where it is the one."""
        self.checks.append(len(self.storage.asked))
        if len(self.checks) == self.refused:
            raise LakeError("another driver owns the lake")


class TestFence:
    """A task of a driver that lost the lake ends without success."""

    def test_it_is_checked_before_the_first_row_and_after_the_last(self) -> None:
        """Once each, however many batches there are."""
        storage = FakeStorage({"1.png": png(1)})
        task = work({}, storage=storage, fence=Owner(storage))
        list(featurize(iter([arrivals("1.png"), arrivals("1.png")]), task))
        assert isinstance(task.fence, Owner)
        assert task.fence.checks == [0, 2]

    def test_nothing_is_fetched_behind_a_fence(self) -> None:
        """What the first check raises is raised."""
        storage = FakeStorage({"1.png": png(1)})
        with pytest.raises(LakeError, match="another driver"):
            featurized(arrivals("1.png"), work({}, storage=storage, fence=Owner(storage, 1)))
        assert storage.asked == []

    def test_a_task_whose_lake_was_taken_meanwhile_fails(self) -> None:
        """Its rows came out, but a task that raises commits none."""
        storage = FakeStorage({"1.png": png(1)})
        out = featurize(iter([arrivals("1.png")]), work({}, storage=storage, fence=Owner(storage, 2)))
        assert next(out).num_rows == 1
        with pytest.raises(LakeError, match="another driver"):
            next(out)


class TestBatches:
    """A runtime that takes several pictures at a time gets them so."""

    CONTENT: Mapping[str, bytes | Exception] = {
        f"{number}.png": b"" if number in (1, 2, 6) else png(number) for number in range(10)
    }
    GREYS: tuple[float | None, ...] = (0, None, None, 3, 4, 5, None, 7, 8, 9)

    def test_pictures_are_inferred_together(self, runtime: MeanGrey) -> None:
        """Rejected pictures take no place in a batch; the last batch is what is left; each vector is its own row's."""
        runtime.batch = 3
        rows = featurized(arrivals(*self.CONTENT), work(self.CONTENT))
        assert runtime.sizes == [3, 3, 1]
        assert tuple(row["features"] and row["features"][0] for row in rows) == self.GREYS

    def test_a_batch_ends_with_its_rows(self, runtime: MeanGrey) -> None:
        """Rows do not go out before their vectors are there, nor wait for the pictures of the next ones."""
        runtime.batch = 100
        names = [f"{number}.png" for number in range(130)]
        out = list(featurize(iter([arrivals(*names)]), work(dict.fromkeys(names, png(7)))))
        assert runtime.sizes == [100, 28, 2]
        assert [each.num_rows for each in out] == [128, 2]

    def test_a_batch_without_pictures_is_not_inferred(self, runtime: MeanGrey) -> None:
        """Rejections alone need no runtime."""
        featurized(arrivals("1.png"), work({"1.png": b""}))
        assert runtime.sizes == []


class TestPace:
    """A worker that is silent for long is taken for one that hangs."""

    @pytest.mark.parametrize(
        ("seconds", "sizes"), [(0.0, [10]), (1.0, [5, 5]), (2.0, [3, 3, 3, 1]), (5.0, [1] * 10), (60.0, [1] * 10)]
    )
    def test_rows_go_out_when_the_first_of_them_is_five_seconds_old(
        self, seconds: float, sizes: list[int], runtime: MeanGrey
    ) -> None:
        """Slow pictures go out in short record batches, also where the runtime would like more of them at a time."""
        runtime.batch = 4
        now = 0.0

        class Slow(FakeStorage):
            def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
                nonlocal now
                now += seconds
                return super().read(uri, e_tag, size, byte_limit)

        names = [f"{number}.png" for number in range(10)]
        task = work({}, storage=Slow({name: png(number) for number, name in enumerate(names)}))
        out = list(featurize(iter([arrivals(*names)]), task, monotonic=lambda: now))
        assert [each.num_rows for each in out] == sizes
        rows = [row for each in out for row in each.to_pylist()]
        assert [row["uri"].rpartition("/")[2] for row in rows] == names
        assert [row["features"][0] for row in rows] == list(range(10))

    def test_time_that_others_take_is_no_silence(self) -> None:
        """While Spark writes what came out, the worker has nothing to say."""
        now = 0.0
        names = [f"{number}.png" for number in range(300)]
        out = featurize(iter([arrivals(*names)]), work(dict.fromkeys(names, b"")), monotonic=lambda: now)
        sizes = []
        for each in out:
            sizes.append(each.num_rows)
            now += 60
        assert sizes == [128, 128, 44]


class TestIsolation:
    """Pictures that harm the decoder, in a process of its own and without."""

    def test_each_harmful_picture_is_rejected_by_name_and_no_other(self) -> None:
        """The row of a crash or hang has the file's hash; its neighbours have features."""
        harms = {"a.png": "segfault", "c.png": "spin", "d.png": "devour", "f.png": "leave"}
        names = [f"{letter}.png" for letter in "abcdefg"]
        content: dict[str, bytes | Exception] = {
            name: harmful(png(1), harms[name]) if name in harms else png(number) for number, name in enumerate(names)
        }
        task = work(content, decode=vulnerable, decode_seconds=0.3)
        rows = {row["uri"].rpartition("/")[2]: row for row in featurized(arrivals(*names), task, isolated=True)}
        assert {name: rows[name]["rejection"] for name in harms} == {
            "a.png": "crashed",
            "c.png": "timed_out",
            "d.png": "crashed",
            "f.png": "crashed",
        }
        assert all(rows[name]["detail"] and rows[name]["sha256"] for name in harms)
        assert {name: row["features"][0] for name, row in rows.items() if name not in harms} == {
            "b.png": 1.0,
            "e.png": 4.0,
            "g.png": 6.0,
        }

    @pytest.mark.parametrize(("attempt", "own"), [(None, False), (0, False), (1, True), (3, True)])
    def test_decoding_has_a_process_of_its_own_when_the_task_runs_again(
        self, attempt: int | None, own: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first run pays nothing for what hardly ever happens; without Spark there is no second."""
        task = None if attempt is None else SimpleNamespace(attemptNumber=lambda: attempt)
        monkeypatch.setattr(pyspark.TaskContext, "get", lambda: task)
        (row,) = featurized(arrivals("1.png"), work({"1.png": png(1)}, decode=telling))
        assert (row["width"] != os.getpid()) is own

    def test_the_process_ends_with_the_task(self) -> None:
        """Also when Spark takes no more rows."""
        names = [f"{number}.png" for number in range(300)]
        task = work(dict.fromkeys(names, png(1)), decode=telling)
        out = featurize(iter([arrivals(*names)]), task, isolated=True)
        process = next(out).column("width")[0].as_py()
        os.kill(process, 0)
        out.close()  # type: ignore[attr-defined]
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)

    def test_too_little_memory_is_no_row_in_the_first_run(self) -> None:
        """The picture need not be to blame; the next run, isolated, tells."""
        with pytest.raises(MemoryError):
            featurized(arrivals("1.png"), work({"1.png": harmful(png(1), "devour")}, decode=vulnerable))

    def test_a_process_that_cannot_be_started_is_no_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is the world's fault."""
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(IsolationError):
            featurized(arrivals("1.png"), work({"1.png": png(1)}), isolated=True)

    def test_the_room_follows_the_pixel_limit(self) -> None:
        """At the usual limit of 80 megapixels, a picture may take a little less than 3 GB."""
        assert work({}, pixel_limit=80_000_000).decode_bytes == 2_560_000_000 + (256 << 20)
