"""Made-up personal data in the published formats, and texts that only look like personal data.

    for case in personal_positives(seed=0):
        case.text[case.start : case.end]            # the datum, whole and alone
    negatives = personal_negatives(seed=0)          # texts in which there is none

Numbers are drawn at random and given their check digit here, by code that shares nothing with the rules under test.
The comment beside a format names who publishes it.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable, Sequence

from secret_formats import HEX, Planted, plant

Maker = Callable[[random.Random], str]


def _digits(rng: random.Random, length: int, *, first: str = "0123456789") -> str:
    return rng.choice(first) + "".join(rng.choice(string.digits) for _ in range(length - 1))


def _shape(rng: random.Random, shape: str) -> str:
    """``#`` is any digit, ``N`` one from 2 to 9; everything else stands for itself."""
    return "".join(rng.choice(string.digits) if c == "#" else rng.choice("23456789") if c == "N" else c for c in shape)


def _luhn_digit(body: str) -> str:
    """The last digit by ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def _card(rng: random.Random, prefix: str, length: int, groups: Sequence[int] = (), mark: str = " ") -> str:
    body = prefix + _digits(rng, length - 1 - len(prefix))
    number, parts, place = body + _luhn_digit(body), [], 0
    for size in groups or (length,):
        parts.append(number[place : place + size])
        place += size
    return mark.join(parts)


def _iban(rng: random.Random, country: str, shape: str, *, spaced: bool) -> str:
    """Check digits by ISO 7064 mod 97-10; ``n`` a digit, ``a`` a capital, ``c`` either (SWIFT's IBAN registry)."""
    pools = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}
    body = "".join(rng.choice(pools[c]) for c in shape)
    number = int("".join(str(int(c, 36)) for c in body + country + "00"))
    whole = f"{country}{98 - number % 97:02d}{body}"
    return " ".join(whole[place : place + 4] for place in range(0, len(whole), 4)) if spaced else whole


def _date(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(1940, 2000), rng.randrange(1, 13), rng.randrange(1, 29)


def _ssn(rng: random.Random) -> str:
    """Area not 000, 666 or from 900; no zeros (ssa.gov, "Social Security number randomization")."""
    area = rng.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03d}-{rng.randrange(1, 100):02d}-{rng.randrange(1, 10000):04d}"


def _nino(rng: random.Random, *, spaced: bool) -> str:
    """HMRC manual NIM39110: letters without D F I Q U V, second no O; some prefixes unused; suffix A to D."""
    while True:
        prefix = rng.choice("ABCEGHJKLMNOPRSTWXYZ") + rng.choice("ABCEGHJKLMNPRSTWXYZ")
        if prefix not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}:
            break
    body, suffix = _digits(rng, 6), rng.choice("ABCD")
    return f"{prefix} {body[:2]} {body[2:4]} {body[4:]} {suffix}" if spaced else f"{prefix}{body}{suffix}"


def _nhs(rng: random.Random, *, spaced: bool) -> str:
    """Weights 10 to 2, modulus 11 (NHS Data Dictionary, "NHS number")."""
    while True:
        body = _digits(rng, 9, first="4567")
        check = 11 - sum(int(d) * w for d, w in zip(body, range(10, 1, -1), strict=True)) % 11
        if check != 10:
            number = body + str(check % 11)
            return f"{number[:3]} {number[3:6]} {number[6:]}" if spaced else number


def _steuer_id(rng: random.Random, *, spaced: bool) -> str:
    """One digit twice among the first ten, ISO 7064 mod 11,10 (Bundeszentralamt für Steuern, Prüfziffernberechnung)."""
    while True:
        drawn = rng.sample(string.digits, 9)
        drawn.insert(rng.randrange(10), rng.choice(drawn))
        if drawn[0] != "0":
            break
    product = 10
    for digit in drawn:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    number = "".join(drawn) + str((11 - product) % 10)
    return f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}" if spaced else number


