"""Objects as paths, against a bucket."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore import exceptions

from conf import access
from conf.access import Access
from conf.objects import ObjectPath, addressable
from conf.retrying import RETRIED
from conf.store_errors import passing, translated
from tests.storage.answering import Answer, Request, answering, refusal
from tests.storage.cloud import Cloud
from tests.storage.proxy import FaultProxy, Faults

PICTURE = os.urandom(100_000)


@pytest.fixture
def root(aws: Cloud) -> ObjectPath:
    """Give a prefix in a bucket of its own, beside a neighbour whose name begins like it."""
    bucket = aws.bucket()
    aws.put(bucket, {"lake-2/c": b"neighbour"})
    return ObjectPath(f"s3://{bucket}/lake")


def put(aws: Cloud, root: ObjectPath, *names: str, content: bytes = b"12345") -> None:
    """Put objects below the prefix."""
    aws.put(bucket_of(root), {f"lake/{name}": content for name in names})


def mark(aws: Cloud, root: ObjectPath, *folders: str) -> None:
    """Mark folders as Hadoop does, by empty objects whose names end with a slash."""
    put(aws, root, *folders, content=b"")


def bucket_of(root: ObjectPath) -> str:
    return root.uri.split("/")[2]


def keys(aws: Cloud, root: ObjectPath) -> list[str]:
    """Give all keys of the bucket as S3 tells them."""
    found = aws.client("s3").list_objects_v2(Bucket=bucket_of(root)).get("Contents", [])
    return [each["Key"] for each in found]


@contextmanager
def used(way: Access) -> Iterator[None]:
    """Use this way for the length of a `with` block."""
    before = access.current()
    access.use(way)
    try:
        yield
    finally:
        access.use(before)


def below(root: ObjectPath, places: Iterable[ObjectPath]) -> list[str]:
    """Give what follows the prefix, sorted."""
    return sorted(each.uri.removeprefix(f"{root.uri}/") for each in places)


class TestNames:
    """The parts of a name, as of a path."""

    def test_a_path_has_the_parts_of_a_path(self) -> None:
        """Key, name, stem, extension, parent and neighbours."""
        path = ObjectPath("s3://bucket/lake") / "backbones" / "net-64.v2.json"
        assert (path.key, path.name) == ("lake/backbones/net-64.v2.json", "net-64.v2.json")
        assert (path.stem, path.suffix) == ("net-64.v2", ".json")
        assert path.parent == ObjectPath("s3://bucket/lake/backbones")
        assert path.with_suffix(".tflite") == path.with_name("net-64.v2.tflite") == path.parent / "net-64.v2.tflite"
        assert str(path) == path.as_uri() == "s3://bucket/lake/backbones/net-64.v2.json"

    @pytest.mark.parametrize("name", ["stream", ".hidden"])
    def test_a_name_without_extension_is_its_stem(self, name: str) -> None:
        """A leading dot begins none."""
        path = ObjectPath("s3://bucket") / name
        assert (path.stem, path.suffix) == (name, "")

    def test_paths_are_equal_by_their_uri(self, root: ObjectPath) -> None:
        """Whatever a listing has told of one."""
        (root / "a").write_bytes(b"x")
        (found,) = root.iterdir()
        assert found == root / "a"
        assert {found, root / "a"} == {root / "a"}

    @pytest.mark.parametrize(
        ("key", "can"),
        [("a b/ü+%.jpg", True), ("a//b", False), ("a/./b", False), ("../b", False), ("a\tb", False), ("a\x85", False)],
    )
    def test_keys_that_obstore_cannot_name_are_told(self, key: str, can: bool) -> None:
        """Empty, single and double dots between slashes, and control characters."""
        assert addressable(key) == can


class TestFolders:
    """Prefixes are folders; Hadoop's marks of folders are no files."""

    def test_a_folder_is_there_while_an_object_lies_below(self, root: ObjectPath) -> None:
        """It is made by its first object and gone with its last; a neighbour's name does not make it."""
        assert not root.exists()
        assert not root.is_dir()
        root.mkdir(parents=True, exist_ok=True)
        assert not root.exists()
        (root / "a" / "b").write_bytes(b"x")
        assert (root.is_dir(), root.is_file(), root.exists()) == (True, False, True)
        assert (root / "a" / "b").is_file()
        assert not (root / "a" / "b").is_dir()
        (root / "a" / "b").unlink()
        assert not root.exists()

    def test_what_lies_right_below_is_told(self, root: ObjectPath, aws: Cloud) -> None:
        """Objects with their size and version, and folders, once each; nothing of what lies deeper."""
        put(aws, root, "a", "f/b", "f/g/c")
        assert below(root, root.iterdir()) == ["a", "f"]
        (found,) = (each for each in root.iterdir() if each.name == "a")
        assert found.stat().st_size == 5
        assert found.stat() == (root / "a").stat()

    def test_marks_of_folders_are_not_told(self, root: ObjectPath, aws: Cloud) -> None:
        """Neither as objects of the folder nor of the one above; an empty object without a slash is one."""
        put(aws, root, "f/b")
        mark(aws, root, "", "f/", "f/g/")
        put(aws, root, "f/empty", content=b"")
        assert below(root, (root / "f").iterdir()) == ["f/b", "f/empty", "f/g"]
        assert below(root, root.walk_files()) == ["f/b", "f/empty"]
        assert not (root / "f").is_file()
        assert (root / "f" / "empty").is_file()

    def test_a_folder_of_marks_alone_is_none(self, root: ObjectPath, aws: Cloud) -> None:
        """Hadoop leaves them behind."""
        mark(aws, root, "", "f/", "f/g/")
        assert not root.is_dir()
        assert not (root / "f").exists()

    def test_where_nothing_lies_there_is_nothing_to_tell(self, root: ObjectPath) -> None:
        """As with a folder that is not there; walking it yields nothing."""
        with pytest.raises(FileNotFoundError, match=f"nothing lies below {root.uri}/none"):
            list((root / "none").iterdir())
        assert list((root / "none").walk_files()) == []

    def test_a_pattern_finds_what_lies_right_below(self, root: ObjectPath, aws: Cloud) -> None:
        """Of one folder, whose name it may begin with; where there is none it finds nothing."""
        put(aws, root, "_delta_log/1.json", "_delta_log/x.crc", "2.json", "f/3.json")
        assert below(root, root.glob("*.json")) == ["2.json"]
        assert below(root, root.glob("_delta_log/[0-9]*.json")) == ["_delta_log/1.json"]
        assert below(root, root.glob("f*")) == ["f"]
        assert list(root.glob("none/*")) == []

    def test_a_folder_is_deleted_whole(self, root: ObjectPath, aws: Cloud) -> None:
        """And no neighbour; deleting it again does no harm."""
        put(aws, root, "a", "f/b", "f/g/c", "f2")
        for _ in range(2):
            (root / "f").rmtree()
            assert keys(aws, root) == ["lake-2/c", "lake/a", "lake/f2"]


