"""What decoding each bomb takes of memory, in a process of its own: `python -m tests.security.weighing ROOM`."""

import json
import os
import resource
import sys
import time
from pathlib import Path

from conf.errors import Rejected
from streaming.backbones.backbone import Preparation
from streaming.decode import decode
from streaming.isolate import bounded
from tests.security.bombs import BOMBS, NO_ROOM, PICTURE, PIXEL_LIMIT


def main() -> None:
    """Print for each bomb, as a line of JSON: name, outcome, bytes by which the process grew, seconds."""
    room = int(sys.argv[1])
    for name, bomb in BOMBS.items():
        data = bomb.make()
        child = os.fork()
        if not child:
            before, begun = _bytes_now(), time.perf_counter()
            outcome = _outcome(data, room)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
            print(json.dumps([name, outcome, grown, time.perf_counter() - begun]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def _outcome(data: bytes, room: int) -> str:
    try:
        picture = bounded(decode, room)(data, Preparation(32), PIXEL_LIMIT)
    except Rejected as rejected:
        return rejected.reason
    except MemoryError:
        return NO_ROOM
    return PICTURE if picture.width * picture.height <= PIXEL_LIMIT else f"{picture.width} x {picture.height}"


def _bytes_now() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
