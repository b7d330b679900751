"""Near copies: every removed row is truly similar to the one row that stays for it, whatever the batch or the order."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from stillhouse.errors import StillhouseError
from stillhouse.raw.near import Matches, band_keys, banding, candidate_pairs, choose, components, similarities
from stillhouse.raw.shingles import shingle_texts, shingles

SIZES: dict[str, Any] = {"words": 5, "characters": 4}
THRESHOLD = 0.7
# letters, digits, spaces and signs, accents of both forms, an invisible character, and scripts without spaces
MIXED = st.text(
    st.sampled_from(list("abAB1 _.,'-\n\tß\u0301é\u200dﬁ中国文のカกข\u0e31\u0e34ខ្한글र\u093f🙂")), max_size=40
)


def read_slowly(text: str, *, words: int, characters: int) -> set[tuple[str, ...]]:
    """The shingles by the letter of the module's description, one character at a time."""
    tokens: list[tuple[str, bool]] = []
    before = "separator"
    for letter in unicodedata.normalize("NFKC", text).replace("\u200d", "").casefold():
        category = unicodedata.category(letter)
        mark, lone = category in ("Mn", "Mc"), any(script in unicodedata.name(letter, "") for script in UNSPACED)
        if category[0] not in "LN" and not mark:
            before = "separator"
            continue
        if before != "separator" and (mark or (not lone and before == "spaced")):
            tokens[-1] = (tokens[-1][0] + letter, tokens[-1][1])
        else:
            tokens.append((letter, lone and not mark))
        before = "unspaced" if lone else "spaced"
    if len(tokens) < max(words, characters):
        return set()
    sizes = [characters if lone else words for _, lone in tokens]
    lead = sizes[0] - 1
    line = [""] * lead + [token for token, _ in tokens] + [""] * max(words, characters)
    sizes = [sizes[0]] * lead + sizes
    return {tuple(line[at : at + size]) for at, size in enumerate(sizes)}


UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "KHMER")
GOLDEN_SHINGLES = [1809016039579153922, 2222068824842031419]
GOLDEN_KEYS = [13599419801823108259, 3044207586915952490]


