"""The fixed list of reasons for which a picture has no features, each with its sentence."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a picture was rejected.

    The value is what stands in the `rejection` column. `sentence` explains it to a person; `retriable` says
    whether trying the same version of the picture again can end differently.
    """

    sentence: str
    retriable: bool

    def __new__(cls, value: str, sentence: str, retriable: bool = False) -> "Reason":
        """Carry the sentence and the flag beside the string value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        member.retriable = retriable
        return member

    EMPTY = "empty", "The file has no bytes."
    NOT_A_PICTURE = "not_a_picture", "The bytes are no picture in a format that Verger reads."
    TRUNCATED = "truncated", "The picture ends before its last row of pixels."
    CORRUPT = "corrupt", "The picture's data contradicts its own format."
    TOO_MANY_PIXELS = "too_many_pixels", "Width times height is over the pixel limit."
    TOO_MANY_BYTES = "too_many_bytes", "The file is over the byte limit."
    GONE = "gone", "The picture was deleted between its arrival and its fetch, or its link leads nowhere.", True
    CHANGED = (
        "changed",
        "The picture was overwritten between its arrival and its fetch; the new version arrives by itself.",
    )
    FORBIDDEN = "forbidden", "The landing answers, but this picture may not be read.", True
    UNADDRESSABLE = (
        "unaddressable",
        "The key has an empty segment, a dot segment or a control character, which the object client cannot name.",
    )
    CRASHED = "crashed", "The decoder crashed on it, or needed too much memory, in a process of its own.", True
    TIMED_OUT = "timed_out", "Decoding did not end within the time limit, in a process of its own.", True
    NON_FINITE = "non_finite", "The backbone gave a vector that is not finite."