class TestContents:
    """Objects are whole or not there."""

    def test_what_was_put_is_read(self, root: ObjectPath) -> None:
        """As bytes, as text, and in part; a second put replaces it."""
        assert (root / "a").write_bytes("ümlaut".encode()) == 7
        assert (root / "a").read_bytes() == "ümlaut".encode()
        assert (root / "a").read_text() == "ümlaut"
        assert (root / "a").range(2, 3) == b"mla"
        (root / "a").write_bytes(b"other")
        assert (root / "a").read_bytes() == b"other"

    def test_a_put_can_demand_that_nothing_is_there(self, root: ObjectPath) -> None:
        """The first wins; what it put stays."""
        (root / "a").put(b"first")
        with pytest.raises(FileExistsError, match="there already"):
            (root / "a").put(b"second")
        assert (root / "a").read_bytes() == b"first"

    def test_a_put_can_demand_the_version_it_has_seen(self, root: ObjectPath) -> None:
        """Whoever has not seen the newest puts nothing, also where the object has gone."""
        first = (root / "a").put(b"first")
        second = (root / "a").put(b"second", over=first)
        with pytest.raises(FileExistsError, match="another version"):
            (root / "a").put(b"late", over=first)
        assert (root / "a").read_version() == (b"second", second)
        (root / "a").unlink()
        with pytest.raises(FileExistsError):
            (root / "a").put(b"late", over=second)
        assert not (root / "a").exists()

    def test_a_listing_tells_the_version_that_a_put_gave(self, root: ObjectPath) -> None:
        """So that what a listing has told may be replaced."""
        version = (root / "a").put(b"x")
        (found,) = root.iterdir()
        assert found.stat().e_tag == version

    @pytest.mark.parametrize("call", ["read_bytes", "read_text", "read_version", "stat", "open"])
    def test_what_is_not_there_is_not_found(self, call: str, root: ObjectPath) -> None:
        """As with files, and with the name."""
        with pytest.raises(FileNotFoundError, match=f"{root.uri}/none is not there"):
            getattr(root / "none", call)()

    def test_deleting_what_is_not_there_is_not_noticed(self, root: ObjectPath) -> None:
        """S3 does not tell."""
        (root / "none").unlink()
        (root / "none").unlink(missing_ok=True)

    def test_a_store_that_refuses_is_not_permitted(self, aws: Cloud) -> None:
        """It is an OSError of the kind that a file system raises, with the store's words, and asked but once."""
        asked: list[str] = []

        def refuse(request: Request) -> Answer:
            asked.append(request.line)
            return refusal(403, "AccessDenied", "not yours")

        with answering(refuse) as way, used(way), pytest.raises(PermissionError, match=r"AccessDenied: not yours"):
            ObjectPath("s3://bucket/lake/a").read_bytes()
        assert asked == ["GET /bucket/lake/a"]

    @pytest.mark.parametrize("code", ["SlowDown", "ServiceUnavailable"])
    def test_what_may_pass_is_told_from_what_lasts(self, code: str) -> None:
        """And once it has been tried for long enough it is an OSError of no kind: nobody takes the object for gone."""
        error = exceptions.GenericError(f"503: <Error><Code>{code}</Code><Message>busy</Message></Error>")
        assert passing(error)
        assert not passing(exceptions.PermissionDeniedError("403"))
        with (
            pytest.raises(OSError, match=f"s3://bucket/a does not answer: {code}: busy") as met,
            translated("s3://bucket/a"),
        ):
            raise error
        assert type(met.value) is OSError


