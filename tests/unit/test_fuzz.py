"""The fuzzer: that it would see what it looks for, and the corpus that it has gathered so far."""

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.decode import decode
from tests.fuzz import corpus
from tests.fuzz.__main__ import main
from tests.fuzz.anatomy import anatomy
from tests.fuzz.child import Child
from tests.fuzz.corpus import Case
from tests.fuzz.growing import grown, renewed
from tests.fuzz.mutations import LONGEST, mutated
from tests.fuzz.outcome import NO_ROOM, Outcome, general
from tests.fuzz.report import Extreme, Report
from tests.fuzz.search import room
from tests.fuzz.seeds import seeds, wide_seeds
from tests.fuzz.smaller import smaller
from tests.fuzz.trial import Trial
from tests.fuzz.untidy import FAULTS, grumbling, untidied, untidy
from tests.fuzz.witness import Task
from tests.unit.hostile import harmful, vulnerable
from tests.unit.pictures import FILES, LIMIT, STILL

linux = pytest.mark.skipif(sys.platform != "linux", reason="the fuzzer reads from Linux's /proc")
CORPUS = corpus.read()


def task(data: bytes, again: bool = False) -> Task:
    """Give the task of decoding a file as the corpus' outcomes are meant."""
    return Task(data, STILL, LIMIT, room(LIMIT), again)


@pytest.fixture(scope="module")
def replaying() -> Iterator[Child]:
    """Give a process that decodes."""
    with Child(decode, seconds=30) as child:
        yield child


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    """Give a process whose decoder does wrong what a picture says."""
    with Child(untidy, seconds=30) as child:
        yield child


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """Give a decoder on trial that some pictures harm."""
    with Trial(vulnerable, seconds=3) as trial:
        yield trial


@linux
class TestCorpus:
    """Small files, each of which ended in a way of its own."""

    @pytest.mark.parametrize("case", CORPUS, ids=[case.name for case in CORPUS])
    def test_it_ends_as_it_did(self, case: Case, replaying: Child) -> None:
        """Reason and message are the same, and no promise is broken.

        After an upgrade of Pillow messages may differ: `python -m tests.fuzz --renew` writes them anew, for review.
        """
        seen = replaying.observe(task(case.data, again=True))
        assert (seen.outcome, seen.faults) == (case.outcome, ())

    def test_it_stays_small(self) -> None:
        """A hundred files of some hundred bytes."""
        assert len(CORPUS) > 100
        assert sum(len(case.data) for case in CORPUS) < 64_000

    def test_it_holds_every_listed_reason_of_every_format(self) -> None:
        """What is replayed covers what `decode` lists."""
        reasons = {"picture", "not_a_picture", "too_many_pixels", "truncated", "corrupt"}
        for kind in ("jpeg", "png", "gif", "webp", "bmp", "tiff"):
            missing = reasons - {case.outcome.result for case in CORPUS if case.outcome.kind == kind}
            assert missing <= {"not_a_picture"}, kind

    def test_it_can_be_written_and_read(self, tmp_path: Path) -> None:
        """What is written replaces what was there."""
        corpus.write(tmp_path, CORPUS[:3])
        corpus.write(tmp_path, CORPUS[2:5])
        assert sorted(case.name for case in corpus.read(tmp_path)) == sorted(case.name for case in CORPUS[2:5])
        assert len(list(tmp_path.iterdir())) == 4


