"""Personal data in a text: addresses and numbers whose form, check digit or context tells what they are.

    find_personal("write to ann@kontor7.de or +49 30 23125000")     # [Span(9, 23, "email"), Span(27, 42, "phone")]

Found anywhere: e-mail addresses; international telephone numbers and those of the United States written with brackets
or hyphens; payment cards; IBANs; identity numbers with a form of their own (US SSN with hyphens, UK NINO, French NIR,
Spanish NIE, Italian codice fiscale, Swedish personnummer, Swiss AHV, Finnish HETU, Brazilian CPF, Belgian
Rijksregister); public IP addresses; MAC addresses; Bitcoin and Ethereum addresses. Found only where a word before them
says what they are: national telephone numbers (US, UK, DE, FR, ES), SSN without hyphens, NHS number, Steuer-ID, DNI,
BSN, PESEL, Canadian SIN.

Left alone on purpose: addresses under the names kept for documentation (example.org, .test, RFC 2606) and git@ of
clone addresses; IP addresses that are private, loopback, link-local, multicast or for documentation, those after
"version" or "v", and those with every octet below 32, which versions look like and public addresses hardly ever do
(1 in 4,000).

What has no check digit (SSN, NINO, phone, MAC, IP, Ethereum address) is told by form and range only, and every tenth
random number of 16 digits that begins like a card passes as one.

Not covered: names, postal addresses, birthdays, ages, places, photographs' and cars' numbers, passports, driving
licenses, health data, user names and profile links, other countries' numbers, numbers spelled out in words, and e-mail
addresses that are disguised ("ann at kontor7"), have a local part beyond ASCII, or end in a rarer generic domain.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

import phonenumbers

from stillhouse.raw import checksums
from stillhouse.raw.identities import find_identities
from stillhouse.raw.spans import Span, complete

_DIGIT = re.compile(r"[0-9]")
# six digits with at most two separators between neighbors, or the middle of a codice fiscale
_NUMBER = re.compile(r"[0-9](?:(?:[ ().\-/]{0,2}[0-9]){5}|[0-9][A-EHLMPRST][0-9]{2}[A-Z])")

_EMAIL = re.compile(
    r"(?<!\w)\w[\w.+'%-]{0,63}@((?:[A-Za-z0-9À-ɏ][A-Za-z0-9À-ɏ-]{0,62}\.){1,8}[A-Za-z]{2,24})(?![\w(])",
    re.ASCII,
)
# top-level domains of two letters are countries; of the longer ones those under which people have mail
_TOP = frozenset({
    "com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "dev", "app", "online", "shop",
    "store", "site", "club", "cloud", "email", "blog", "tech", "xyz", "live", "mail", "world", "life", "today",
    "space", "website", "agency", "studio", "design", "digital", "systems", "network", "solutions", "services",
    "company", "group", "academy", "university", "berlin", "hamburg", "bayern", "london", "paris", "wien",
    "swiss", "tokyo", "nyc", "asia", "jobs", "museum", "travel", "health", "care", "law",
})  # fmt: skip
_DOCUMENTATION = re.compile(
    r"(?:^|\.)(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost|local)$", re.IGNORECASE
)

# the boundary is looked for after the first character, so that the scan can leap from one such character to the next
_CARD = re.compile(
    r"[2-6](?<![\w.+-].)[0-9]{3}(?:[0-9]{10,15}|([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|([ -])[0-9]{6}\2[0-9]{4,5})"
    r"(?!\w|[.-][0-9])",
    re.ASCII,
)
_IBAN = re.compile(r"[A-Z](?<![A-Za-z0-9].)[A-Z][0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{3}")

_PHONE = re.compile(r"\+(?<![\w+].)[1-9](?:[ ().\-/]{0,2}[0-9]){6,14}(?!\w)", re.ASCII)
_PHONE_US = re.compile(
    r"[(1-9](?<![\w.+/-].)(?:(?<=1)-\(?)?[0-9]{2,3}(?:\) ?|-)[2-9][0-9]{2}-[0-9]{4}(?!\w|-[0-9])", re.ASCII
)
_PHONE_NATIONAL = re.compile(r"[0-9](?<![\w.+].)(?:[ ().\-/]{0,2}[0-9]){6,13}(?!\w|[.:-][0-9])", re.ASCII)
_PHONE_WORD = re.compile(
    r"(?:phone|tel[:.]|\btel\b|telefon|tel[eé]fono|\bt[eé]l\b|mobile?\b|m[oó]vil|cell\b|\bcall\b|\bfax\b|whatsapp|\bsms\b"
    r"|handy|durchwahl|portable|tfno|\bring\b|rufen|appelez|ll[aá]m)[^\n0-9+]{0,20}\Z",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-./][01]?[0-9][-./][0-3]?[0-9]|[0-3]?[0-9][-./][01]?[0-9][-./](?:19|20)[0-9]{2}")
_REGIONS = ("US", "GB", "DE", "FR", "ES")

_IPV4 = re.compile(r"[0-9](?<![\w.-].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[0-9])", re.ASCII)
_IPV6 = re.compile(r"[23](?<![\w:.].)[0-9a-fA-F]{3}:[0-9a-fA-F:]{2,34}(?!\w)", re.ASCII)
_VERSION = re.compile(
    r"(?:version|release|revision|chapter|section|,|-r|[=<>~^]|[A-Za-z]/|\bv)[ :=.]{0,2}\Z", re.IGNORECASE
)
_MESSAGE_ID = re.compile(r"(?:Message-ID|References|In-Reply-To): ?<?\Z", re.IGNORECASE)
_MAC = re.compile(
    r"[0-9A-Fa-f](?<![\w:.-].)[0-9A-Fa-f]([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?!\w|[:.-][0-9A-Fa-f])",
    re.ASCII,
)
_MAC_DOTTED = re.compile(r"\.[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}(?!\w|[:.-][0-9A-Fa-f])", re.ASCII)
_MAC_START = re.compile(r"(?<![\w:.-])[0-9a-fA-F]{4}\Z", re.ASCII)
_BITCOIN = re.compile(r"[13](?<![A-Za-z0-9].)[1-9A-HJ-NP-Za-km-z]{25,34}(?![A-Za-z0-9])")
_BECH32 = re.compile(r"bc1(?<![A-Za-z0-9]...)[02-9ac-hj-np-z]{11,71}(?![A-Za-z0-9])")
_ETHEREUM = re.compile(r"0x(?<![A-Za-z0-9]..)[0-9a-fA-F]{40}(?![A-Za-z0-9])")


def find_personal(text: str) -> list[Span]:
    """The personal data in ``text``, sorted and disjoint; after redaction there is nothing more to find."""
    return complete(text, _scan)


def _scan(text: str) -> list[Span]:
    spans = [*_emails(text)] if "@" in text else []
    if _DIGIT.search(text):
        spans += _network(text)
        spans += _wallets(text)
        if _NUMBER.search(text):
            spans += _accounts(text)
            spans += find_identities(text)
            spans += _phones(text)
    return spans


def _emails(text: str) -> Iterator[Span]:
    for found in _EMAIL.finditer(text):
        labels = found[1].split(".")
        while len(labels) > 1 and len(labels[-1]) > 2 and labels[-1].lower() not in _TOP:
            labels.pop()  # the next sentence, where the space before it is missing
        domain = ".".join(labels)
        if len(labels) < 2 or _DOCUMENTATION.search(domain) or _is_userinfo(text, found.start()):
            continue
        if not _MESSAGE_ID.search(text, max(0, found.start() - 40), found.start()):
            yield Span(found.start(), found.start(1) + len(domain), "email")


def _is_userinfo(text: str, start: int) -> bool:
    """Whether what begins here is the ``user`` or ``password`` of an address, or the git of a clone address."""
    before = text[max(0, start - 200) : start].rpartition("://")
    return text.startswith("git@", start) or (bool(before[1]) and not re.search(r"[\s/?#]", before[2]))


def _accounts(text: str) -> Iterator[Span]:
    for found in _CARD.finditer(text):
        if checksums.is_card(found[0].replace(" ", "").replace("-", "")):
            yield Span(*found.span(), "card")
    for found in _IBAN.finditer(text):
        end = checksums.iban_end(text, found.start())
        if end is not None:
            yield Span(found.start(), end, "iban")


def _phones(text: str) -> Iterator[Span]:
    if "+" in text:
        for found in _PHONE.finditer(text):
            if _is_phone(found[0], (None,)):
                yield Span(*found.span(), "phone")
    for found in _PHONE_US.finditer(text):
        if _is_phone(found[0], ("US",)):
            yield Span(*found.span(), "phone")
    for found in _PHONE_NATIONAL.finditer(text):
        start = found.start() - (text[found.start() - 1 : found.start()] == "(")
        named = _PHONE_WORD.search(text[max(0, start - 34) : start])
        if named and not _DATE.fullmatch(found[0]) and _is_phone(found[0], _REGIONS):
            yield Span(start, found.end(), "phone")


def _is_phone(number: str, regions: tuple[str | None, ...]) -> bool:
    for region in regions:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(number, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def _network(text: str) -> Iterator[Span]:
    dots, colons = text.count("."), text.count(":")
    if dots >= 3:
        for found in _IPV4.finditer(text):
            before = text[max(0, found.start() - 12) : found.start()]
            octets = map(int, found[0].split("."))
            if max(octets) >= 32 and _is_public(found[0]) and not _VERSION.search(before):
                yield Span(*found.span(), "ip")
    if colons >= 2:
        for found in _IPV6.finditer(text):
            address = found[0] if found[0].endswith("::") else found[0].rstrip(":")
            if _is_public(address):
                yield Span(found.start(), found.start() + len(address), "ip")
    if colons >= 5 or text.count("-") >= 5:
        for found in _MAC.finditer(text):
            if _is_one_card(found[0]):
                yield Span(*found.span(), "mac")
    if dots >= 2:
        for found in _MAC_DOTTED.finditer(text):
            first = _MAC_START.search(text, max(0, found.start() - 5), found.start())
            if first and _is_one_card(first[0] + found[0]):
                yield Span(first.start(), found.end(), "mac")


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.is_global and not parsed.is_multicast


def _is_one_card(mac: str) -> bool:
    """Not broadcast, multicast or zero, and not in 00-00-5E-00-53, which RFC 7042 keeps for documentation."""
    digits = re.sub(r"[:.-]", "", mac).lower()
    one_card = int(digits[:2], 16) % 2 == 0 and len(set(digits)) > 2 and not digits.startswith("00005e0053")
    return one_card and ("." not in mac or any(c in "abcdef" for c in digits))


def _wallets(text: str) -> Iterator[Span]:
    for found in _BITCOIN.finditer(text):
        if checksums.base58check(found[0]):
            yield Span(*found.span(), "wallet")
    if "bc1" in text:
        for found in _BECH32.finditer(text):
            if checksums.bech32(found[0]):
                yield Span(*found.span(), "wallet")
    if "0x" in text:
        for found in _ETHEREUM.finditer(text):
            if len(set(found[0])) > 6:
                yield Span(*found.span(), "wallet")