def jaccard(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def near(
    texts: Sequence[str], *, places: Sequence[int] | None = None, threshold: float = THRESHOLD, **bounds: int
) -> tuple[Matches, int]:
    """The whole way from texts to matches (by place), as one process would go it; and the number of candidates."""
    place = np.arange(len(texts)) if places is None else np.array(places)
    index = {int(where): row for row, where in enumerate(place)}
    rows, keys = band_keys(texts, threshold=threshold, seed=0, **SIZES)
    found = [
        candidate_pairs(keys[:, band], place[rows], order=keys[:, (band + 1) % keys.shape[1]], **bounds).pairs
        for band in range(keys.shape[1])
    ]
    pairs = np.unique(np.concatenate(found), axis=0)
    at = np.array([[index[left], index[right]] for left, right in pairs.tolist()], np.int64).reshape(-1, 2)
    return choose(pairs, similarities(texts, at, **SIZES), threshold=threshold), len(pairs)


def removed(texts: Sequence[str], **arguments: Any) -> list[int]:
    return near(texts, **arguments)[0].removed.tolist()


def sentence(random: np.random.Generator, words: int, vocabulary: int = 5000) -> list[str]:
    return [f"w{number}" for number in random.integers(vocabulary, size=words)]


def edited(words: list[str], edits: int, random: np.random.Generator) -> list[str]:
    """Words put in, taken out, replaced and swapped."""
    words = list(words)
    for kind in random.integers(4, size=edits):
        at = int(random.integers(len(words) - 1))
        if kind == 0:
            words[at] = f"n{random.integers(10**6)}"
        elif kind == 1:
            del words[at]
        elif kind == 2:
            words.insert(at, f"n{random.integers(10**6)}")
        else:
            words[at], words[at + 1] = words[at + 1], words[at]
    return words


def collection(count: int = 400) -> list[str]:
    """Texts of 8 to 120 words, two in three edited from an earlier one."""
    random = np.random.default_rng(7)
    texts: list[list[str]] = []
    for number in range(count):
        if number % 3:
            texts.append(edited(texts[int(random.integers(number))], int(random.integers(1, 6)), random))
        else:
            texts.append(sentence(random, int(random.integers(8, 120))))
    return [" ".join(words) for words in texts]


# --- shingles


@examples(3)
@given(MIXED, MIXED, st.integers(1, 4), st.integers(1, 4))
def test_similarity_is_that_of_the_sets_read_slowly(one: str, other: str, words: int, characters: int) -> None:
    other = one[: len(one) // 2] + other
    sizes = {"words": words, "characters": characters}
    slow = [read_slowly(text, **sizes) for text in (one, other)]
    assert [len(shingles(text, **sizes)) for text in (one, other)] == [len(found) for found in slow]
    assert similarities([one, other], np.array([[0, 1]]), **sizes) == [jaccard(*slow)]


@given(st.lists(MIXED, max_size=6))
def test_a_texts_shingles_do_not_depend_on_the_others(texts: list[str]) -> None:
    batch = shingle_texts(texts, words=3, characters=2)
    assert len(batch.offsets) == len(texts) + 1
    for number, text in enumerate(texts):
        alone = shingle_texts([text], words=3, characters=2).values
        assert np.array_equal(batch.values[batch.offsets[number] : batch.offsets[number + 1]], alone)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*collection(50), "", "x" * 500, "中文" * 300]
    whole = shingle_texts(texts, **SIZES)
    monkeypatch.setattr("stillhouse.raw.shingles._BLOCK", 100)
    small = shingle_texts(texts, **SIZES)
    assert np.array_equal(whole.values, small.values)
    assert np.array_equal(whole.offsets, small.offsets)


def test_values_are_the_same_on_every_machine() -> None:
    text = "The quick brown fox jumps over 中文字符 dogs."
    assert shingles(text, words=3, characters=2)[:2].tolist() == GOLDEN_SHINGLES
    _, keys = band_keys([text], threshold=0.8, words=3, characters=2, seed=1)
    assert keys[0, :2].tolist() == GOLDEN_KEYS


def test_words_do_not_collide() -> None:
    """A hundred and sixty thousand, among them all orders of eight letters; and long ones that fool polynomials."""
    words = ["".join(letters) for size in (1, 2, 3) for letters in product("abcdefghijklmnopqrstuvwxyz", repeat=size)]
    words += ["".join(letters) for letters in permutations("abcdefgh")] + [str(number) for number in range(100_000)]
    pattern = "ab"
    while len(pattern) < 5000:  # the sequence of Thue and Morse, and its mirror image
        pattern += pattern.translate({97: 98, 98: 97})
        words += [pattern, pattern.translate({97: 98, 98: 97})]
    assert len(shingles(" ".join(words), words=1, characters=1)) == len(set(words))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_changed_word_costs_the_same_wherever_it_stands(size: int) -> None:
    words = [f"w{number}" for number in range(20)]
    texts = [" ".join([*words[:at], "new", *words[at + 1 :]]) for at in range(20)]
    pairs = np.array([[0, row] for row in range(1, 21)])
    same = similarities([" ".join(words), *texts], pairs, words=size, characters=4)
    assert set(same.tolist()) == {(19 + size - size) / (19 + size + size)}


def test_order_counts() -> None:
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join(words), " ".join(words[::-1]), " ".join(words[30:] + words[:30])]
    backwards, turned = similarities(texts, np.array([[0, 1], [0, 2]]), **SIZES)
    assert backwards == 0
    assert 0.6 < turned < 0.9  # only what touches a cut or an end has changed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The film: fine, all in all!", "the  film\nfine – ALL in (all)"),
        ("Straße am Fluß im ersten Licht", "STRASSE AM FLUSS IM ERSTEN LICHT"),
        ("un caf\u00e9 tr\u00e8s bon pour toi", "un cafe\u0301 tre\u0300s bon pour toi"),
        ("the ﬁnal ｔｅｘｔ of ½ page", "the final text of 1⁄2 page"),
        ("co\u00adope\u200brate with us on the plan", "cooperate with us on the plan"),
        ("日本語の文章です。", "日本語 の文章\u200bです"),
    ],
)
def test_what_does_not_tell_texts_apart(one: str, other: str) -> None:
    found = shingles(one, **SIZES)
    assert len(found)
    assert np.array_equal(found, shingles(other, **SIZES))


NOTHING = [
    "",
    "   ",
    "\n\t",
    "!!!",
    "...",
    "🙂",
    "❤️ 👨‍👩‍👧 1\ufe0f\u20e3",
    "\u200b\ufeff",
    "\ud800",
    "—“”",
    "$%&/()=",
    "\x00",
]


