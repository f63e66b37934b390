"""The simulator's own language: what it says, and its own rule for what a token is.

It counts by a rule of its own, so that nothing of the meter that it checks is in the check. The rule is
close to what real vocabularies do with plain prose, and never gives more tokens than bytes.
"""

import re

_TOKEN = re.compile(
    r"(?:[^\r\n\w]|_)?[^\W\d_]{1,12}"  # a word, with the one character before it
    r"|\d{1,3}"
    r"| ?[^\w\s]{1,3}"
    r"|_"
    r"|\s+"
)

_OPENERS = ("The", "Every", "Some", "When", "Here", "Once", "Most", "After", "Our", "Each")

# Each of these words is one token in the vocabularies of the models simulated, also those that are no
# ASCII (they let a chunk be cut in the middle of a character).
_WORDS = tuple(
    " " + word
    for word in [
        "water",
        "river",
        "morning",
        "light",
        "garden",
        "café",
        "letter",
        "window",
        "paper",
        "bridge",
        "answer",
        "number",
        "history",
        "market",
        "engine",
        "東京",
        "signal",
        "silver",
        "mountain",
        "season",
        "journey",
        "kitchen",
        "library",
        "teacher",
        "captain",
        "island",
        "harbor",
        "winter",
        "summer",
        "größer",
        "autumn",
        "spring",
        "forest",
        "meadow",
        "village",
        "station",
        "tunnel",
        "railway",
        "ticket",
        "driver",
        "meter",
        "fare",
        "distance",
        "😊",
        "traveler",
        "lantern",
        "compass",
        "copper",
        "marble",
        "velvet",
        "thunder",
        "shadow",
        "whisper",
        "été",
        "lesson",
        "music",
        "dinner",
        "breakfast",
        "bottle",
        "candle",
        "mirror",
        "pocket",
        "ladder",
        "señor",
        "hammer",
        "basket",
        "blanket",
    ]
)


def tokens(text: str) -> list[str]:
    """Cut a text into its tokens; joined, they are the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return len(_TOKEN.findall(text))


def say(length: int, seed: int) -> list[str]:
    """``length`` tokens of text, the same ones for the same seed."""
    if length <= 0:
        return []
    start = seed % len(_WORDS)
    rounds = (start + length) // len(_WORDS) + 1
    spoken = list((_WORDS * rounds)[start : start + length - 1])
    return [_OPENERS[seed % len(_OPENERS)], *spoken]
