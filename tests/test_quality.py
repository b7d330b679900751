"""Each rule breaks just beyond its threshold and not before, and rules for web pages leave chats and tickets alone."""

from __future__ import annotations

import random
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from stillhouse.raw.profiles import CHAT, PROFILES, SHORT, WEB, Profile
from stillhouse.raw.quality import RULES, judge_quality
from stillhouse.raw.repetition import DUPLICATE, TOP, duplicate_shares, repetition

OFF = Profile()
PAGE = """The still was built by a coppersmith from the valley, who had learned his trade in two countries and never
wrote a word of it down. What we know comes from the neck of the pot, where he left a mark with the year and
his initials.

Copper takes up the sulfur that yeast leaves in the wash, and that is why a spirit from glass or steel tastes flat. It
also means that the metal wears thin. After some forty years most pots have been patched, and the swan neck goes first.

Anyone who wants to see one at work should come in November. The fruit has been fermenting since the end of summer, the
nights are cold enough for the condenser, and the distiller has time to talk while the first drops are running."""
GOOD_SHORT = [
    "Stainless steel water bottle 750 ml, black",
    "Great value, would buy again!!!",
    "soooooooooo good 😍😍",
    "no no no no, never again",
    "hahahahahahahaha",
    "5/5",
    "Ça marche.",
    "我的订单在哪里？",
    "ok",
    "👍 works",
    "a b c d e f g",
    "Error 0x80070005 #1234 #5678 {code: 17} ...",
    "* blue\n* red\n* green\n* blue",
    "why???????????????????????????????????????",
]
TICKET = """Hi team,

since yesterday's update I can't log in anymore...
----------------------------------------------------------------------------------------------------
ERROR 2024-11-25 10:33:12 {"code": 403, "path": "/api/login"}
ERROR 2024-11-25 10:33:13 {"code": 403, "path": "/api/login"}
ERROR 2024-11-25 10:33:14 {"code": 403, "path": "/api/login"}
====================================================================================================
- tried: reinstall
- tried: other browser
pls help
Anna"""
TALK = "\n".join(
    ["User: hi", "Bot: Hello! How can I help?", "User: refund", "Bot: Sure. Which order?", "User: 1234"] * 3
)


def judged(text: str, **thresholds: float) -> str | None:
    found = judge_quality(text, replace(OFF, **thresholds), language="en")  # type: ignore[arg-type]
    return found.rule if found else None


def sentences(count: int, seed: int = 0) -> str:
    """Made-up English prose in which no longer run of words repeats."""
    rng = random.Random(seed)
    words = [
        "the",
        "of",
        "and",
        *("".join(rng.choices("abcdefgiklmnoprstuvw", k=rng.randint(3, 8))) for _ in range(400)),
    ]
    return " ".join(" ".join(rng.choices(words, k=9)).capitalize() + "." for _ in range(count))


# --- every threshold, just below and just above ------------------------------------------------------------------

DISTINCT = [f"w{number:03}" for number in range(400)]  # four characters each