@pytest.mark.parametrize("text", [*NOTHING, "cat", "yes no", "one two three four", "中国人", "ก็"])
def test_too_short_a_text_has_no_shingles(text: str) -> None:
    assert shingles(text, **SIZES).dtype == np.uint64
    assert not len(shingles(text, **SIZES))


@pytest.mark.parametrize("sizes", [(0, 4), (5, 0)])
def test_a_shingle_has_a_token(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        shingle_texts(["a b c"], words=sizes[0], characters=sizes[1])


# --- band keys


@pytest.mark.parametrize("batches", [1, 2, 7])
def test_keys_do_not_depend_on_batches_or_order(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*collection(200), *NOTHING, "中国文字" * 20]
    rows, keys = band_keys(texts, threshold=THRESHOLD, seed=3, **SIZES)
    assert rows.dtype == np.int64
    assert keys.shape == (len(rows), banding(THRESHOLD, permutations=128)[0])
    assert [len(shingles(text, **SIZES)) > 0 for text in texts] == np.isin(np.arange(len(texts)), rows).tolist()
    monkeypatch.setattr("stillhouse.raw.shingles._BLOCK", 1000)
    shuffled = np.random.default_rng(batches).permutation(len(texts))
    seen = {}
    for part in np.array_split(shuffled, batches):
        found, part_keys = band_keys([texts[i] for i in part], threshold=THRESHOLD, seed=3, **SIZES)
        seen |= dict(zip(part[found].tolist(), part_keys.tolist(), strict=True))
    assert seen == dict(zip(rows.tolist(), keys.tolist(), strict=True))


def test_another_seed_gives_other_keys_and_bands_share_none() -> None:
    texts = collection(30)
    keys = [band_keys(texts, threshold=THRESHOLD, seed=seed, **SIZES)[1] for seed in (0, 1, -1)]
    assert not set(keys[0].ravel().tolist()) & (set(keys[1].ravel().tolist()) | set(keys[2].ravel().tolist()))
    bands = [set(column.tolist()) for column in keys[0].T]
    assert all(not one & other for one, other in combinations(bands, 2))


def test_no_texts_no_keys() -> None:
    for texts in ([], NOTHING):
        rows, keys = band_keys(texts, threshold=THRESHOLD, seed=0, **SIZES)
        assert rows.shape == (0,)
        assert keys.shape == (0, banding(THRESHOLD, permutations=128)[0])


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("minima", [64, 128, 256])
def test_the_banding_is_the_most_selective_that_keeps_its_promise(threshold: float, minima: int) -> None:
    def recall(bands: int, rows: int) -> float:
        return 1 - (1 - threshold**rows) ** bands

    bands, rows = banding(threshold, permutations=minima)
    assert bands * rows <= minima
    assert recall(bands, rows) >= 0.95
    assert all(recall(minima // more, more) < 0.95 for more in range(rows + 1, minima + 1))


def test_too_few_permutations_are_refused() -> None:
    with pytest.raises(StillhouseError, match="8 permutations cannot find"):
        banding(0.2, permutations=8)


def test_pairs_share_bands_as_often_as_their_similarity_says() -> None:
    """One key of one minimum estimates the similarity itself: 128 of them, over 300 pairs, each of its own two sets."""
    random = np.random.default_rng(0)
    texts = []
    for _ in range(300):
        words = sentence(random, 60)
        texts += [" ".join(words), " ".join(edited(words, 2, random))]
    pairs = np.arange(600).reshape(-1, 2)
    true = similarities(texts, pairs, **SIZES)
    _, keys = band_keys(texts, threshold=1 - 0.05 ** (1 / 128), seed=0, **SIZES)  # so low that a band is one minimum
    assert keys.shape == (600, 128)
    agree = (keys[::2] == keys[1::2]).mean(axis=1)
    error = (agree - true) / np.sqrt(true * (1 - true) / 128 + 1e-9)
    assert abs(error.mean()) < 4 / np.sqrt(300)
    assert 0.7 < error.std() < 1.2


# --- candidates

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40)


def arrays(rows: Sequence[tuple[int, int]], places: Sequence[int]) -> tuple[Any, Any, Any]:
    return (
        np.array([key for key, _ in rows], np.uint64),
        np.array(places, np.int64),
        np.array([order for _, order in rows], np.uint64),
    )


@given(ROWS, st.randoms(use_true_random=False))
def test_small_buckets_give_all_their_pairs(rows: list[tuple[int, int]], random: Any) -> None:
    places = random.sample(range(1000), len(rows))
    keys, where, order = arrays(rows, places)
    found = candidate_pairs(keys, where, order=order, bucket_limit=40)
    same = [sorted(pair) for pair in combinations(range(len(rows)), 2) if keys[pair[0]] == keys[pair[1]]]
    assert found.pairs.tolist() == sorted(sorted(places[row] for row in pair) for pair in same)
    assert found.pairs.dtype == np.int64
    assert found.bounded == 0


@given(ROWS, st.integers(1, 6), st.integers(1, 3), st.randoms(use_true_random=False))
def test_pairs_are_bounded_and_depend_on_no_order_of_arrival(
    rows: list[tuple[int, int]], limit: int, neighbours: int, random: Any
) -> None:
    places = random.sample(range(1000), len(rows))
    keys, where, order = arrays(rows, places)
    found = candidate_pairs(keys, where, order=order, bucket_limit=limit, neighbours=neighbours)
    sizes = np.bincount(keys.astype(int), minlength=5)
    assert found.bounded == (sizes > limit).sum()
    assert len(found.pairs) <= len(rows) * max((limit - 1) / 2, neighbours + 1)
    first = {key: min(where[keys == key].tolist()) for key in set(keys.tolist())}
    pairs = {tuple(pair) for pair in found.pairs.tolist()}
    for key, place in zip(keys.tolist(), places, strict=True):
        assert place == first[key] or (first[key], place) in pairs  # all are compared with the first of their bucket
    assert found.pairs.tolist() == sorted([low, high] for low, high in pairs)
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
    shuffled = random.sample(range(len(rows)), len(rows))
    again = candidate_pairs(
        keys[shuffled], where[shuffled], order=order[shuffled], bucket_limit=limit, neighbours=neighbours
    )
    assert np.array_equal(found.pairs, again.pairs)
    parts = [  # buckets never meet, so they may be in different calls
        candidate_pairs(keys[part], where[part], order=order[part], bucket_limit=limit, neighbours=neighbours).pairs
        for part in (keys % 2 == 0, keys % 2 == 1)
    ]
    assert sorted(np.concatenate(parts).tolist()) == found.pairs.tolist()


def test_in_a_big_bucket_rows_of_the_same_order_are_compared() -> None:
    size = 10_000
    random = np.random.default_rng(0)
    order = random.permutation(size // 2).repeat(2).astype(np.uint64)  # every two agree in another band too
    places = random.permutation(size)
    found = candidate_pairs(np.zeros(size, np.uint64), places, order=order, neighbours=2)
    twins = {tuple(sorted(pair)) for pair in zip(places[::2].tolist(), places[1::2].tolist(), strict=True)}
    assert twins <= {tuple(pair) for pair in found.pairs.tolist()}
    assert found.bounded == 1
    assert len(found.pairs) <= 3 * size


# --- the choice

EDGES = st.dictionaries(
    st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda pair: pair[0] < pair[1]),
    st.sampled_from([0.5, 0.69, 0.7, 0.8, 0.9, 1.0]),
    max_size=30,
)


@given(EDGES, st.permutations(range(12)), st.randoms(use_true_random=False))
def test_a_row_leaves_if_and_only_if_a_better_row_that_stays_is_similar(
    edges: dict[tuple[int, int], float], rank: list[int], random: Any
) -> None:
    pairs = np.array(list(edges), np.int64).reshape(-1, 2)
    similarity = np.array(list(edges.values()), np.float64)
    priority = np.array(rank)[pairs]
    found = choose(pairs, similarity, threshold=0.7, priority=priority)
    assert found.removed.tolist() == sorted(set(found.removed.tolist()))
    named = dict(
        zip(found.removed.tolist(), zip(found.kept.tolist(), found.similarity.tolist(), strict=True), strict=True)
    )
    true = {frozenset(pair): value for pair, value in edges.items() if value >= 0.7}
    for row in range(12):
        stayed = [
            (-true[frozenset((row, other))], rank[other], other)
            for other in range(12)
            if other not in named and rank[other] < rank[row] and frozenset((row, other)) in true
        ]
        if stayed:
            value, _, other = min(stayed)
            assert named[row] == (other, -value)
        else:
            assert row not in named
    # neither the order of the pairs nor that within a pair matters
    shuffled = random.sample(range(len(pairs)), len(pairs))
    again = choose(pairs[shuffled, ::-1], similarity[shuffled], threshold=0.7, priority=priority[shuffled, ::-1])
    assert [field.tolist() for field in vars(again).values()] == [field.tolist() for field in vars(found).values()]
    # once more among those that stayed: nothing leaves
    left = ~np.isin(pairs, found.removed).any(axis=1)
    assert not len(choose(pairs[left], similarity[left], threshold=0.7, priority=priority[left]).removed)


def test_a_chain_of_small_steps_does_not_eat_its_end() -> None:
    pairs, same = np.array([[0, 1], [1, 2], [2, 3], [3, 4]]), np.full(4, 0.9)
    assert choose(pairs, same, threshold=0.7).removed.tolist() == [1, 3]
    assert components(pairs)[1].tolist() == [0] * 5  # but a split keeps the chain together
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join([f"n{number}" for number in range(step)] + words[step:]) for step in (0, 5, 10)]
    first, second, ends = similarities(texts, np.array([[0, 1], [1, 2], [0, 2]]), **SIZES)
    assert min(first, second) >= THRESHOLD > ends
    assert removed(texts) == [1]


@given(EDGES)
def test_components_are_what_a_walk_reaches(edges: dict[tuple[int, int], float]) -> None:
    pairs = np.array(list(edges), np.int64).reshape(-1, 2)
    places, component = components(pairs * 10)
    assert places.tolist() == sorted({10 * place for pair in edges for place in pair})
    for place, lowest in zip(places.tolist(), component.tolist(), strict=True):
        reached, fresh = {place // 10}, [place // 10]
        while fresh:
            here = fresh.pop()
            for pair in edges:
                if here in pair:
                    fresh += set(pair) - reached
                    reached |= set(pair)
        assert lowest == 10 * min(reached)


def test_a_long_chain_is_one_component() -> None:
    order = np.random.default_rng(0).permutation(20_000)
    places, component = components(np.stack((order[:-1], order[1:]), axis=1))
    assert len(places) == 20_000
    assert not component.any()


# --- from texts to matches


def test_removed_rows_are_truly_similar_and_few_are_missed() -> None:
    texts = collection()
    slow = [read_slowly(text, **SIZES) for text in texts]
    true = {(i, j): jaccard(slow[i], slow[j]) for i, j in combinations(range(len(texts)), 2)}
    verified = {pair: value for pair, value in true.items() if value >= THRESHOLD}
    assert len(verified) > 100
    matches, _ = near(texts)
    assert len(matches.removed) > 50
    stays = set(range(len(texts))) - set(matches.removed.tolist())
    for row, kept, value in zip(*(field.tolist() for field in vars(matches).values()), strict=True):
        assert kept in stays
        assert kept < row
        assert value == pytest.approx(true[kept, row], abs=0) and value >= THRESHOLD
    missed = sum(pair[0] in stays and pair[1] in stays for pair in verified)
    assert missed <= 0.02 * len(verified)


def test_the_order_of_rows_changes_nothing() -> None:
    texts = collection()
    expected = vars(near(texts)[0])
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(len(texts))
        found = vars(near([texts[i] for i in shuffled], places=shuffled.tolist())[0])
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_among_those_that_stayed_nothing_leaves() -> None:
    texts = collection()
    gone = set(removed(texts))
    assert gone
    assert not removed([text for row, text in enumerate(texts) if row not in gone])


def test_case_14_short_texts_are_never_near() -> None:
    intents = [
        f"turn {what} on" for what in ("light", "radio", "heat", "oven", "fan", "tv", "pump", "lamp", "mic", "fog")
    ]
    assert near(["cat", "dog", "cat", "yes", "no", *intents])[1] == 0


def test_case_15_texts_of_nothing_are_in_no_pair() -> None:
    normal = collection(9)
    texts = [*NOTHING, *normal, *NOTHING]
    matches, _ = near(texts)
    assert set(matches.removed.tolist()) | set(matches.kept.tolist()) <= set(range(len(NOTHING), len(NOTHING) + 9))


@pytest.mark.parametrize("copies", [2, 3, 100, 500])  # in buckets below and above the limit
def test_case_16_exactly_one_of_a_cluster_stays(copies: int) -> None:
    random = np.random.default_rng(copies)
    words = sentence(random, 100)
    cluster = [" ".join(edited(words, 1, random)) for _ in range(copies)]
    unique = [" ".join(sentence(random, 100)) for _ in range(2)]
    texts = [unique[0], *cluster, unique[1]]
    matches, _ = near(texts)
    assert matches.removed.tolist() == list(range(2, copies + 1))
    assert set(matches.kept.tolist()) == {1}


@pytest.mark.parametrize(("own", "similar"), [(10, True), (55, True), (70, False), (200, False)])
def test_case_18_shared_boilerplate_is_verified(own: int, similar: bool) -> None:
    """A shared system prompt of 300 words: the rows are as similar as the words they share, and no bound is passed."""
    random = np.random.default_rng(1)
    prompt = sentence(random, 300)
    questions = [sentence(random, own) for _ in range(200)]
    texts = [" ".join(prompt + question) for question in questions]
    matches, candidates = near(texts, bucket_limit=32, neighbours=4)
    assert candidates <= 25 * 16 * len(texts)
    assert (len(matches.removed) == 199) == similar
    assert len(matches.removed) in (0, 199)
    assert set(matches.kept.tolist()) <= {0}
    assert (matches.similarity >= THRESHOLD).all()
    # compared by what is theirs, all of them stay
    assert not removed([" ".join(question) for question in questions])


TEMPLATES: list[Callable[[int], str]] = [
    lambda n: f"road number {n} is in county {chr(65 + n) * 3}",
    lambda n: f"Please translate this word into French for me: word{n}",
    lambda n: f"What is the name of the capital city of the country that is called {chr(65 + n) * 4}?",
    lambda n: f"User{n} has asked for the report of the last month by Friday noon",
    lambda n: f"请告诉我第{'一二三四五六七八九十'[n]}条公路在哪个县",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_case_19_templates_that_differ_in_their_one_word_stay(template: Callable[[int], str]) -> None:
    assert not removed([template(number) for number in range(10)])


@pytest.mark.parametrize(("joint", "first", "stays"), [(" ", "w{}", 24), ("", "{:c}", 19)], ids=["words", "letters"])
def test_case_19_where_one_changed_token_begins_to_be_a_near_copy(joint: str, first: str, stays: int) -> None:
    for length in (stays - 1, stays, stays + 1, stays + 10):
        tokens = [first.format(0x4E00 + number) for number in range(length)]
        changed = [first.format(0x5E00), *tokens[1:]]
        assert removed([joint.join(tokens), joint.join(changed)]) == ([1] if length > stays else [])


@pytest.mark.parametrize("first", ["一", "あ", "ก", "ក"], ids=["Han", "kana", "Thai", "Khmer"])
def test_case_19_without_spaces_two_changed_characters_of_fifty_are_found(first: str) -> None:
    random = np.random.default_rng(0)
    found = 0
    for _ in range(50):
        letters = [chr(ord(first) + number) for number in random.integers(30, size=50)]
        text = "".join(letters)
        for at in random.choice(50, size=2, replace=False):
            letters[at] = chr(ord(first) + 30)
        found += removed([text, "".join(letters), text[::-1]]) == [1]
    assert found >= 48  # their similarity is 0.74, just above the threshold


def test_case_19_a_chinese_sentence() -> None:
    one = "小明昨天下午在学校的图书馆里认真地阅读了一本关于中国古代历史的书并且把其中最有意思的故事讲给妹妹听了"
    other = one.replace("昨", "今").replace("妹妹", "弟妹")
    assert len(one) == 50
    assert sum(a != b for a, b in zip(one, other, strict=True)) == 2
    assert removed([one, other]) == [1]


def test_case_20_a_new_set_names_the_old_one() -> None:
    """The old rows come first; without the pairs of two old rows, none of them can leave."""
    texts = collection(200)
    old, new = texts[::2], texts[1::2]
    rows, keys = band_keys([*old, *new], threshold=THRESHOLD, seed=0, **SIZES)
    pairs = np.unique(np.concatenate([candidate_pairs(column, rows, order=column).pairs for column in keys.T]), axis=0)
    pairs = pairs[pairs[:, 1] >= len(old)]
    same = similarities([*old, *new], pairs, **SIZES)
    matches = choose(pairs, same, threshold=THRESHOLD)
    near_old = {right for (left, right), value in zip(pairs.tolist(), same, strict=True) if left < 100 and value >= 0.7}
    assert len(near_old) > 10
    assert near_old <= set(matches.removed.tolist())
    assert (matches.removed >= len(old)).all()
    assert (matches.kept < matches.removed).all()
