"""Mutations: a real file becomes a hostile one, by what its format says of its bytes or by blind chance."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence

from tests.fuzz.anatomy import Anatomy, Field, Order, anatomy

LONGEST = 1 << 16  # bytes of a file; a picture that harms more the longer it is shows at this length
_TEMPTING = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 43, 63, 64, 65, 127, 128, 129, 254, 255, 256, 257),
    *(999, 1000, 1001, 8191, 9000, 16383, 16384, 30000, 32767, 32768, 46341, 65500, 65535, 65536, 1 << 20, 1 << 24),
    *((1 << 28) - 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 33, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)
_CHUNKS: tuple[bytes, ...] = (
    b"tRNS",
    b"PLTE",
    b"gAMA",
    b"cHRM",
    b"sRGB",
    b"pHYs",
    b"iCCP",
    b"zTXt",
    b"iTXt",
    b"tEXt",
    b"eXIf",
    b"acTL",
)
_CHUNKS += (b"fcTL", b"fdAT", b"IDAT", b"IEND", b"IHDR", b"aaaa", b"AAAA")
_MARKERS = (*range(0xC0, 0xD0), *range(0xD8, 0xE3), 0xED, 0xEE, 0xFE)
_TAGS: tuple[int, ...] = (
    254,
    256,
    257,
    258,
    259,
    262,
    266,
    270,
    273,
    274,
    277,
    278,
    279,
    282,
    284,
    296,
    305,
    317,
    320,
    321,
    322,
    323,
)
_TAGS += (324, 325, 330, 332, 338, 339, 347, 513, 514, 529, 530, 532, 700, 33432, 34377, 34665, 34675, 34853, 40961)
_TAG_VALUES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 32773, 32946, 34676, 34677, 34712, 34925, 50000, 50001, 50002)


def mutated(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    """Damage a file some times over.

    Parameters
    ----------
    data : bytes
        The file; it may be damaged already.
    rng : random.Random
        Decides everything.
    pool : sequence of bytes
        Files whose parts may be taken.

    Returns
    -------
    bytes
        At most `LONGEST`.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        known = anatomy(data)
        kinds = _BLIND if not known.fields or rng.random() < 0.3 else (*_SHAPED, *_OF_FORMAT.get(known.kind, ()))
        data = rng.choice(kinds)(data, known, rng, pool)[:LONGEST]
    return _consistent(data, rng)


def _consistent(data: bytes, rng: random.Random) -> bytes:
    """Mend mostly what stands between damage and the code behind it: checksums, and the length of the whole."""
    if data.startswith(b"\x89PNG") and rng.random() < 0.95:
        return _with_checksums(data)
    if data.startswith(b"RIFF") and rng.random() < 0.7:
        return data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]
    return data


def _with_checksums(data: bytes) -> bytes:
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(mended)


def _somewhere(data: bytes, rng: random.Random) -> int:
    """Choose a position, near the beginning rather than anywhere."""
    return rng.randrange(min(len(data), rng.choice((32, 128, 1024, LONGEST)))) if data else 0