class TestMoving:
    """Renaming copies and deletes."""

    def test_an_object_is_renamed(self, root: ObjectPath) -> None:
        """Over what was there."""
        (root / "a").write_bytes(b"new")
        (root / "b").write_bytes(b"old")
        assert (root / "a").replace(root / "b") == root / "b"
        assert below(root, root.walk_files()) == ["b"]
        assert (root / "b").read_bytes() == b"new"

    def test_a_folder_is_renamed_with_all_below(self, root: ObjectPath, aws: Cloud) -> None:
        """Names below stay; a neighbour whose name begins like it stays too."""
        put(aws, root, "f/b", "f/g/c", "f2/d")
        (root / "f").rename(root / "aside" / "f-1")
        assert below(root, root.walk_files()) == ["aside/f-1/b", "aside/f-1/g/c", "f2/d"]
        assert (root / "aside" / "f-1" / "g" / "c").read_bytes() == b"12345"

    def test_what_is_not_there_cannot_be_renamed(self, root: ObjectPath) -> None:
        """And nothing comes of it."""
        with pytest.raises(FileNotFoundError):
            (root / "none").rename(root / "b")
        assert not root.exists()


class TestFiles:
    """Objects are opened as files."""

    def test_an_object_is_read_here_and_there(self, root: ObjectPath) -> None:
        """From its end, too, and no further than it."""
        (root / "a").write_bytes(b"0123456789")
        with (root / "a").open() as file:
            assert (file.seek(7), file.read()) == (7, b"789")
            assert (file.seek(-4, io.SEEK_END), file.read(2), file.tell()) == (6, b"67", 8)
            assert (file.seek(1, io.SEEK_CUR), file.read(5), file.read(5)) == (9, b"9", b"")

    def test_an_object_that_is_written_is_there_once_it_is_closed(self, root: ObjectPath) -> None:
        """Not before, so that no reader sees half of it."""
        with (root / "a").open("xb") as file:
            file.write(b"01")
            file.write(b"23")
            assert file.tell() == 4
            assert not (root / "a").exists()
        assert (root / "a").read_bytes() == b"0123"

    def test_an_object_that_was_given_up_is_not_there(self, root: ObjectPath) -> None:
        """Without closing it, as a process that ends does."""
        file = (root / "a").open("xb")
        file.write(b"half")
        del file
        assert not (root / "a").exists()

    def test_a_parquet_file_goes_through(self, root: ObjectPath) -> None:
        """Written and read by Arrow, by columns."""
        table = pa.table({"uri": [f"file:///{number}" for number in range(999)], "n": range(999)})
        with (root / "a.parquet").open("xb") as file:
            pq.write_table(table, file, row_group_size=100)
        with (root / "a.parquet").open() as file:
            assert pq.read_table(file, columns=["n"]) == table.select(["n"])