@linux
class TestWitness:
    """What is seen of a decoding."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_every_broken_promise_is_seen(self, fault: str, child: Child) -> None:
        """A decoder that does one thing wrong is accused of that, and of nothing else."""
        (told,) = child.observe(task(untidied(FILES["png"], fault), again=True)).faults
        assert fault in told

    @pytest.mark.parametrize("name", FILES)
    def test_a_sound_picture_is_not_accused(self, name: str, child: Child) -> None:
        """After all of that, pictures of every kind pass, decoded three times."""
        assert child.observe(task(FILES[name], again=True)).faults == ()

    def test_memory_is_measured(self, child: Child) -> None:
        """A picture of a megapixel takes megabytes, and within a factor of two always as many; a small one does not."""
        wide = task(wide_seeds()["wide float tiff"])
        child.observe(wide)
        first, second = child.observe(wide).peak, child.observe(wide).peak
        assert 4_000_000 < first < room(LIMIT)
        assert 0.5 < second / first < 2
        assert child.observe(task(FILES["bmp"])).peak < 1_000_000

    def test_lines_are_told_once(self) -> None:
        """Another picture of a kind runs few lines that the first one has not run."""
        with Child(decode, seconds=30) as child:
            first, second = (child.observe(task(FILES[name])).lines for name in ("png", "animated png"))
        assert any(line.startswith("PngImagePlugin.py:") for line in first)
        assert not set(first) & set(second)
        assert len(second) < len(first)


@linux
class TestTrial:
    """What becomes of a picture that its process does not come through."""

    @pytest.mark.parametrize("harm", ["segfault", "leave", "babble"])
    def test_a_crash_is_a_fault_though_isolation_contains_it(self, harm: str, trial: Trial) -> None:
        """It is told how the process ended; the next picture is decoded."""
        seen = trial.of(task(harmful(FILES["png"], harm)))
        assert seen.outcome.result == "crashed"
        assert len(seen.faults) == 1
        assert seen.faults[0].startswith("crashed: ")
        assert trial.of(task(FILES["png"])).outcome == Outcome("png", "picture", "png")

    def test_a_hang_that_isolation_ends_is_none(self, trial: Trial) -> None:
        """The reason is listed, and the process is gone."""
        seen = trial.of(task(harmful(FILES["png"], "spin")))
        assert (seen.outcome.result, seen.faults) == ("timed_out", ())

    def test_no_room_is_none(self, trial: Trial) -> None:
        """Isolation is asked, and rejects it."""
        seen = trial.of(task(harmful(FILES["png"], "devour")))
        assert (seen.outcome.result, seen.faults) == (NO_ROOM, ())


class TestMutations:
    """How files are damaged."""

    @given(
        st.one_of(
            st.binary(max_size=300), st.builds(lambda a, b: a + b, st.sampled_from(list(FILES.values())), st.binary())
        )
    )
    @example(b"II*\0\x08\0\0\0\xff\xff")
    @example(b"RIFF\0\0\0\0WEBPANMF\xff\xff\xff\xff")
    def test_an_anatomy_lies_within_its_file(self, data: bytes) -> None:
        """Whatever the bytes, parts cover the file and fields lie within it."""
        known = anatomy(data)
        assert {0, len(data)} <= set(known.cuts) <= set(range(len(data) + 1))
        assert known.cuts == tuple(sorted(known.cuts))
        assert all(0 <= field.at <= field.at + field.size <= len(data) for field in known.fields)

    @pytest.mark.parametrize("name", FILES)
    def test_real_files_have_parts_and_fields(self, name: str) -> None:
        """Among the fields of every format are the picture's width and height."""
        known = anatomy(FILES[name])
        assert len(known.cuts) > 2
        values = [field.value(FILES[name]) for field in known.fields]
        assert values.count(40) >= 2 or values.count(39) >= 2 or name in ("webp", "lossless webp")

    @given(st.integers(0, 1 << 32), st.sampled_from(list(FILES.values())))
    def test_the_seed_decides_everything(self, seed: int, data: bytes) -> None:
        """The same numbers give the same file, of bounded length."""
        pool = list(FILES.values())
        first, second = (mutated(data, random.Random(seed), pool) for _ in range(2))
        assert first == second
        assert len(first) <= LONGEST

    def test_most_are_damaged_and_few_beyond_recognition(self) -> None:
        """Nine of ten differ from their file, and still begin as some picture does."""
        rng, pool = random.Random(1), list(FILES.values())
        pairs = [(data, mutated(data, rng, pool)) for _ in range(20) for data in pool]
        assert sum(before != after for before, after in pairs) > 0.9 * len(pairs)
        assert sum(before[:2] == after[:2] for before, after in pairs) > 0.8 * len(pairs)

    def test_seeds_are_of_every_kind(self) -> None:
        """Every seed that is named after a format is a picture of it."""
        for name, data in (seeds(photos=0) | wide_seeds()).items():
            if (kind := name.split()[-1]) in ("jpeg", "mpo", "png", "gif", "webp", "bmp", "tiff"):
                assert decode(data, STILL, LIMIT).format == kind, name


