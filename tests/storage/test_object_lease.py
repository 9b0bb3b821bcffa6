import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from conf import lease
from conf.errors import LakeError, LeaseLost
from conf.lease import Fence, record
from conf.objects import ObjectPath
from tests.storage.cloud import Cloud

_PROGRAM = """
    import sys
    from conf import lease
    from conf.errors import LeaseLost
    from conf.objects import ObjectPath
    try:
        with lease.hold(ObjectPath(sys.argv[1]), seconds=float(sys.argv[2])) as held:
            print("held", flush=True)
            for line in sys.stdin:
                held.check()
                print("sure", flush=True)
    except LeaseLost as error:
        print(f"lost: {error}", flush=True)
"""


@pytest.fixture
def place(aws: Cloud) -> ObjectPath:
    """Give the place of a lease in a bucket of its own."""
    return ObjectPath(f"s3://{aws.bucket('lake')}/a lake/leases/stream")


@contextmanager
def other_process(place: ObjectPath, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Hold the lease in another process while the block runs; each line that it is told has it check."""
    command = [sys.executable, "-c", textwrap.dedent(_PROGRAM), place.uri, str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as process:
        try:
            assert said(process) == "held"
            yield process
        finally:
            process.kill()
            # What it was told and never read cannot be flushed any more.
            with suppress(BrokenPipeError):
                process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    print("check", file=process.stdin, flush=True)


def test_a_lease_in_a_bucket_is_taken_renewed_and_released(place: ObjectPath) -> None:
    """Each put is on a condition that the store keeps."""
    for _ in range(2):
        assert lease.holder(place) is None
        with lease.hold(place) as held:
            held.check()
            assert held.fence is not None
            held.fence.check()
            found = lease.holder(place)
            assert found is not None
            assert found["seconds"] == 60
    assert lease.holder(place) is None


def test_the_store_refuses_whoever_comes_second(place: ObjectPath) -> None:
    """Where none is, where another version is, and where it is gone: what is seen then is what stands there."""
    first, second = (record.new("stream", 60) for _ in range(2))
    seen = record.write(place, first)
    assert seen is not None
    assert record.write(place, second) == seen
    renewed = record.write(place, first.renew(), seen.version)
    assert renewed is not None
    assert renewed.version != seen.version
    assert record.write(place, second, seen.version) == renewed
    place.unlink()
    assert record.write(place, second, renewed.version) is None


def test_a_live_process_is_not_replaced(place: ObjectPath) -> None:
    """It renews from its thread, whatever else it does: here it sleeps."""
    with other_process(place, seconds=6) as process:
        with (
            pytest.raises(LakeError, match=rf"process {process.pid} on .* last renewed "),
            lease.hold(place, seconds=2),
        ):
            pytest.fail("held twice")
        tell(process)
        assert said(process) == "sure"


def test_a_killed_process_is_replaced_once_its_lease_has_run_out(place: ObjectPath) -> None:
    """Whoever waits is told for whom; no clock but its own matters."""
    with other_process(place, seconds=3) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        waits: list[str] = []
        with lease.hold(place, seconds=6, say=waits.append) as held:
            held.check()
        assert len(waits) == 1
        assert f"is held by process {process.pid} on " in waits[0]


def test_a_stopped_process_that_was_replaced_stops_itself_when_it_wakes(place: ObjectPath) -> None:
    """Its check, and those of its workers, say who holds the lease now."""
    with other_process(place, seconds=3) as process:
        process.send_signal(signal.SIGSTOP)
        seen = record.read(place)
        assert seen is not None
        with lease.hold(place, seconds=6) as held:
            held.check()
            process.send_signal(signal.SIGCONT)
            tell(process)
            assert said(process).startswith("lost: this process no longer writes this lake as its `verger stream`")
            with pytest.raises(LeaseLost, match="is held by process"):
                Fence(place, seen.record.token).check()
            held.check()


def test_a_stopped_process_that_nobody_replaced_goes_on(place: ObjectPath) -> None:
    """It renews before it trusts itself again."""
    with other_process(place, seconds=3) as process:
        process.send_signal(signal.SIGSTOP)
        watch = lease.watch(place)
        while not watch.free():
            pass
        process.send_signal(signal.SIGCONT)
        tell(process)
        assert said(process) == "sure"