def _nir(rng: random.Random, *, spaced: bool) -> str:
    """Sex, year, month, department, municipality, order, key 97 − n mod 97 (INSEE, "NIR")."""
    parts = [
        rng.choice("12"),
        f"{rng.randrange(100):02d}",
        f"{rng.randrange(1, 13):02d}",
        f"{rng.randrange(1, 96):02d}",
        f"{rng.randrange(1, 991):03d}",
        f"{rng.randrange(1, 1000):03d}",
    ]
    parts.append(f"{97 - int(''.join(parts)) % 97:02d}")
    return (" " if spaced else "").join(parts)


def _dni(rng: random.Random, letter: str = "") -> str:
    """Remainder by 23 picks the letter; NIE: X, Y, Z count as 0, 1, 2 (Ministerio del Interior, "Cálculo del NIF")."""
    if letter:
        body = _digits(rng, 7)
        return letter + body + "TRWAGMYFPDXBNJZSQVHLCKE"[int("XYZ".index(letter) * 10**7 + int(body)) % 23]
    body = _digits(rng, 8)
    return body + "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23]


def _codice_fiscale(rng: random.Random) -> str:
    """Odd and even places have their own values, sum mod 26 (Decreto MEF 12 March 1974, 23 December 1976)."""
    letters = "".join(rng.choice("BCDFGLMNPRSTVZ") for _ in range(6))
    day = rng.randrange(1, 32) + 40 * rng.randrange(2)
    month, place = rng.choice("ABCDEHLMPRST"), rng.choice("ABCDEFGHIL") + _digits(rng, 3)
    body = f"{letters}{rng.randrange(100):02d}{month}{day:02d}{place}"
    odd = {
        **dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True)),
        **dict(
            zip(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
                strict=True,
            )
        ),
    }
    even = {c: int(c) if c.isdigit() else ord(c) - 65 for c in string.digits + string.ascii_uppercase}
    total = sum((odd if index % 2 == 0 else even)[c] for index, c in enumerate(body))
    return body + chr(65 + total % 26)


def _bsn(rng: random.Random) -> str:
    """Weights 9 to 2 and −1, sum divisible by 11 (Rijksdienst voor Identiteitsgegevens, Logisch ontwerp BSN)."""
    while True:
        number = _digits(rng, 9, first="12345678")
        if sum(int(d) * w for d, w in zip(number, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True)) % 11 == 0:
            return number


