"""Decontamination: what was planted is found however it is written, what only sounds alike is not cut."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from stillhouse.overlap import search as decontaminate
from stillhouse.overlap.ngrams import hash_of, weight_of, words_of
from stillhouse.overlap.search import Hit, Index, Item, build_index, count_documents, scan, verdict

LESS = examples(0.5)
EVERY = 10**9  # a stock limit that nothing reaches
# few words, so that random texts share n-grams of three
SENTENCES = st.lists(st.sampled_from(["one", "two", "three", "four", "Été", "東", "京"]), max_size=14).map(" ".join)
ITEMS = st.lists(st.builds(Item, st.just("made"), SENTENCES, st.none() | st.sampled_from(["one", "two four", "!"])))


def prose(words: int, seed: int, vocabulary: int = 5000, stem: str = "w") -> str:
    drawn = random.Random(f"{stem}{seed}")
    return " ".join(f"{stem}{drawn.randrange(vocabulary)}" for _ in range(words))


def disguised(text: str, seed: int) -> str:
    """The same words: other case, other spacing, and punctuation wherever there was a space."""
    drawn = random.Random(seed)
    words = [drawn.choice([str.upper, str.title, str.lower])(word) for word in text.split()]
    return "".join(word + drawn.choice(["  ", ", ", " -- ", "\n", "…", "; ", "\u00a0", "_ "]) for word in words)


def by_item(hits: Sequence[Hit]) -> dict[int, Hit]:
    return {hit.item: hit for hit in hits}


# ---- words -----------------------------------------------------------------------------------------------------


@given(st.text())
def test_words_are_the_same_when_read_again_or_written_in_another_form_of_unicode(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words
    assert words_of(unicodedata.normalize("NFD", text)) == words_of(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t PANIC!", ["dont", "panic"]),
        ("don't_panic", ["dont", "panic"]),
        ("Straße ﬁne ２０", ["strasse", "fine", "20"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        ("東京は3月", ["東", "京", "は", "3", "月"]),
        ("हिन्दी।", ["हिन्दी"]),
        ("", []),
        ("!!! 🙂", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_hashes_are_the_same_on_every_machine_and_a_character_is_half_a_word() -> None:
    assert hash_of("stillhouse") == 0xAC842F08B160329C
    assert weight_of(words_of("東京 is far")) == 3.0


# ---- what is found ---------------------------------------------------------------------------------------------


def test_two_hundred_of_two_hundred_planted_items_are_found_and_cut() -> None:
    items = [Item(f"i{n}", prose(8 + n % 60, n), "w1 w2" if n % 2 else None) for n in range(200)]
    rows = [
        f"{prose(30, n, stem='x')}. {disguised(item.text, n)} {prose(30, n, stem='y')}" for n, item in enumerate(items)
    ]
    hits = scan(rows, build_index(items))
    assert [(hit.row, hit.item) for hit in hits] == [(n, n) for n in range(200)]
    assert all(hit.share == 1.0 and verdict(hit) == "cut" for hit in hits)


def test_rows_of_the_same_words_in_another_order_are_never_hit() -> None:
    index = build_index([Item(f"i{n}", prose(4 + n % 60, n, vocabulary=300)) for n in range(300)])
    assert scan([prose(80, n, vocabulary=300) for n in range(10_000, 11_000)], index) == []


@LESS
@given(st.lists(SENTENCES), ITEMS)
def test_the_share_is_what_comparing_every_n_gram_says(texts: list[str], items: list[Item]) -> None:
    size = 3
    index = build_index(items, size=size, stock_items=EVERY)
    found = {(hit.row, hit.item): hit for hit in scan(texts, index) if hit.kind == "n-gram"}
    for row, text in enumerate(texts):
        words = words_of(text)
        grams = {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}
        for number, item in enumerate(items):
            wanted = words_of(item.text)
            covered = {
                place
                for at in range(len(wanted) - size + 1)
                if tuple(wanted[at : at + size]) in grams
                for place in range(at, at + size)
            }
            hit = found.pop((row, number), None)
            assert (hit.share if hit else 0.0) == len(covered) / max(1, len(wanted))
            assert hit is None or hit.excerpt in " ".join(words)
    assert not found


@LESS
@given(st.lists(SENTENCES | st.text(), min_size=1))
def test_an_item_is_contained_in_itself(texts: list[str]) -> None:
    items = [Item("made", text) for text in texts]
    for size in (3, 13):
        hits = {(hit.row, hit.item): hit for hit in scan(texts, build_index(items, size=size))}
        for row, text in enumerate(texts):
            if words_of(text):
                assert hits[row, row].share == 1.0
                assert verdict(hits[row, row]) == "cut"


@LESS
@given(ITEMS, ITEMS, st.lists(SENTENCES))
def test_more_items_never_take_a_hit_away(items: list[Item], more: list[Item], texts: list[str]) -> None:
    few = scan(texts, build_index(items, size=3, stock_items=EVERY))
    many = scan(texts, build_index(items + more, size=3, stock_items=EVERY))
    assert [hit for hit in many if hit.item < len(items)] == few


@LESS
@given(ITEMS, st.lists(st.tuples(SENTENCES, st.none() | SENTENCES)), st.data())
def test_a_rows_hits_do_not_depend_on_the_rows_around_it(
    items: list[Item], rows: list[tuple[str, str | None]], data: st.DataObject
) -> None:
    index = build_index(items, size=3)
    cut = data.draw(st.integers(0, len(rows)))
    chunk = data.draw(st.integers(1, 4))

    def scanned(part: Sequence[tuple[str, str | None]], offset: int = 0) -> list[Hit]:
        hits = scan([text for text, _ in part], index, answers=[answer for _, answer in part])
        return [replace(hit, row=hit.row + offset) for hit in hits]

    whole = scanned(rows)
    assert scanned(rows[:cut]) + scanned(rows[cut:], cut) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decontaminate, "_CHUNK", chunk)
        assert scanned(rows) == whole


def test_nothing_in_nothing() -> None:
    assert scan(["some text"], build_index([])) == []
    assert scan([], build_index([Item("made", "some text")])) == []
    empty = build_index([Item("made", ""), Item("made", "?!", "?")])
    assert scan(["", "some text"], empty) == []
    assert count_documents(["some text"], empty).tolist() == []


# ---- user case 22: quotations, stock questions, real items -------------------------------------------------------

PASSAGE = prose(60, 1, stem="public")
CAPITAL = Item("trivia:1", "What is the capital of France?", "Paris")


def around(text: str, seed: int = 0) -> str:
    return f"{prose(150, seed, stem='x')}. {text} {prose(150, seed, stem='y')}"


@pytest.mark.parametrize(
    ("row", "kind", "outcome"),
    [
        (around("They asked me: what is the capital of France? I forgot."), "question only", "review"),
        (around("Q: What is the capital of France? A: It is Paris."), "question and answer", "cut"),
        (around("What is the capital of france?" + prose(60, 5) + " Paris"), "question only", "review"),
        ("Paris! What is the capital of France?", "question only", "cut"),
        ("what is the CAPITAL of France", "question only", "cut"),
    ],
)
def test_a_short_question_counts_with_its_answer_or_as_the_row(row: str, kind: str, outcome: str) -> None:
    (hit,) = scan([row], build_index([CAPITAL]))
    assert (hit.kind, verdict(hit)) == (kind, outcome)
    assert hit.excerpt.startswith("what is the capital of france")


def test_words_within_other_words_are_no_match() -> None:
    index = build_index([Item("made", "is the cap on")])
    assert scan(["this the cap on", "is the cap only", "is the. CAP on!"], index)[0].row == 2


def test_the_answer_may_stand_in_the_rows_own_answer_part() -> None:
    row = around("What is the capital of France?")
    for answer, outcome in (("The answer is paris.", "cut"), ("Parisian", "review"), (None, "review")):
        (hit,) = scan([row], build_index([CAPITAL]), answers=[answer])
        assert verdict(hit) == outcome


def test_a_letter_is_an_answer_in_the_answer_part_only() -> None:
    index = build_index([Item("made", "Which one of these floats?", "A")])
    text = around("Which one of these floats? A friend wants to know.")
    assert [verdict(hit) for hit in scan([text], index)] == ["review"]
    assert [verdict(hit) for hit in scan([text], index, answers=["A"])] == ["cut"]


@pytest.mark.parametrize(
    ("item", "outcome"), [("thank you very much indeed", "review"), ("eight words of a held out document here", "cut")]
)
def test_a_short_text_without_an_answer_counts_by_its_length(item: str, outcome: str) -> None:
    index = build_index([Item("test:1", item)])
    (inside,) = scan([around(item)], index)
    assert (inside.kind, inside.share, verdict(inside)) == ("whole", 1.0, outcome)
    (alone,) = scan([f"Oh, {item}!"], index)
    assert verdict(alone) == "cut"


def test_a_text_of_three_words_counts_only_as_the_whole_row() -> None:
    index = build_index([Item("made", "Thanks a lot"), Item("made", "Why?", "Because")])
    hits = scan(["thanks a lot!", "thanks a lot, really", "why", "why? because!", "why not? because", "so why"], index)
    assert [(hit.row, hit.item) for hit in hits] == [(0, 0), (2, 1), (3, 1)]


def test_eight_characters_without_spaces_are_a_short_question() -> None:
    index = build_index([Item("made", "法国的首都是哪里?", "巴黎")])
    plain, answered = scan(
        ["有人问我法国的首都是哪里?我不知道也不想知道", "考试题。法国的首都是哪里?答案是巴黎"], index
    )
    assert (plain.kind, verdict(plain)) == ("question only", "review")
    assert (answered.kind, verdict(answered)) == ("question and answer", "cut")


def test_one_sentence_of_a_long_document_is_a_quotation_and_half_of_it_a_copy() -> None:
    words = prose(400, 3).split()
    index = build_index([Item("test:1", " ".join(words))])
    for taken, share, outcome in ((13, 13 / 400, "review"), (199, 199 / 400, "review"), (200, 0.5, "cut")):
        (hit,) = scan([around(" ".join(words[50 : 50 + taken]))], index)
        assert (hit.share, hit.words, verdict(hit)) == (share, taken, outcome)
    assert scan([around(" ".join(words[50:62]))], index) == []
    assert verdict(hit, min_share=0.6) == "cut"  # 200 words are a copy whatever their share
    assert verdict(replace(hit, words=199.0), min_share=0.6) == "review"


def test_one_changed_word_costs_one_word_and_not_thirteen_n_grams() -> None:
    words = prose(40, 4).split()
    index = build_index([Item("test:1", " ".join(words))])
    (hit,) = scan([around(" ".join([*words[:20], "changed", *words[21:]]))], index)
    assert hit.share == 39 / 40


def test_a_passage_that_many_items_share_is_no_sign_of_any_of_them() -> None:
    items = [Item(f"reading:{n}", f"{PASSAGE} {prose(20, n, stem='question')}") for n in range(8)]
    index = build_index(items, stock_items=5)
    assert scan([around(PASSAGE)], index) == []
    (hit,) = scan([around(items[3].text)], index)
    assert (hit.item, hit.share, verdict(hit)) == (3, 1.0, "cut")
    assert {hit.item for hit in scan([around(PASSAGE)], build_index(items, stock_items=8))} == set(range(8))


def test_copies_of_one_item_are_one_item_and_pure_stock_stays_findable() -> None:
    copies = [Item(f"copy:{n}", disguised(PASSAGE, n)) for n in range(8)]
    assert len(scan([around(PASSAGE)], build_index(copies))) == 8
    other = Item("other", f"{PASSAGE} and more")
    assert len(scan([around(PASSAGE)], build_index([*copies, other]))) == 9  # the passage is in two different items
    longer = [Item(f"longer:{n}", f"{PASSAGE} {prose(20, n, stem='q')}") for n in range(8)]
    (hit,) = scan([around(PASSAGE)], build_index([Item("pure", PASSAGE), *longer]))
    assert (hit.item, hit.share) == (0, 1.0)


def test_what_many_documents_hold_is_ignored_on_the_second_look() -> None:
    item = Item("test:1", f"{prose(20, 1, stem='own')} {PASSAGE}")
    texts = [around(PASSAGE, n) for n in range(30)] + [around(item.text)]
    index = build_index([item])
    seen = count_documents(texts, index)
    assert sorted(set(seen.tolist())) == [1, 31]
    assert (count_documents(texts[:7], index) + count_documents(texts[7:], index) == seen).all()
    assert [verdict(hit) for hit in scan(texts, index)] == ["cut"] * 31
    (hit,) = scan(texts, build_index([item], common=index.keys[seen > 20]))
    assert (hit.row, hit.share, verdict(hit)) == (30, 1.0, "cut")


@LESS
@given(st.lists(SENTENCES), ITEMS)
def test_documents_are_counted_once_for_each_n_gram(texts: list[str], items: list[Item]) -> None:
    index: Index = build_index(items, size=3, stock_items=EVERY)
    counts = dict(zip(index.keys.tolist(), count_documents(texts, index).tolist(), strict=True))
    alone = {gram: build_index([Item("gram", gram)], size=3).keys.tolist() for gram in _grams([i.text for i in items])}
    assert sorted(counts) == sorted(key for keys in alone.values() for key in keys)
    for gram, (key,) in alone.items():
        assert counts[key] == sum(gram in _grams([text]) for text in texts)
    assert np.all(np.diff(index.keys) > 0)


def _grams(texts: Sequence[str]) -> set[str]:
    return {" ".join(words[at : at + 3]) for words in map(words_of, texts) for at in range(len(words) - 2)}


def test_an_excerpt_is_the_longest_run_and_at_most_200_characters() -> None:
    words = prose(120, 9).split()
    index = build_index([Item("test:1", " ".join(words))])
    (hit,) = scan([f"{' '.join(words[:14])} gap {' '.join(words[20:35])} gap"], index)
    assert hit.excerpt == " ".join(words[20:35])
    (hit,) = scan([" ".join(words)], index)
    assert len(hit.excerpt) == 200
