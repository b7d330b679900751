"""Repair mends what was decoded wrongly, leaves good text alone, and the cheap test misses nothing that ftfy mends."""

from __future__ import annotations

import itertools
import re

import pytest
from ftfy import TextFixerConfig, fix_text
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from stillhouse.raw.repair import is_suspect, repair_text

GOOD = [
    "The app closes by itself – “always”, it’s ‘odd’ … 5 °C, ½ price, £3 or €4, ©2024 Acme™ §7 № 5",
    "L’été, « nous » sommes allés à l’École “Émile” : déjà 5 € de moins, œuvre, cœur, ÇA ALORS !",
    "„Über“ Äpfel, Öl und Übermut – ‚so‘ sagt’s der Straßenbäcker, GRÖSSE, ß",
    "¿Dónde está mi pedido? ¡Qué año! «No», dijo José: 3.º piso, 1.ª planta, NIÑO",
    "Não há “avó” nem à força; ação, coração, NÃO, ÇÃO, São João",
    "Zażółć gęślą jaźń „ŁÓDŹ” – Źdźbło, Śląsk",
    "Příliš žluťoučký kůň úpěl ďábelské ódy. ČEŠTINA, Šárka",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İSTANBUL, Iğdır",
    "«Привет», — сказал он. СССР, №5, Её ВЁДРО… «В начале» О том",
    "Він їв ґанок, її об'їзд, «Київ» – Європа, Ґудзик",
    "Ο άνθρωπος «ήρθε» – Ώρα, Ελλάδα… ΐ ΰ",
    "Tôi không biết vì sao đơn hàng ở Đà Nẵng đến trễ",
    "我的包裹一直没有到，“电话”也没有人接。ＡＢＣ　１２３",
    "荷物がまだ届かず、「電話」にも誰も出ません。ｶﾀｶﾅ",
    "제 소포가 아직도 오지 않았고 아무도 전화를 받지 않습니다.",
    "لم يصل طردي أبدا، ولا أحد يجيب على الهاتف؟",
    "החבילה שלי מעולם לא הגיעה; ״אף אחד״ לא עונה.",
    "मेरा पार्सल कभी नहीं आया और कोई फ़ोन नहीं उठाता।",
    "Great 👍🏽🎉 see you 👩‍👩‍👧 tomorrow ❤️",
    "“ﬁne” &amp; &lt;b&gt; e\u0301te\u0301 line\u2028par\u2029end\r\n\tx\u200bz\u200d",
]
CODECS = ["latin-1", "cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1257", "iso8859-2", "mac_roman", "cp437"]
OFF = TextFixerConfig(
    unescape_html=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    normalization=None,
)
_CLUE = re.compile(f"[{''.join(MOJIBAKE_CATEGORIES.values())}]")
CLUES = [chr(code) for code in range(0x80, 0xFFFE) if not 0xD800 <= code < 0xE000 and _CLUE.match(chr(code))]


def garbled(text: str, codec: str) -> str:
    return text.encode().decode(codec, "replace")


@pytest.mark.parametrize("text", GOOD)
def test_good_text_is_not_suspect_and_stays_as_it_is(text: str) -> None:
    assert not is_suspect(text)
    assert repair_text(text) == text


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("cafÃ© “noir”", "café “noir”"),
        ("donâ€™t panic â€“ itâ€™s fine", "don’t panic – it’s fine"),
        ("РџСЂРёРІРµС‚, РјРёСЂ", "Привет, мир"),
        ("l‚Äôh√¥tel", "l’hôtel"),
        ("sÃ³lo una lÃ­nea\nla otra estÃ¡ rota â\x80\x94 sÃ­", "sólo una línea\nla otra está rota — sí"),
        ("price: \x80 5 \x96 ok", "price: € 5 – ok"),
        ("\x1b[31mred\x1b[0m and\x00 \ufeffinvisible\x7f", "red and invisible"),
        ("smile \ud83d\ude00 and half \ud83d one", "smile 😀 and half \ufffd one"),
    ],
)
def test_faults_are_mended(broken: str, mended: str) -> None:
    assert is_suspect(broken)
    assert repair_text(broken) == mended


@pytest.mark.parametrize("text", GOOD)
@pytest.mark.parametrize("codec", CODECS)
def test_nothing_that_ftfy_mends_escapes_the_cheap_test(text: str, codec: str) -> None:
    for candidate in (
        garbled(text, codec),
        garbled(text, codec)[:30],
        f"In short: {garbled(text[3:20], codec)} and more.",
        garbled(garbled(text[:40], codec), codec),
    ):
        assert is_suspect(candidate) or fix_text(candidate, OFF) == candidate


def test_whatever_ftfy_calls_bad_is_suspect_for_all_pairs_of_its_characters() -> None:
    plain = ["a", "Z", " ", "1", "\n"]
    missed = [
        pair
        for pair in map("".join, itertools.product(CLUES + plain, repeat=2))
        if is_bad(pair) and not is_suspect(pair)
    ]
    assert len(CLUES) > 400
    assert missed == []


telltale = st.text(st.sampled_from(CLUES + list("aZ 1?\n") * 20 + list("ÂÃØÙâàВГРСв€™Ђ°Œœ’“”") * 10), max_size=24)


@examples(2.5)
@given(telltale | st.text(max_size=40) | st.text(st.characters(exclude_categories=()), max_size=20))
def test_the_cheap_test_is_safe_and_repair_is_idempotent_on_any_text(text: str) -> None:
    assert is_suspect(text) or fix_text(text, OFF) == text
    once = repair_text(text)
    assert repair_text(once) == once
    once.encode("utf-8")


@given(st.sampled_from(GOOD), st.sampled_from(GOOD), st.sampled_from(["\n", " ", "\r\n"]))
def test_good_texts_side_by_side_are_still_good(first: str, second: str, between: str) -> None:
    assert repair_text(first + between + second) == first + between + second