def _flip(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    at = _somewhere(data, rng)
    return data[:at] + bytes([byte ^ 1 << rng.randrange(8) for byte in data[at : at + 1]]) + data[at + 1 :]


def _overwrite(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    at, patch = _somewhere(data, rng), _patch(rng)
    return data[:at] + patch + data[at + len(patch) :]


def _insert(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    at = _somewhere(data, rng)
    return data[:at] + _patch(rng) + data[at:]


def _delete(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    at = _somewhere(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 100)) :]


def _repeat(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    at, size = _somewhere(data, rng), rng.choice((1, 2, 8, 50))
    return data[:at] + data[at : at + size] * rng.choice((2, 3, 20, 300)) + data[at + size :]


def _cut(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    return data[: rng.randint(0, len(data))]


def _cross(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    other = rng.choice(pool)
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _patch(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        size = rng.choice((1, 2, 4))
        order: Order = rng.choice(("big", "little"))
        return (rng.choice(_TEMPTING) % (1 << 8 * size)).to_bytes(size, order)
    return rng.choice((rng.randbytes(rng.randint(1, 12)), b"\xff" * 16, bytes(16)))


def _set(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    """Give a field a value that programs stumble over: a border, a neighbour, a length, another field's."""
    field = rng.choice(known.fields)
    now = field.value(data)
    other = rng.choice(known.fields).value(data)
    value = rng.choice((rng.choice(_TEMPTING), rng.choice(_TEMPTING), now + rng.choice((-1, 1)), now * 2, other))
    return _with(data, field, rng.choice((value, value, value, len(data) + rng.randint(-2, 2), rng.getrandbits(64))))


def _with(data: bytes, field: Field, value: int) -> bytes:
    written = (value % (1 << 8 * field.size)).to_bytes(field.size, field.order)
    return data[: field.at] + written + data[field.at + field.size :]


def _drop_part(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    start, end = _part(known, rng)
    return data[:start] + data[end:]


def _repeat_part(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    start, end = _part(known, rng)
    times = min(rng.choice((2, 2, 2, 3, 3, 10, 10, 100, LONGEST)), LONGEST // max(1, end - start))
    return data[:start] + data[start:end] * times + data[end:]


def _move_part(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    start, end = _part(known, rng)
    rest, at = data[:start] + data[end:], rng.choice(known.cuts)
    return rest[:at] + data[start:end] + rest[at:]


def _foreign_part(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    """Put in a part of another file, or put it in a part's place."""
    other = rng.choice([each for each in rng.sample(pool, min(8, len(pool))) if each[:2] == data[:2]] or [data])
    first, last = _part(anatomy(other), rng)
    start, end = _part(known, rng)
    return data[:start] + other[first:last] + data[rng.choice((start, end)) :]


def _part(known: Anatomy, rng: random.Random) -> tuple[int, int]:
    which = rng.randrange(len(known.cuts) - 1) if len(known.cuts) > 1 else 0
    return known.cuts[which], known.cuts[min(which + 1, len(known.cuts) - 1)]


def _png_chunk(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    """Put in a chunk of any kind; those that are compressed may unfold to megabytes."""
    kind, body = rng.choice(_CHUNKS), rng.randbytes(rng.choice((0, 1, 2, 3, 4, 6, 8, 26, 40)))
    if kind in (b"iCCP", b"zTXt"):
        body = b"name\0\0" + zlib.compress(bytes(rng.choice((9, 900, 1 << 20, 9 << 20))))
    at = rng.choice(known.cuts)
    return data[:at] + struct.pack(">I", len(body)) + kind + body + bytes(4) + data[at:]


def _png_pixels(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    """Damage what the pixels' chunk unfolds to: filters, and how many rows there are."""
    start = data.find(b"IDAT") - 4
    end = start + 12 + int.from_bytes(data[max(0, start) : start + 4], "big")
    try:
        rows = zlib.decompress(data[start + 8 : end - 4])
    except (zlib.error, ValueError):
        return data
    packed = zlib.compress(rng.choice(_BLIND)(rows, known, rng, pool)[:LONGEST], rng.choice((0, 1, 9)))
    return data[:start] + struct.pack(">I", len(packed)) + b"IDAT" + packed + bytes(4) + data[end:]


def _jpeg_segment(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    at, body = rng.choice(known.cuts[1:]), rng.randbytes(rng.choice((0, 1, 4, 15, 65)))
    body = (
        rng.choice((b"", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0", b"ICC_PROFILE\0", b"Adobe\0d\0\0\0\0", b"MPF\0"))
        + body
    )
    return data[:at] + struct.pack(">BBH", 0xFF, rng.choice(_MARKERS), len(body) + 2) + body + data[at:]


def _tiff_entry(data: bytes, known: Anatomy, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    """Write the first directory anew at the end of the file, an entry more, so that every offset stays right."""
    order = ">" if data.startswith(b"MM") else "<"
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (number,) = struct.unpack_from(f"{order}H", data, start)
    except struct.error:
        return data
    entries = [data[at : at + 12] for at in range(start + 2, start + 2 + 12 * min(number, 99), 12)]
    count = rng.choice((1, 1, 1, 2, 3, 4, 0, 100, 1 << 31))
    value = rng.choice((*_TAG_VALUES, *_TAG_VALUES, rng.choice(_TEMPTING) % (1 << 32), len(data)))
    kind = rng.choice((3, 4, rng.randint(0, 18)))
    packed = struct.pack(f"{order}HH", value % 65536, 0) if kind == 3 else struct.pack(f"{order}I", value)
    entries.insert(rng.randint(0, len(entries)), struct.pack(f"{order}HHI", rng.choice(_TAGS), kind, count) + packed)
    if rng.random() < 0.3:
        del entries[rng.randrange(len(entries))]
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack(f"{order}I", len(data)) + data[8:] + directory


Mutation = Callable[[bytes, Anatomy, random.Random, Sequence[bytes]], bytes]
_BLIND: tuple[Mutation, ...] = (_flip, _flip, _overwrite, _overwrite, _insert, _delete, _repeat, _cut, _cross)
_SHAPED: tuple[Mutation, ...] = (_set, _set, _set, _set, _drop_part, _repeat_part, _move_part, _foreign_part)
_OF_FORMAT: dict[str, tuple[Mutation, ...]] = {
    "png": (_png_chunk, _png_pixels),
    "jpeg": (_jpeg_segment,),
    "tiff": (_tiff_entry, _tiff_entry),
}
