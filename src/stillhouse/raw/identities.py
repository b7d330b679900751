"""National identity numbers in a text: by their form and check digits, or only behind a word that names them.

    list(find_identities("SSN 536-22-8715"))        # [Span(4, 15, "national-id")]

A number whose form many other numbers share (nine or eleven plain digits) counts only where one of the words for it
stands in the 40 characters before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stillhouse.raw import checksums
from stillhouse.raw.spans import Span


class _Identity(NamedTuple):
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]
    near: re.Pattern[str] | None  # must stand in the 40 characters before


def _identity(first: str, rest: str, holds: Callable[[str], bool], words: str = "") -> _Identity:
    near = re.compile(rf"(?<![a-z])(?:{words})") if words else None
    return _Identity(re.compile(rf"{first}(?<![\w.+-].){rest}(?!\w|[.-][0-9])", re.ASCII), holds, near)


_IDENTITIES = (
    _identity("[0-8]", r"[0-9]{2}-[0-9]{2}-[0-9]{4}", checksums.ssn),
    _identity("[0-8]", r"[0-9]{8}", checksums.ssn, "ssn|social ?sec"),
    _identity("[A-CEGHJ-PR-TW-Z]", r"[A-CEGHJ-NPR-TW-Z](?:[0-9]{6}| [0-9]{2} [0-9]{2} [0-9]{2} )[A-D]", checksums.nino),
    _identity("[0-9]", r"[0-9]{2}([ -]?)[0-9]{3}\1[0-9]{4}", checksums.nhs, "nhs"),
    _identity("[1-9]", r"[0-9]( ?)[0-9]{3}\1[0-9]{3}\1[0-9]{3}", checksums.steuer_id, "steuer|idnr|id-nr|tin(?![a-z])"),
    _identity("[12]", r"( ?)[0-9]{2}\1[0-9]{2}\1(?:[0-9]{2}|2[AB])\1[0-9]{3}\1[0-9]{3}\1[0-9]{2}", checksums.nir),
    _identity("[0-9]", r"[0-9]{7}-?[A-HJ-NP-TV-Z]", checksums.dni, "dni|nif|documento"),
    _identity("[XYZ]", r"-?[0-9]{7}-?[A-HJ-NP-TV-Z]", checksums.dni),
    _identity("[A-Z]", r"[A-Z]{5}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]", checksums.codice_fiscale),
    _identity("[0-9]", r"[0-9]{8}", checksums.bsn, "bsn|burgerservice|sofi"),
    _identity("[0-9]", r"[0-9]{5}(?:[0-9]{2})?[-+][0-9]{4}", checksums.personnummer),
    _identity("[0-9]", r"[0-9]{10}", checksums.pesel, "pesel"),
    _identity("7", r"56\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", checksums.ahv),
    _identity("[0-3]", r"[0-9]{5}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", checksums.hetu),
    _identity("[0-9]", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", checksums.cpf),
    _identity("[0-9]", r"[0-9]\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", checksums.rijksregister),
    _identity("[1-79]", r"[0-9]{2}([ -]?)[0-9]{3}\1[0-9]{3}", checksums.sin, "sin(?![a-z])|social ?ins"),
)


def find_identities(text: str) -> Iterator[Span]:
    """Every identity number in ``text``; spans may overlap where two countries share a form."""
    for identity in _IDENTITIES:
        for found in identity.pattern.finditer(text):
            before = text[max(0, found.start() - 40) : found.start()].lower()
            if identity.near is None or identity.near.search(before):
                # the century mark of a HETU is no separator
                number = found[0] if identity.holds is checksums.hetu else re.sub(r"[ .+-]", "", found[0])
                if identity.holds(number):
                    yield Span(*found.span(), "national-id")