class TestTroubles:
    """Outages are waited for, and counted by what was tried."""

    @pytest.fixture
    def there(self, proxied: Cloud, proxy: FaultProxy) -> ObjectPath:
        """Put an object that is reached by the proxy, before it does harm; nothing has been counted yet."""
        path = ObjectPath(f"s3://{proxied.bucket()}/lake/a")
        path.write_bytes(PICTURE)
        RETRIED.taken()
        return path

    @pytest.mark.parametrize("kind", ["slow_down", "internal_error", "reset", "truncated"])
    def test_reads_outlast_them(self, kind: str, there: ObjectPath, proxy: FaultProxy) -> None:
        """Every byte comes, once the store answers."""
        proxy.set(Faults(share=0.4, kinds=(kind,), seed=3))
        assert [there.read_bytes() == PICTURE for _ in range(3)] == [True] * 3
        with there.open() as file:
            assert file.read() == PICTURE
        assert list(there.parent.walk_files()) == [there]
        retried = RETRIED.taken()
        assert "lake get" in retried
        assert set(retried) <= {"lake get", "lake head", "lake list"}

    def test_writes_outlast_them(self, there: ObjectPath, proxy: FaultProxy) -> None:
        """Puts, copies and deletions, too."""
        proxy.set(Faults(share=0.4, kinds=("slow_down", "internal_error"), seed=1))
        for number in range(2):
            there.with_name(f"{number}").write_bytes(PICTURE[:10])
            there.with_name(f"{number}").rename(there.with_name(f"{number}.moved"))
        proxy.set(Faults())
        assert [each.name for each in there.parent.glob("*")] == [*(f"{number}.moved" for number in range(2)), "a"]
        assert {"lake put", "lake copy", "lake delete"} & set(RETRIED.taken())

    def test_an_object_that_is_not_there_is_not_asked_for_again(self, there: ObjectPath) -> None:
        """That answer will stay the same."""
        with pytest.raises(FileNotFoundError):
            there.with_name("none").read_bytes()
        with pytest.raises(FileExistsError):
            there.put(b"x")
        assert RETRIED.taken() == {}
