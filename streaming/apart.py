"""Pictures fetched and decoded for a person's command: each core has a process for it, where no picture does harm.

What a command reads of a landing is as hostile as what the stream reads, and the machine is a person's own.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue
from threading import Event

from conf.errors import Rejected
from conf.storage import Storage
from streaming.backbones.backbone import Preparation
from streaming.decode import Picture, decode, room_for
from streaming.fetching import Fetcher, Wanted
from streaming.isolate import Decoder, IsolatedDecoder

# For each core: announced bytes of files on their way, and finished pictures that nobody has taken yet.
_BYTES_AHEAD = 16 << 20
_FINISHED = 8
_PATIENCE = 0.2

Decoded = tuple[Wanted, tuple[Picture, ...] | Rejected]
_Said = Decoded | Exception | None


@dataclass(frozen=True)
class Reading:
    """How pictures are read.

    Attributes
    ----------
    storage : Storage
        Where they are.
    preparations : tuple of Preparation
        What each is decoded to.
    pixel_limit, byte_limit : int
        Over them a picture is rejected.
    decode_seconds : float
        The longest that decoding may take, once.
    decode : Decoder
        A function of a module.
    """

    storage: Storage
    preparations: tuple[Preparation, ...]
    pixel_limit: int
    byte_limit: int
    decode_seconds: float
    decode: Decoder = decode


def decoded(pictures: Sequence[Wanted], reading: Reading, cores: int) -> Iterator[Decoded]:
    """Yield each picture with its pixels, one `Picture` for each preparation, or with what it is rejected for.

    They come as they are finished. What is held is a few pictures a core.

    Raises
    ------
    StorageError, IsolationError
        The world's fault; pictures that were finished before have come.
    """
    shares = [share for place in range(cores) if (share := pictures[place::cores])]
    finished: Queue[_Said] = Queue(_FINISHED * cores)
    ended, fetchers = Event(), list[Fetcher]()

    def put(said: _Said) -> None:
        while not ended.is_set():
            with suppress(Full):
                finished.put(said, timeout=_PATIENCE)
                return

    with ThreadPoolExecutor(max(1, len(shares)), "decode") as threads:
        try:
            for share in shares:
                threads.submit(_share, share, reading, put, ended, fetchers)
            yield from _taken(finished, len(shares))
        finally:
            ended.set()
            for each in fetchers:
                each.give_up()


def _taken(finished: "Queue[_Said]", shares: int) -> Iterator[Decoded]:
    while shares:
        said = finished.get()
        if isinstance(said, Exception):
            raise said
        if said is None:
            shares -= 1
        else:
            yield said


def _share(
    pictures: Sequence[Wanted],
    reading: Reading,
    put: Callable[[_Said], None],
    ended: Event,
    fetchers: list[Fetcher],
) -> None:
    """Put the pictures of one core, then None; or what went wrong. Whoever sets `ended` then ends the fetchers."""
    try:
        with (
            IsolatedDecoder(reading.decode, reading.decode_seconds, room_for(reading.pixel_limit)) as decoder,
            Fetcher(reading.storage, reading.byte_limit, bytes_ahead=_BYTES_AHEAD) as fetcher,
        ):
            fetchers.append(fetcher)
            for wanted, content in fetcher.fetched(() if ended.is_set() else pictures):
                if ended.is_set():
                    return
                put((wanted, _all_decoded(content, reading, decoder)))
        put(None)
    except Exception as error:  # whoever takes the pictures raises it
        put(error)


def _all_decoded(content: bytes | Rejected, reading: Reading, decoder: Decoder) -> tuple[Picture, ...] | Rejected:
    if isinstance(content, Rejected):
        return content
    try:
        return tuple(decoder(content, each, reading.pixel_limit) for each in reading.preparations)
    except Rejected as rejection:
        return rejection