class TestSmaller:
    """How what was found is made small."""

    @given(st.binary(max_size=60), st.binary(min_size=1, max_size=3), st.binary(max_size=60))
    def test_only_what_is_needed_stays(self, before: bytes, needed: bytes, after: bytes) -> None:
        """Of a file that does it for a few bytes in a row, these are left."""
        assert smaller(before + needed + after, lambda data: needed in data) == needed

    @given(st.binary(max_size=60), st.integers(0, 20))
    def test_it_asks_no_more_often_than_it_may(self, data: bytes, tries: int) -> None:
        """However long the file."""
        asked = Mock(return_value=False)
        smaller(data, asked, tries)
        assert asked.call_count <= tries


@linux
class TestRun:
    """The command."""

    def test_a_broken_promise_is_kept_and_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The exit code is 1; the file is as small as it can be, beside a line that repeats it."""
        arguments = ["--executions", "30", "--corpus", str(tmp_path / "none"), "--found", str(tmp_path / "found")]
        assert main(arguments, grumbling) == 1
        assert "warned an x" in capsys.readouterr().out
        (said,) = (tmp_path / "found").glob("*.json")
        assert said.with_suffix("").read_bytes() == b"x"
        again = json.loads(said.read_text())["again"]
        assert again.startswith("--seed 1 --executions ")
        assert main([*arguments, *again.split()], grumbling) == 1

    def test_a_sound_decoder_passes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The exit code is 0; the last line is JSON; the same seed counts the same."""
        arguments = ["--executions", "150", "--seed", "3", "--found", str(tmp_path / "found")]
        told = []
        for _ in range(2):
            assert main(arguments) == 0
            told.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
        first, second = told
        assert first["executions"] == 150
        assert first["results"] == second["results"]
        assert sorted(each.name for each in (tmp_path / "found").iterdir()) == ["hungriest", "slowest"]

    def test_the_corpus_grows_by_what_is_new(self) -> None:
        """A file with an outcome that the corpus lacks is added, made small; one that it has is not."""
        (picture,) = [case for case in CORPUS if case.outcome == Outcome("png", "picture", "png")]
        cut = FILES["png"][:1000]
        cases = grown([picture], [FILES["png"], cut], decode)
        assert cases[0] == picture
        assert [case.outcome.result for case in cases] == ["picture", "truncated"]
        assert len(cases[1].data) < len(cut)

    def test_the_corpus_is_renewed_by_what_its_files_end_in(self) -> None:
        """Files stay; expectations that no longer hold go."""
        stale = [Case(case.data, Outcome(case.outcome.kind, "corrupt", "as it was long ago")) for case in CORPUS[:5]]
        assert renewed(stale, decode) == CORPUS[:5]


def test_reports_of_several_cores_add_up() -> None:
    """Counts are summed, extremes are the greater ones, and time is that of the longest."""
    png, gif = Outcome("png", "picture", "png"), Outcome("gif", "corrupt", "~")
    first = Report(1, 10, 1, 5.0, Counter({png: 10}), {"a:1"}, peak=Extreme(3.0, b"", "small"))
    second = Report(2, 20, 2, 6.0, Counter({png: 5, gif: 15}), {"a:1", "a:2"}, peak=Extreme(4.0, b"", "large"))
    both = first.plus(second)
    assert (both.seed, both.executions, both.starts, both.seconds) == (1, 30, 3, 6.0)
    assert both.outcomes == {png: 15, gif: 15}
    assert (both.peak.about, len(both.lines), both.of_result("corrupt")) == ("large", 2, 15)
    assert any(line.startswith("gif") and "15 (1)" in line for line in both.table())


def test_messages_of_one_kind_are_one() -> None:
    """Numbers and quotations of the file are left out."""
    assert general("400,000,000 pixels in 'IDAT' at -3") == "~ pixels in ~ at ~"
