"""Names and labels that somebody may give, to fool whoever looks at them or what reads them."""

import unicodedata

FORGED = "verger: forged"
HOSTILE = {
    "escape sequence": "\x1b[2J\x1b[31mred",
    "title of the window": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "control of eight bits": "\x9b31mred",
    "line break": f"a\n{FORGED}",
    "carriage return": f"a\r{FORGED}",
    "line of Unicode": f"a\u2028{FORGED}\x85{FORGED}",
    "backspace": "good\b\b\b\bevil",
    "direction": "\u202egnp.exe\u202c\u2066\u200f",
    "unseen": "a\u200b\ufeff\u2060\U000e0041b",
    "markup": "[red]x[/red] [link=http://evil.example]y[/link] [/]",
    "emoji": ":apple:",
    "null": "a\0b",
    "tabs": "a\t\v\fb",
}


def unseen(text: str) -> list[str]:
    """Return what of a text a person would not see, line breaks aside, by the names of the characters."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [hex(ord(each)) for each in text if each != "\n" and unicodedata.category(each) in hidden]
