"""Throw hostile bytes at the decoder, and hold every outcome to what `decode` promises.

Real files of every kind are damaged, by what their formats say of their bytes and by chance, and decoded as workers do:
with bounded memory, for a bounded time. What runs a new line of Pillow's Python or of the decoder, or ends in a new
way, is damaged further. A violation is: a death of the process, anything but a picture or a listed reason, a warning,
anything printed, a descriptor or a temporary file left, pixels that depend on what memory held before, and no end in
time where isolation does not bring it. What needs more room or time than there is, and is then rejected in isolation,
is counted. Needs Linux, for its /proc. Run with
`python -m tests.fuzz --seconds 60 [--seed N] [--cores N] [--found DIR]`.
"""

import argparse
import functools
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from streaming.decode import decode
from streaming.isolate import Decoder
from tests.fuzz import corpus
from tests.fuzz.growing import grown, renewed
from tests.fuzz.outcome import Outcome
from tests.fuzz.report import Report
from tests.fuzz.search import Search
from tests.fuzz.seeds import seeds, wide_seeds
from tests.fuzz.telling import Telling


def main(arguments: Sequence[str] | None = None, decoder: Decoder = decode) -> int:
    """Search on every core asked for, print the table, and return the exit code: 1 where a promise was broken."""
    asked = _parser().parse_args(arguments)
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("the fuzzer reads from /proc what a decoding takes: run it on Linux")
    if asked.renew:
        corpus.write(asked.corpus, renewed(corpus.read(asked.corpus), decoder))
        return 0
    reports, shortest = zip(*_searched(asked, decoder), strict=True)
    report = functools.reduce(Report.plus, reports)
    print("\n".join(report.table()))
    print(report.as_json())
    Telling(asked.found).end(report)
    if asked.grow:
        found = [data for each in shortest for data in each.values()]
        corpus.write(asked.corpus, grown(corpus.read(asked.corpus), found, decoder))
    return 1 if report.faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--executions", type=int, help="end after so many, on each core")
    parser.add_argument("--seed", type=int, default=1, help="of the first core; each further core takes the next one")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--patience", type=float, default=10, help="seconds that a picture may take")
    parser.add_argument("--corpus", type=Path, default=corpus.CORPUS, help="begin with its files, too")
    parser.add_argument("--grow", action="store_true", help="add to the corpus what ends in a new way, made small")
    parser.add_argument(
        "--renew", action="store_true", help="only write the corpus anew with what its files end in now"
    )
    parser.add_argument(
        "--found", type=Path, default=Path("fuzz-found"), help="where violations and extremes are written"
    )
    return parser


def _searched(asked: argparse.Namespace, decoder: Decoder) -> list[tuple[Report, dict[Outcome, bytes]]]:
    search = functools.partial(_search, asked, decoder)
    if asked.cores == 1:
        return [search(0)]
    with ProcessPoolExecutor(asked.cores, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(search, range(asked.cores)))


def _search(asked: argparse.Namespace, decoder: Decoder, core: int) -> tuple[Report, dict[Outcome, bytes]]:
    files = [*seeds().values(), *(case.data for case in corpus.read(asked.corpus))]
    search = Search(decoder, files, list(wide_seeds().values()), asked.seed + core, asked.patience)
    with _settled(core):
        search.run(functools.partial(_ended, asked), Telling(asked.found))
    return search.report, search.shortest


@contextmanager
def _settled(core: int) -> Iterator[None]:
    """Keep this process and its child, which take turns, on one core: waking another takes longer than a picture."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[core % len(cores)]})
    yield
    os.sched_setaffinity(0, cores)


def _ended(asked: argparse.Namespace, report: Report) -> bool:
    return bool(report.seconds >= asked.seconds or report.executions == asked.executions)


if __name__ == "__main__":
    sys.exit(main())