def _personnummer(rng: random.Random, *, century: bool) -> str:
    """Date, three digits, Luhn over the nine without century (Skatteverket, SKV 704)."""
    year, month, day = _date(rng)
    body = f"{year % 100:02d}{month:02d}{day:02d}{_digits(rng, 3)}"
    return (str(year // 100) if century else "") + f"{body[:6]}-{body[6:]}{_luhn_digit(body)}"


def _pesel(rng: random.Random) -> str:
    """Date, four digits, weights 1 3 7 9 (gov.pl, "Czym jest numer PESEL")."""
    year, month, day = _date(rng)
    body = f"{year % 100:02d}{month:02d}{day:02d}{_digits(rng, 4)}"
    return body + str(-sum(int(d) * w for d, w in zip(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True)) % 10)


def _ahv(rng: random.Random) -> str:
    """756, nine digits, EAN-13 check digit (Zentrale Ausgleichsstelle, "AHV-Nummer")."""
    body = "756" + _digits(rng, 9)
    check = -sum(int(d) * (3 if place % 2 else 1) for place, d in enumerate(body)) % 10
    return f"{body[:3]}.{body[3:7]}.{body[7:11]}.{body[11]}{check}"


def _hetu(rng: random.Random) -> str:
    """Date, century mark, number, remainder by 31 (Digi- ja väestötietovirasto, "identity code")."""
    year, month, day = _date(rng)
    date, number = f"{day:02d}{month:02d}{year % 100:02d}", f"{rng.randrange(2, 900):03d}"
    return f"{date}-{number}" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(date + number) % 31]


def _cpf(rng: random.Random) -> str:
    """Two check digits modulo 11 (Receita Federal, "CPF")."""
    body = _digits(rng, 9)
    for _ in range(2):
        total = sum(int(d) * w for d, w in zip(body, range(len(body) + 1, 1, -1), strict=True))
        body += str(total * 10 % 11 % 10)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def _rijksregister(rng: random.Random) -> str:
    """Date, order, 97 − n mod 97 (IBZ, "Rijksregister: structuur van het nummer")."""
    year, month, day = _date(rng)
    body = f"{year % 100:02d}{month:02d}{day:02d}{rng.randrange(1, 998):03d}"
    return f"{body[:2]}.{body[2:4]}.{body[4:6]}-{body[6:]}.{97 - int(body) % 97:02d}"


def _sin(rng: random.Random) -> str:
    """Nine digits with Luhn (Government of Canada, "Social Insurance Number: validation")."""
    body = _digits(rng, 8, first="1234567")
    number = body + _luhn_digit(body)
    return f"{number[:3]} {number[3:6]} {number[6:]}"


def _base58check(rng: random.Random, version: int) -> str:
    """Version, hash, four bytes of a double SHA-256 in base 58 (Bitcoin developer reference, "Address conversion")."""
    payload = bytes([version]) + rng.randbytes(20)
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, found = int.from_bytes(payload, "big"), ""
    while number:
        number, place = divmod(number, 58)
        found = alphabet[place] + found
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + found


def _bech32(rng: random.Random) -> str:
    """A version 0 address of 20 bytes (BIP 173)."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    data = [0] + [rng.randrange(32) for _ in range(32)]
    expanded = [ord(c) >> 5 for c in "bc"] + [0] + [ord(c) & 31 for c in "bc"]
    check = 1
    for value in [*expanded, *data, 0, 0, 0, 0, 0, 0]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if top >> place & 1 else 0
    check ^= 1
    return "bc1" + "".join(alphabet[v] for v in [*data, *(check >> 5 * (5 - place) & 31 for place in range(6))])


def _public_ipv4(rng: random.Random) -> str:
    """First octets that IANA's IPv4 address space registry gives to the regional registries."""
    return f"{rng.choice((5, 31, 46, 62, 77, 83, 91, 109, 151, 188, 212))}." + ".".join(
        str(rng.randrange(1, 255)) for _ in range(3)
    )


def _public_ipv6(rng: random.Random, *, short: bool) -> str:
    """2a00::/12 of RIPE NCC (IANA, "IPv6 global unicast address assignments"); written by RFC 5952."""
    groups = [f"2a0{rng.randrange(1, 10)}", *(f"{rng.randrange(0x1000, 0x10000):x}" for _ in range(7))]
    return ":".join(groups[:3]) + "::" + groups[3] if short else ":".join(groups)


def _mac(rng: random.Random, mark: str) -> str:
    """Six octets; an address of a card has the two lowest bits of the first clear (IEEE, "EUI-48")."""
    octets = [f"{rng.randrange(0, 256) & 0xFC:02x}", *(f"{rng.randrange(0, 256):02x}" for _ in range(5))]
    whole = "".join(octets)
    return ".".join(whole[p : p + 4] for p in (0, 4, 8)) if mark == "." else mark.join(octets)


def _email(rng: random.Random, shape: str) -> str:
    """Local part and domain (RFC 5321 section 4.1.2); the domains are invented."""
    first, last = (
        rng.choice(("ann", "luis", "mariam", "tom", "wei")),
        rng.choice(("garcia", "kowalski", "obrien", "sato")),
    )
    domain = rng.choice(("gmx-posten", "bluewhale-mail", "kontor7", "lindqvist-bygg")) + rng.choice(
        (".com", ".de", ".net", ".co.uk", ".se")
    )
    return shape.format(first=first, last=last, domain=domain, n=rng.randrange(10, 99))


def _each(frames: Sequence[str], *makers: Maker) -> tuple[tuple[str, Maker], ...]:
    return tuple((frame, makers[place % len(makers)]) for place, frame in enumerate(frames))


ANYWHERE = (
    "Please send the form to {} before Friday.",
    '{"customer": {"name": "A. B.", "contact": "{}"}}',
    "contact:\n  primary: {}\n  language: en\n",
    "2026-02-11 08:15:02 INFO crm updated record for {} ok",
    "tom: sure, it is {}\nwei: thanks",
    "| Sato | {} | active |",
    "record.add('{}')  # from the old file",
    "* {} (checked twice)",
)

# E.164 and national numbering plans: ITU-T E.164; NANPA; Ofcom; Bundesnetzagentur; ARCEP; CNMC. Shapes by ITU-T E.123.
_PHONES = (
    ("Call me at {} after six.", "+1 202-NN#-####"),
    ("My number: {}", "(415) NN#-####"),
    ("phone: {}", "312-NN#-####"),
    ("Tel. {} (office)", "617.NN#.####"),
    ('"phone": "{}"', "+1617NN#####"),
    ("ring {} and ask for Ann", "(212) NN#-####"),
    ("cell {}", "503 NN# ####"),
    ("fax: {}", "1-404-NN#-####"),
    ("Call {} from abroad.", "+44 20 7946 0###"),
    ("mobile: {}", "07911 12####"),
    ("Tel: {}", "020 7946 0###"),
    ("whatsapp {}", "+44 7911 12####"),
    ("phone {} today", "0161 496 0###"),
    ("[call](tel:{})", "+44791112####"),
    ("Telefon: {}", "030 23125###"),
    ("Tel.: {}", "+49 30 23125###"),
    ("Handy {}", "0171 39#####"),
    ("Rufen Sie {} an.", "+49 (0)89 4###-####"),
    ("Mobil: {}", "+49 171 39 #####"),
    ("Durchwahl: {}", "040/66969-###"),
    ("Tél. {}", "01 42 68 ## ##"),
    ("Appelez le {} demain.", "+33 6 12 34 ## ##"),
    ("tel: {}", "06.12.34.##.##"),
    ("téléphone : {}", "04 91 57 ## ##"),
    ("mobile {}", "+33612 34####"),
    ("portable: {}", "0612 34 ## ##"),
    ("Teléfono: {}", "91 532 ## ##"),
    ("Llámame al {} por favor", "+34 612 34 ## ##"),
    ("móvil {}", "612 345 ###"),
    ("tfno. {}", "612 34 ## ##"),
    ("wa.me contact {}", "+55 11 9####-####"),
    ("reach us: {}", "+81 3-3###-####"),
    ("{} is my Italian number", "+39 06 698#####"),
    ("{{'to': '{}'}}", "+91 98### #####"),
    ("SMS to {} failed", "+48 512 ### ###"),
)

_IBANS = (
    ("DE", "n" * 18),
    ("FR", "n" * 10 + "c" * 11 + "nn"),
    ("GB", "aaaa" + "n" * 14),
    ("ES", "n" * 20),
    ("NL", "aaaa" + "n" * 10),
    ("IT", "a" + "n" * 10 + "c" * 12),
    ("CH", "n" * 5 + "c" * 12),
    ("BE", "n" * 12),
    ("AT", "n" * 16),
    ("PL", "n" * 24),
    ("SE", "n" * 20),
    ("NO", "n" * 11),
)

# kind -> frames, and what stands in them. Identity numbers all have the kind national-id.
FRAMES: dict[str, tuple[tuple[str, Maker], ...]] = {
    "email": tuple(
        (frame, lambda r, s=shape: _email(r, s))  # type: ignore[misc]
        for frame, shape in (
            *zip(
                ANYWHERE,
                (
                    "{first}.{last}@{domain}",
                    "{first}{n}@{domain}",
                    "{first}_{last}@{domain}",
                    "{first}+shop@{domain}",
                    "{first}@mail.{domain}",
                    "{first}-{last}{n}@{domain}",
                    "{last}.{first}.{n}@{domain}",
                    "{first}@{domain}",
                ),
                strict=True,
            ),
            ("From: Ann Garcia <{}>", "{first}.{last}@{domain}"),
            ("[write](mailto:{}?subject=Hi)", "{first}@{domain}"),
            ("https://app.example.org/unsubscribe?email={}&id=3", "{first}.{last}@{domain}"),
            ("Reach me at {}.", "{first}.{last}@{domain}"),
            ("({})", "{first}{last}@{domain}"),
            ("to={}; cc=", "{first}'{last}@{domain}"),
            ("__author__ = 'A. Sato <{}>'", "{first}.{last}@{domain}"),
            ("E-Mail:{}", "{first}{n}@sub.dept.{domain}"),
        )
    ),
    "phone": tuple((frame, lambda r, s=shape: _shape(r, s)) for frame, shape in _PHONES),  # type: ignore[misc]
    # ISO/IEC 7812 and the networks' published ranges: Visa 4, Mastercard 51-55 and 2221-2720, Amex 34 37, Discover
    # 6011 65, Diners 36, JCB 3528-3589, UnionPay 62
    "card": _each(
        (
            *ANYWHERE,
            "card number: {} exp 04/29",
            "paid with {}, thank you",
            "PAN={}",
            "Karte {} gesperrt",
            "cc {} cvv 123",
            "https://pay.example.org/c?number={}",
            "refund to card {} issued",
            "visa {}",
        ),
        lambda r: _card(r, "4" + _digits(r, 5), 16),
        lambda r: _card(r, "5" + _digits(r, 5, first="12345"), 16, (4, 4, 4, 4)),
        lambda r: _card(r, "37" + _digits(r, 4), 15, (4, 6, 5)),
        lambda r: _card(r, "4" + _digits(r, 5), 16, (4, 4, 4, 4), "-"),
        lambda r: _card(r, str(r.randrange(2221, 2721)), 16, (4, 4, 4, 4)),
        lambda r: _card(r, "6011", 16),
        lambda r: _card(r, "34" + _digits(r, 4), 15),
        lambda r: _card(r, str(r.randrange(3528, 3590)), 16, (4, 4, 4, 4)),
        lambda r: _card(r, "36" + _digits(r, 4), 14),
        lambda r: _card(r, "62" + _digits(r, 4), 16),
    ),
    "iban": _each(
        (*ANYWHERE, "IBAN: {}", "Konto {} bei der Bank", "überweisen auf {}!", "iban={}&bic=ABCDEFGH"),
        *(
            lambda r, c=country, s=shape, p=place: _iban(r, c, s, spaced=p % 2 == 0)  # type: ignore[misc]
            for place, (country, shape) in enumerate(_IBANS)
        ),
    ),
    "national-id": (
        *_each(("SSN: {}", "her social is {}", '{"ssn": "{}"}', "| {} | W-2 |"), _ssn),
        ("Social security number {}", lambda r: _ssn(r).replace("-", "")),
        *_each(
            ("NI number {}", "nino: {}", '"nationalInsurance": "{}"', "his NI no. is {}."),
            lambda r: _nino(r, spaced=False),
            lambda r: _nino(r, spaced=True),
        ),
        *_each(
            ("NHS number: {}", "patient NHS no {} seen today", '"nhs_number": "{}"'),
            lambda r: _nhs(r, spaced=True),
            lambda r: _nhs(r, spaced=False),
        ),
        *_each(
            ("Steuer-ID: {}", "Steueridentifikationsnummer {}", "IdNr. {}", '"steuer_id": "{}"'),
            lambda r: _steuer_id(r, spaced=False),
            lambda r: _steuer_id(r, spaced=True),
        ),
        *_each(
            ("N° de sécurité sociale : {}", "NIR {}", '"nir": "{}"', "assuré {} né à Lyon"),
            lambda r: _nir(r, spaced=True),
            lambda r: _nir(r, spaced=False),
        ),
        *_each(("DNI {}", "con DNI nº {} en Madrid", '{"nif": "{}"}'), _dni),
        *_each(("NIE: {}", "el titular {} firma", "nie={}"), lambda r: _dni(r, r.choice("XYZ"))),
        *_each(("Codice fiscale: {}", "C.F. {}", '"cf": "{}"', "nato a Roma, {}"), _codice_fiscale),
        *_each(("BSN: {}", "burgerservicenummer {}", '"bsn": "{}"'), _bsn),
        *_each(
            ("Personnummer: {}", "personnr {}", "kund {} ringde", '"pnr": "{}"'),
            lambda r: _personnummer(r, century=False),
            lambda r: _personnummer(r, century=True),
        ),
        *_each(("PESEL: {}", "nr PESEL {}", '"pesel": "{}"'), _pesel),
        *_each(("AHV-Nr. {}", "AVS {}", "versichert unter {}"), _ahv),
        *_each(("henkilötunnus {}", "HETU: {}", "asiakas {} soitti"), _hetu),
        *_each(("CPF: {}", "portador do CPF {}", '"cpf": "{}"'), _cpf),
        *_each(("Rijksregisternummer {}", "NN {}"), _rijksregister),
        *_each(("SIN: {}", "social insurance number {}"), _sin),
    ),
    "ip": _each(
        (
            "Accepted publickey for ann from {} port 51122 ssh2",
            '{} - - [11/Feb/2026:08:15:02 +0000] "GET / HTTP/1.1" 200',
            '{"client_ip": "{}"}',
            "blocked {} after five tries",
            "visitor: {}",
            "X-Forwarded-For: {}",
            "http://{}:8080/status",
            "Received: from mail ([{}])",
            "ip={}",
        ),
        _public_ipv4,
        lambda r: _public_ipv6(r, short=True),
        _public_ipv4,
        lambda r: _public_ipv6(r, short=False),
        _public_ipv4,
        lambda r: _public_ipv6(r, short=True),
        _public_ipv4,
        _public_ipv4,
        lambda r: _public_ipv6(r, short=False),
    ),
    "mac": _each(
        (
            "link/ether {} brd ff:ff:ff:ff:ff:ff",
            "MAC: {}",
            "DHCPACK on 10.0.0.3 to {} via eth0",
            '"mac": "{}"',
            "Physical Address. . . : {}",
            "vlan 10 {} dynamic",
        ),
        lambda r: _mac(r, ":"),
        lambda r: _mac(r, ":").upper(),
        lambda r: _mac(r, ":"),
        lambda r: _mac(r, "-"),
        lambda r: _mac(r, "-").upper(),
        lambda r: _mac(r, "."),
    ),
    # Ethereum: 0x and 40 hexadecimal digits (ethereum.org, "Accounts")
    "wallet": _each(
        (*ANYWHERE, "donate: {}", "sent 0.2 BTC to {}"),
        lambda r: _base58check(r, 0),
        lambda r: _base58check(r, 5),
        _bech32,
        lambda r: "0x" + "".join(r.choice(HEX) for _ in range(40)),
    ),
}


def personal_positives(*, seed: int) -> list[Planted]:
    """One text for every frame of every kind."""
    rng = random.Random(seed)
    found = []
    for kind, shapes in FRAMES.items():
        for frame, maker in shapes:
            found.append(
                plant(kind, frame.replace("{{", "{").replace("}}", "}") if "{{" in frame else frame, maker(rng))
            )
    return found


def personal_negatives(*, seed: int) -> list[str]:
    """Texts without personal data: other numbers, addresses of documentation, code with an @."""
    rng = random.Random(seed)

    def hexadecimal(length: int) -> str:
        return "".join(rng.choice(HEX) for _ in range(length))

    code = (
        "@property\ndef name(self): ...",
        "@dataclass(frozen=True)",
        "y = x @ w.T + b",
        "hidden = a@b",
        "@media (max-width: 640px) {}",
        "npm install left-pad@1.3.0",
        "FROM python@sha256:" + hexadecimal(64),
        "logo@2x.png",
        "uses: actions/checkout@v4.1.1",
        "git clone git@github.com:org/repo.git",
        "ssh root@localhost",
        "user@host:~$ ls",
        "send to ann@example.org or bob@example.com",
        "@ann did you see it?",
        "email me @ noon",
        "if '@' in address:",
        "foo@bar",
        "admin@server.test",
        "x@y.invalid",
        "std::vector<int> v; a::b::c",
        "time 12:34:56:78 frames",
        "slice[1:2:3]",
        "f00::g",
        "for (;;) :: done",
        "1:2:3:4:5",
        "color: #1a2b3c; border: #aabbcc",
        "M10 20 30 40 50 60 70 80 90 100",
        "0x7ffd1234abcd",
        hexadecimal(40),
        "id=" + hexadecimal(32),
        "a:b:c:d:e:f",
        "data = [1, 22, 333, 4444, 55555, 666666, 7777777]",
    )
    addresses = (
        "listening on 127.0.0.1:8000",
        "bind 0.0.0.0",
        "gateway 192.168.1.1",
        "route 10.0.0.0/8",
        "172.16.3.4 is private",
        "dns ::1",
        "fe80::1%eth0",
        "docs use 192.0.2.15 and 198.51.100.7 and 203.0.113.9",
        "2001:db8::1 is for examples",
        "netmask 255.255.255.0",
        "version 1.2.3.4",
        "v8.8.4.4 released",
        "Chrome/120.0.6099.71 Safari/537.36",
        "torch==2.13.0.1",
        "release 5.15.0.76",
        "section 3.2.1.4",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
    )
    numbers = (
        "ISBN 978-3-16-148410-0",
        "isbn: 9780306406157",
        "ISSN 2049-3630",
        "order 4471-2231-90",
        "Order no. 100045120031",
        "invoice 2026-000123",
        "2026-03-01 10:22:31.123456",
        "20260301T102231Z",
        "01.03.2026 - 31.12.2026",
        "1/2/2026 3/4/2026",
        "timestamp 1767225600",
        "1767225600123 ms",
        "price 1,299.00 EUR",
        "1.234.567,89 €",
        "total: 12 345 678 rows",
        "3.14159265358979",
        "-122.4194, 37.7749",
        "1e-10 0.00012345678",
        "SN 5550134-77A",
        "serial 4X12-889-2231",
        "part no. 617-2231",
        "1024x768 1920x1080",
        "pages 1123-1187",
        "ISO 8601-1:2019",
        "RFC 7231 7232 7233",
        "seed=123456789",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "PMID: 31452104",
        "arXiv:2301.12345",
        "doi:10.1000/182.5551234567",
        "tracking 1Z999AA10123456784",
        "EAN 4006381333931",
        "0000000000000000",
        "1111 1111 1111 1111",
        "4111 1111 1111 1112",
        "000-12-3456",
        "666-12-3456",
        "912-34-5678",
        "DE00 1234 5678 9012 3456 00",
        "GB29 NWBK 6016 1331 9268 18",
        "1.000.000 - 2.000.000",
        "room 12345678A",
        "AB12CD34",
        "QQ123456C",
        "[0.1234567, 0.2345678, 0.3456789]",
        "build 20260301.4",
        "line 1234567890 of the log",
        "5 + 6 = 11, 7 * 8 = 56, 90 / 3 = 30",
        "1 2 3 4 5 6 7 8 9 10 11 12",
        "100 200 300 400 500",
        "U+1F600 U+1F601",
        "ratio 16:9:4:3:2:1",
        "population 8,804,190 in 2020",
        "temperatures 12 14 15 13 11 10 9",
        "chapter 12-34-56",
        "2019-2020 2020-2021 2021-2022",
        "a score of 3-2 (1-1, 2-0)",
        "ticket #4415550123",
        "-1234567890",
        "$4,155,550,123",
    )
    return [*code, *addresses, *numbers]