def repeated_run(n: int, repeated: int) -> str:
    """A run of n words twice, the second ``repeated`` characters of 1,000 (n times the size of a word)."""
    size = repeated // n
    run = [chr(ord("a") + number) * size for number in range(n)]
    left = 1000 - 2 * n * size
    rest = [f"{number:05}" for number in range(left // 5 - 1)]
    return " ".join([*run, "x" * (left - 5 * len(rest)), *run, *rest])


CASES: list[tuple[str, float, str, str]] = [
    ("fewest_letters_or_digits", 1, "?! a", "?! …"),
    ("fewest_letters_or_digits", 3, "a-1-ü", "a-1-_"),
    ("most_of_one_letter", 0.8, "a" * 40 + "bcdefghijk", "a" * 41 + "bcdefghijk"),
    ("most_of_one_word", 0.8, " ".join(["no"] * 20 + DISTINCT[:5]), " ".join(["no"] * 21 + DISTINCT[:5])),
    ("fewest_words", 50, "word " * 50, "word " * 49),
    ("most_words", 100_000, "a " * 100_000, "a " * 100_001),
    ("fewest_letters_per_word", 3, "one two abc", "one two ab"),
    ("most_letters_per_word", 10, "a" * 10 + " " + "b" * 10, "a" * 10 + " " + "b" * 11),
    ("most_hash_signs_per_word", 0.1, "word " * 9 + "#tag", "word " * 9 + "##tag"),
    ("most_ellipses_per_word", 0.1, "word " * 9 + "end...", "word " * 8 + "more… end..."),
    ("most_bullet_lines", 0.9, "- item\n" * 9 + "end", "- item\n" * 10 + "end"),
    ("most_ellipsis_lines", 0.3, "cut...\n" * 3 + "line\n" * 7, "cut…\n" * 4 + "line\n" * 6),
    ("fewest_words_with_letter", 0.8, "a1, b2 c, d 5", "a1, b2 c, 4 5"),
    ("fewest_stop_words", 2, "That dog (with a bone)", "That dog that ate that bone"),
    ("most_placeholders", 0, "Lorem and Ipsum", "Lorem ipsum dolor"),
    ("most_curly_brackets", 0, "f(x)", "f{x}"),
    ("fewest_sentences", 3, 'One. "Two?" Three!', "One. Two 2.5 and 3.14 and so on"),
    ("fewest_punctuated_lines", 0.12, "A line\n" * 22 + "A line.\n" * 3, "A line\n" * 23 + "A line.\n" * 3),
    ("most_short_lines", 0.67, "x" * 30 + "\n" + "y" * 29 + "\n" + "z" * 29, "y\n" * 7 + ("x" * 30 + "\n") * 3),
    ("most_line_breaks_per_word", 0.3, "\n".join(["one two three a b c d", "e", "f", "g"]), "a b c\nd\ne"),
    ("most_duplicate_lines", 0.3, "\n".join([*DISTINCT[:7], *["w000"] * 3]), "\n".join([*DISTINCT[:6], *["w000"] * 4])),
    (
        "most_duplicate_line_characters",
        0.1,
        "\n".join([*DISTINCT[:9], "w000"]),
        "\n".join([*DISTINCT[:8], "w000"]),
    ),
    (
        "most_duplicate_paragraphs",
        0.3,
        "\n\n".join([*DISTINCT[:7], *["w000"] * 3]),
        "\n \n".join([*DISTINCT[:6], *["w000"] * 4]),
    ),
    (
        "most_duplicate_paragraph_characters",
        0.2,
        "\n\n".join([*DISTINCT[:8], *["w000"] * 2]),
        "\n\n".join([*DISTINCT[:7], *["w000"] * 2]),
    ),
    # two occurrences of the run count
    ("most_in_top_2_words", 0.2, repeated_run(2, 100), repeated_run(2, 102)),
    ("most_in_top_3_words", 0.18, repeated_run(3, 90), repeated_run(3, 93)),
    ("most_in_top_4_words", 0.16, repeated_run(4, 80), repeated_run(4, 84)),
    # the second occurrence counts
    ("most_in_repeated_5_words", 0.15, repeated_run(5, 150), repeated_run(5, 155)),
    ("most_in_repeated_6_words", 0.14, repeated_run(6, 138), repeated_run(6, 144)),
    ("most_in_repeated_7_words", 0.13, repeated_run(7, 126), repeated_run(7, 133)),
    ("most_in_repeated_8_words", 0.12, repeated_run(8, 120), repeated_run(8, 128)),
    ("most_in_repeated_9_words", 0.11, repeated_run(9, 108), repeated_run(9, 117)),
    ("most_in_repeated_10_words", 0.1, repeated_run(10, 100), repeated_run(10, 110)),
]


@pytest.mark.parametrize(("rule", "threshold", "kept", "broken"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES])
def test_a_rule_breaks_just_beyond_its_threshold(rule: str, threshold: float, kept: str, broken: str) -> None:
    assert judged(kept, **{rule: threshold}) is None
    found = judge_quality(broken, replace(OFF, **{rule: threshold}), language="en")  # type: ignore[arg-type]
    assert found is not None
    assert (found.rule, found.threshold) == (rule, threshold)
    assert found.reason
    assert found.score < threshold if rule.startswith("fewest") else found.score > threshold
    assert judged(broken) is None  # switched off, it never breaks


def test_every_threshold_has_a_rule_a_case_and_a_place_in_the_order() -> None:
    names = [field.name for field in fields(Profile)]
    assert names == [rule.key for rule in RULES]
    assert set(names) == {case[0] for case in CASES}
    assert all(value is not None for value in asdict(WEB).values())
    assert len({rule.reason for rule in RULES}) == len(RULES)


def test_the_first_broken_rule_in_the_order_gives_the_reason() -> None:
    text = "# buy { now …"
    broken = [rule.key for rule in RULES if judged(text, **{rule.key: getattr(WEB, rule.key)})]
    assert len(broken) > 4
    found = judge_quality(text, WEB)
    assert found is not None
    assert found.rule == broken[0] == "fewest_words"
    assert judge_quality(text, replace(WEB, fewest_words=None)) is not None


# --- what each profile lets through ------------------------------------------------------------------------------


def test_a_good_page_passes_every_profile() -> None:
    for profile in PROFILES.values():
        assert judge_quality(PAGE, profile, language="en") is None


@pytest.mark.parametrize("text", [*GOOD_SHORT, TICKET, TALK, PAGE])
@pytest.mark.parametrize("profile", [SHORT, CHAT], ids=["short", "chat"])
def test_tickets_chats_reviews_and_titles_pass(text: str, profile: Profile) -> None:
    assert judge_quality(text, profile, language="en") is None


def test_web_would_throw_those_away_and_its_rules_are_off_for_chat_and_short() -> None:
    assert all(judge_quality(text, WEB, language="en") for text in [*GOOD_SHORT, TICKET, TALK])
    mild = {"fewest_letters_or_digits", "most_of_one_letter", "most_of_one_word", "most_in_repeated_10_words"}
    for profile in (SHORT, CHAT):
        assert {key for key, value in asdict(profile).items() if value is not None} == mild
        assert profile.most_in_repeated_10_words is not None and profile.most_in_repeated_10_words >= 0.95


@pytest.mark.parametrize(
    "text", ["", "   \n", "?!?!", "🎉🎉🎉", "-----", "a" * 500, "no " * 100, "你好" * 100, PAGE[:200] * 60]
)
@pytest.mark.parametrize("profile", [SHORT, CHAT], ids=["short", "chat"])
def test_text_without_any_content_is_caught_everywhere(text: str, profile: Profile) -> None:
    assert judge_quality(text, profile) is not None


@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
@pytest.mark.parametrize(
    "text", [PAGE, PAGE.split(".")[0] + ".", sentences(8), "我的包裹一直没有到，电话也没有人接。" * 2]
)
def test_text_repeated_twenty_times_is_caught_on_the_web(text: str, between: str) -> None:
    assert judge_quality(between.join([text] * 20), replace(WEB, fewest_words=None)) is not None


CHINESE = (
    "铜锅是山谷里的一位铜匠打造的，他在两个国家学过手艺，却从来没有写下一个字。我们所知道的都来自锅颈，他在那里留下了年份和姓名的记号。\n"
    "铜能吸收酵母留在酒醪里的硫，所以用玻璃或钢蒸出来的酒味道平淡。这也意味着金属会慢慢变薄，四十年以后大多数的锅都打过补丁。\n"
    "想看它工作的人应该十一月来。果子从夏末就开始发酵，夜里够冷，冷凝器正好用，第一滴酒流出来的时候，师傅也有空聊天。"
)
THAI = "หม้อต้มทองแดงนี้สร้างโดยช่างจากหุบเขาซึ่งเรียนรู้งานฝีมือจากสองประเทศแต่ไม่เคยจดบันทึกไว้เลย เรารู้เรื่องนี้จากคอหม้อที่เขาทิ้งเครื่องหมายไว้"


@pytest.mark.parametrize("text", [CHINESE, CHINESE.replace("\n", ""), THAI])
def test_text_without_spaces_is_not_condemned_by_rules_about_words(text: str) -> None:
    assert judge_quality(text, WEB) is None


@pytest.mark.parametrize(
    "text",
    [
        "제 소포가 아직도 오지 않았고 전화도 받지 않습니다. 언제 받을 수 있나요? 꼭 알려 주세요.",
        "Tôi mua nó ở chợ từ hè. Nó đã cũ mà vẫn tốt. Ai hỏi tôi cũng kể về nó.",
        "मेरा पार्सल कभी नहीं आया और कोई फ़ोन नहीं उठाता। कृपया मदद करें। धन्यवाद।",
    ],
)
def test_scripts_with_short_words_or_marks_are_not_condemned(text: str) -> None:
    assert judge_quality(text, replace(WEB, fewest_words=None)) is None


def test_stop_words_are_asked_for_in_english_only() -> None:
    profile = replace(OFF, fewest_stop_words=2)
    assert judge_quality("Bitte melden Sie sich", profile, language="de") is None
    assert judge_quality("Bitte melden Sie sich", profile) is None
    assert judge_quality("Bitte melden Sie sich", profile, language="en") is not None


# --- laws of the scores ------------------------------------------------------------------------------------------

words = st.lists(
    st.sampled_from(["a", "b", "the", "of", "x.", "no", "…", "#", "- z", "\n", "\n\n", "我", "{", "12"]), max_size=60
)


@given(
    words.map(" ".join), st.text(st.sampled_from(" \t\n\r\u00a0\u3000"), max_size=6), st.sampled_from(list(PROFILES))
)
def test_trailing_white_space_changes_nothing(text: str, tail: str, name: str) -> None:
    assert judge_quality(text + tail, PROFILES[name], language="en") == judge_quality(
        text, PROFILES[name], language="en"
    )


@given(words.map(" ".join) | st.text(max_size=80))
def test_a_text_is_kept_exactly_if_no_single_rule_condemns_it(text: str) -> None:
    found = judge_quality(text, WEB, language="en")
    broken = [rule.key for rule in RULES if judged(text, **{rule.key: getattr(WEB, rule.key)})]
    assert broken[:1] == ([found.rule] if found else [])


def exact(text: str, key: str) -> float | None:
    """A share's true value: a threshold of 0 leaves no room for the measures' short cuts."""
    found = judge_quality(text, replace(OFF, **{key: 0.0}))  # type: ignore[arg-type]
    return found.score if found else None


@given(st.text(st.sampled_from("aab1 \n."), max_size=120) | words.map(" ".join), st.floats(0.01, 0.99))
def test_the_short_cuts_of_the_measures_are_exact(text: str, threshold: float) -> None:
    for key in ("most_of_one_letter", "most_of_one_word", "most_in_repeated_5_words", "most_in_repeated_10_words"):
        score = exact(text, key)
        assert (judged(text, **{key: threshold}) is not None) == (score is not None and score > threshold)


def naive_top(tokens: list[str], n: int) -> float:
    runs = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    often = [(runs.count(run), sum(map(len, run))) for run in runs if runs.count(run) > 1]
    count, size = max(often, default=(0, 0))
    return min(1.0, count * size / sum(map(len, tokens)))


def naive_duplicate(tokens: list[str], n: int) -> float:
    runs = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    covered = {at for start, run in enumerate(runs) if run in runs[:start] for at in range(start, start + n)}
    return sum(len(tokens[at]) for at in covered) / sum(map(len, tokens))


@examples(2)
@given(st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), min_size=1, max_size=40))
def test_repetition_agrees_with_the_definition(tokens: list[str]) -> None:
    found = repetition(tokens)
    assert [found.top.get(n, 0.0) for n in TOP] == pytest.approx([naive_top(tokens, n) for n in TOP])
    assert [found.duplicate.get(n, 0.0) for n in DUPLICATE] == pytest.approx(
        [naive_duplicate(tokens, n) for n in DUPLICATE]
    )


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1), st.randoms())
def test_duplicate_shares_do_not_depend_on_the_order(pieces: list[str], rng: random.Random) -> None:
    shares = duplicate_shares(pieces)
    assert all(0 <= share < 1 for share in shares)
    rng.shuffle(pieces)
    assert duplicate_shares(pieces) == pytest.approx(shares)
    assert duplicate_shares(pieces * 2)[0] == pytest.approx((1 + shares[0]) / 2)


def test_repetition_of_a_whole_text_is_all_but_its_first_occurrence() -> None:
    tokens = sentences(4).split()
    for times in (2, 5, 20):
        assert repetition(tokens * times).duplicate[10] == pytest.approx(1 - 1 / times)
    assert repetition([]).top == repetition(DISTINCT).duplicate == {}
