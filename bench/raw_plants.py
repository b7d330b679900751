"""What is planted into documents: copies by counted edits, personal data, secrets, broken encodings.

    changed = edited(words, 4, chance, new_word)          # four edits that do not touch one another
    text, value = with_value(text, PERSONAL["iban"](chance), chance)

Values that look like secrets or like personal data are put together from parts when they are needed: none of them
stands in this file, and telephone numbers come from the ranges that are kept free for films.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable, Sequence

from bench.raw_text import numbered_word

Maker = Callable[[random.Random], str]

_WORD = re.compile(r"\w+")
_BASE64 = string.ascii_letters + string.digits + "-_"
_UPPER = string.ascii_uppercase + string.digits
_SAYINGS = ("Please note {}.", "You can use {} for it.", "Mine is {} since last week.", "They wrote down {} here.")


# --- copies ------------------------------------------------------------------------------------------------------


def edited(units: Sequence[str], edits: int, chance: random.Random, new: Callable[[], str]) -> list[str]:
    """The words (or characters) after so many substitutions, insertions, deletions and swaps of neighbours.

    Each edit works on a pair of units of its own, so no edit undoes another. ``len(units)`` is at least ``2 * edits``.
    """
    changed = list(units)
    for pair in sorted(chance.sample(range(len(units) // 2), edits), reverse=True):
        at = 2 * pair
        match chance.randrange(4):
            case 0:
                changed[at] = new()
            case 1:
                changed.insert(at, new())
            case 2:
                del changed[at]
            case _:
                changed[at], changed[at + 1] = changed[at + 1], changed[at]
    return changed


def respelled(text: str, chance: random.Random, *, spaced: bool) -> str:
    """The same text in another case and with other spaces; without spaces between words, only around the text."""
    if not spaced:
        return chance.choice(("  {}", "{}\n", "\t{} ")).format(text)
    way = chance.randrange(6)
    if way == 0:
        return text.upper()
    if way == 1:
        return text.lower()
    if way == 2:
        return text.replace(" ", "  ")
    if way == 3:
        return f" {text}\n"
    if way == 4:
        return text.replace(" ", "\t", 3)
    return text.title().replace(" ", "\n", 2)


def shingles(text: str, size: int = 5, *, spaced: bool) -> set[tuple[str, ...]]:
    """Runs of ``size`` words (of letters, where a script has no spaces), in lower case."""
    units = _WORD.findall(text.lower()) if spaced else [letter for letter in text if letter.isalnum()]
    return set(zip(*(units[at:] for at in range(size)), strict=False)) or {tuple(units)}


def jaccard(one: str, other: str, *, spaced: bool) -> float:
    """Shared shingles of two texts over all of theirs."""
    left, right = shingles(one, spaced=spaced), shingles(other, spaced=spaced)
    return len(left & right) / len(left | right)


# --- personal data -----------------------------------------------------------------------------------------------


def with_value(text: str, value: str, chance: random.Random) -> str:
    """The text with a sentence more that holds the value, at the start, at the end or between two sentences."""
    sentence = chance.choice(_SAYINGS).format(value)
    sentences = text.split(". ")
    sentences.insert(chance.randint(0, len(sentences)), sentence.removesuffix("."))
    return ". ".join(sentences) if sentences[-1].endswith((".", "!", "?")) else ". ".join(sentences) + "."


def luhn_digit(digits: str) -> str:
    """The check digit of a card number (ISO/IEC 7812-1)."""
    doubled = [2 * int(digit) if place % 2 == 0 else int(digit) for place, digit in enumerate(reversed(digits))]
    return str(-sum(number // 10 + number % 10 for number in doubled) % 10)


def iban(country: str, account: str) -> str:
    """An IBAN with its check digits (ISO 13616: the number modulo 97 is 1)."""
    number = "".join(str(int(letter, 36)) for letter in f"{account}{country}00")
    return f"{country}{98 - int(number) % 97:02d}{account}"


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits, k=count))


def _name(chance: random.Random) -> str:
    return numbered_word(chance.randrange(10**6))


def _email(chance: random.Random) -> str:
    return (
        f"{_name(chance)}{chance.choice('._-+')}{_name(chance)}@{_name(chance)}.{chance.choice(('com', 'org', 'de'))}"
    )


def _international_phone(chance: random.Random) -> str:
    last = _digits(chance, 3)
    return chance.choice(
        (f"+44 20 7946 0{last}", f"+49 30 23125 {last}", f"+33 1 99 00 {_digits(chance, 2)} {last[:2]}")
    )


def _us_phone(chance: random.Random) -> str:
    area, last = chance.choice(("212", "415", "617", "773")), f"01{_digits(chance, 2)}"
    return chance.choice((f"({area}) 555-{last}", f"{area}-555-{last}", f"+1 {area} 555 {last}"))


def _card(chance: random.Random) -> str:
    digits = chance.choice(("4", "51", "55", "2221"))
    digits += _digits(chance, 15 - len(digits))
    digits += luhn_digit(digits)
    return chance.choice((" ", "-", "")).join(digits[at : at + 4] for at in range(0, 16, 4))


def _iban(chance: random.Random) -> str:
    country, account = chance.choice(
        (("DE", _digits(chance, 18)), ("ES", _digits(chance, 20)), ("NL", "ABNA" + _digits(chance, 10)))
    )
    compact = iban(country, account)
    return chance.choice((compact, " ".join(compact[at : at + 4] for at in range(0, len(compact), 4))))


def _ssn(chance: random.Random) -> str:
    return f"{chance.randint(1, 665):03d}-{chance.randint(1, 99):02d}-{chance.randint(1, 9999):04d}"


def _ipv4(chance: random.Random) -> str:
    return ".".join(str(chance.randint(low, high)) for low, high in ((24, 99), (1, 254), (1, 254), (1, 254)))


def _ipv6(chance: random.Random) -> str:
    return ":".join(["2a00", *(f"{chance.randint(0x1000, 0xFFFF):x}" for _ in range(7))])


PERSONAL: dict[str, Maker] = {
    "e-mail": _email,
    "phone, international": _international_phone,
    "phone, national": _us_phone,
    "card": _card,
    "iban": _iban,
    "social security number": _ssn,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
}


# --- secrets -----------------------------------------------------------------------------------------------------


def _prefixed(start: tuple[str, ...], letters: str, count: int) -> Maker:
    return lambda chance: "".join(start) + "".join(chance.choices(letters, k=count))


def _web_token(chance: random.Random) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": _digits(chance, 10), "name": _name(chance)})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "".join(chance.choices(_BASE64, k=43))])


def _private_key(chance: random.Random) -> str:
    kind, dashes = chance.choice(("RSA ", "EC ", "OPENSSH ", "")), 5 * "-"
    body = "\n".join("".join(chance.choices(_BASE64[:-2] + "+/", k=64)) for _ in range(4))
    return "\n".join((f"{dashes}BEGIN {kind}PRIVATE KEY{dashes}", body, f"{dashes}END {kind}PRIVATE KEY{dashes}"))


def _password(chance: random.Random) -> str:
    key, link = chance.choice(("password", "api_key", "client_secret")), chance.choice((" = ", ": ", "="))
    quote = chance.choice("'\"")
    return key + link + quote + "".join(chance.choices(_BASE64, k=28)) + quote


def _url(chance: random.Random) -> str:
    host, secret = f"{_name(chance)}.com", "".join(chance.choices(_BASE64[:-2], k=24))
    return chance.choice((f"https://{_name(chance)}:{secret}@{host}/v1", f"https://{host}/v1?api_key={secret}&page=2"))


SECRETS: dict[str, Maker] = {
    "cloud access key": _prefixed(("AK", "IA"), string.ascii_uppercase + "234567", 16),
    "forge token": _prefixed(("gh", "p_"), string.ascii_letters + string.digits, 36),
    "chat token": lambda chance: "-".join(
        ("xo" + "xb", _digits(chance, 12), _digits(chance, 12), "".join(chance.choices(_BASE64[:-2], k=24)))
    ),
    "payment key": _prefixed(("sk", "_live_"), string.ascii_letters + string.digits, 24),
    "maps key": _prefixed(("AI", "za"), _BASE64, 35),
    "hub token": _prefixed(("h", "f_"), string.ascii_letters, 34),
    "web token": _web_token,
    "private key": _private_key,
    "password": _password,
    "key in a url": _url,
}


# --- broken encodings --------------------------------------------------------------------------------------------


def mistaken(text: str) -> str:
    """UTF-8 read as if it were Windows-1252 (or, where that has no letter for a byte, Latin-1)."""
    try:
        return text.encode("utf-8").decode("cp1252")
    except UnicodeDecodeError:
        return text.encode("utf-8").decode("latin-1")
