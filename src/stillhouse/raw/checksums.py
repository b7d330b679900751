"""Check digits and lengths of payment cards, IBANs, identity numbers and wallet addresses.

    is_card("4111111111111111")                 # True: prefix, length and Luhn
    iban_end("IBAN DE89 3704 0044 0532 0130 00, thanks", 5)        # 32: where the IBAN that begins at 5 ends
    nhs("9434765919")                           # True

Every function takes digits (and letters) without separators unless it says otherwise, and answers yes or no.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import date

# ISO/IEC 7812 prefixes as the networks publish them, with the lengths that are issued today
_CARD = re.compile(
    r"4\d{15}|4\d{18}"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}"  # Discover
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14,17}"  # UnionPay
)

# SWIFT's IBAN registry: characters per country
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in (
        line.split(":")
        for line in (
            "15:NO", "16:BE", "18:DK FI FO GL NL", "19:MK SI SD", "20:AT BA EE KZ LT LU XK", "21:CH HR LI LV",
            "22:BG BH CR DE GB GE IE ME RS VA", "23:AE GI IL IQ OM SO TL", "24:AD CZ ES MD PK RO SA SE SK TN VG",
            "25:LY PT ST", "26:IS TR", "27:BI DJ FR GR IT MC MR SM", "28:AL AZ BY CY DO EG GT HU LB NI PL SV",
            "29:BR PS QA UA", "30:JO KW MU YE", "31:MT SC", "32:LC", "33:RU",
        )
    )
    for country in countries.split()
}  # fmt: skip


def luhn(digits: str) -> bool:
    """The check of ISO/IEC 7812-1, annex B."""
    total = sum(map(int, digits[-1::-2])) + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return total % 10 == 0


def is_card(digits: str) -> bool:
    """Whether a payment card can have this number: prefix, length, Luhn; four or more different digits."""
    return _CARD.fullmatch(digits) is not None and len(set(digits)) > 3 and luhn(digits)


def iban_end(text: str, start: int) -> int | None:
    """Where the IBAN that begins at ``start`` ends, single spaces inside it skipped; None if there is none."""
    length = _IBAN_LENGTHS.get(text[start : start + 2])
    if length is None:
        return None
    found, place = "", start
    while len(found) < length:
        if text[place : place + 1] == " " and found:
            place += 1
        character = text[place : place + 1]
        if not ("0" <= character <= "9" or "A" <= character <= "Z"):
            return None
        found, place = found + character, place + 1
    after = text[place : place + 1]
    number = int("".join(str(int(c, 36)) for c in found[4:] + found[:4]))
    return place if number % 97 == 1 and not (after.isascii() and after.isalnum()) and len(set(found[4:])) > 2 else None


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _two_digit_date(yymmdd: str, *, months: Sequence[int] = (0,)) -> bool:
    """A day of some century; ``months`` are the offsets under which the month may be written."""
    year, month, day = int(yymmdd[:2]), int(yymmdd[2:4]), int(yymmdd[4:6])
    return any(_is_date(2000 + year, month - offset, day) for offset in months)


def ssn(digits: str) -> bool:
    """United States (SSA, "SSN randomization"): area not 000, 666 or 900 and above; no group or serial of zeros."""
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def nino(number: str) -> bool:
    """United Kingdom (HMRC manual NIM39110): prefixes that are not given out; there is no check digit."""
    return number[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def nhs(digits: str) -> bool:
    """United Kingdom (NHS Data Dictionary): weights 10 to 2, modulus 11."""
    return -_weighted(digits, range(10, 1, -1)) % 11 == int(digits[9]) and len(set(digits)) > 1


def steuer_id(digits: str) -> bool:
    """Germany (Bundeszentralamt für Steuern): one digit two or three times in the first ten; ISO 7064 mod 11,10."""
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return digits[0] != "0" and len(set(digits[:10])) in (8, 9) and (11 - product) % 10 == int(digits[10])


def nir(number: str) -> bool:
    """France (INSEE): sex, year, month, place and order, key 97 − n mod 97; 2A and 2B count as 19 and 18."""
    digits = number.replace("2A", "19").replace("2B", "18") if number[5:7] in ("2A", "2B") else number
    month = int(digits[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and 97 - int(digits[:13]) % 97 == int(digits[13:])


def dni(number: str) -> bool:
    """Spain (Ministerio del Interior): the remainder by 23 picks the letter; X, Y, Z of a NIE count as 0, 1, 2."""
    body = number[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23] == number[-1] and len(set(body)) > 1


# the values of 0 to 9 and of A to Z at odd places; A to J have those of the digits
_ODD_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_ODD_LETTERS = (*_ODD_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def codice_fiscale(number: str) -> bool:
    """Italy (Decreto MEF of 23 December 1976): characters at odd places by a table, at even ones by order; mod 26."""
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in number[1:15:2])
    odd = sum(_ODD_DIGITS[int(c)] if c.isdigit() else _ODD_LETTERS[ord(c) - 65] for c in number[0:15:2])
    return (odd + even) % 26 == ord(number[15]) - 65


def bsn(digits: str) -> bool:
    """Netherlands: weights 9 to 2 and −1, divisible by 11."""
    return _weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0 and len(set(digits)) > 1


def personnummer(digits: str) -> bool:
    """Sweden (Skatteverket, SKV 704): a date, its day perhaps plus 60, and Luhn over the last ten digits."""
    short = digits[-10:]
    day = int(short[4:6])
    return _two_digit_date(f"{short[:4]}{day - 60 if day > 60 else day:02d}") and luhn(short)


def pesel(digits: str) -> bool:
    """Poland (gov.pl): a date whose month also tells the century, weights 1 3 7 9."""
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return _two_digit_date(digits, months=(0, 20, 40, 60, 80)) and _weighted(digits, weights) % 10 == 0


def ahv(digits: str) -> bool:
    """Switzerland (Zentrale Ausgleichsstelle): 756 and the check digit of EAN-13."""
    return _weighted(digits, (1, 3) * 6 + (1,)) % 10 == 0


def hetu(number: str) -> bool:
    """Finland (DVV): date, century mark, three digits, remainder by 31."""
    body = number[:6] + number[7:10]
    valid = _two_digit_date(number[4:6] + number[2:4] + number[:2])
    return valid and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(body) % 31] == number[10]


def cpf(digits: str) -> bool:
    """Brazil (Receita Federal): two check digits modulo 11."""
    checks = (_weighted(digits, range(size + 1, 1, -1)) * 10 % 11 % 10 for size in (9, 10))
    return len(set(digits)) > 1 and all(check == int(digits[9 + place]) for place, check in enumerate(checks))


def rijksregister(digits: str) -> bool:
    """Belgium (IBZ): key 97 − n mod 97, with a 2 in front for the born since 2000."""
    body, key = digits[:9], int(digits[9:])
    return key in (97 - int(body) % 97, 97 - int("2" + body) % 97)


def sin(digits: str) -> bool:
    """Canada: Luhn over nine digits; none begins with 8, and 0 is not issued."""
    return digits[0] not in "08" and luhn(digits)


def base58check(address: str) -> bool:
    """A Bitcoin address whose last four bytes are those of a double SHA-256 (Bitcoin developer reference)."""
    number = 0
    for character in address:
        number = number * 58 + "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".index(character)
    if number >= 1 << 200:
        return False
    payload = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(payload[:21]).digest()).digest()[:4] == payload[21:]


def bech32(address: str) -> bool:
    """A Bitcoin address in Bech32 or Bech32m (BIP 173, BIP 350), lower case."""
    check = 1
    values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".find(character) for character in address[3:]]
    for value in (3, 3, 0, 2, 3, *values):  # "bc", spread out as the standard has it
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if top >> place & 1 else 0
    return min(values) >= 0 and check in (1, 0x2BC830A3)


Check = Callable[[str], bool]
