"""Fairness of cleaning: counts add up, an uneven hand is found, chance and handfuls of rows raise no alarm."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.removal import ALARM_RATIO, LEAST_ROWS, Key, Rate, removal_rates
from stillhouse.statistics import proportion

COUNTS = st.dictionaries(
    st.tuples(
        st.sampled_from(["source", "language"]),
        st.sampled_from(["one", "two", "three", "four"]),
        st.sampled_from([None, "too short", "repetition", "exact copy"]),
    ),
    st.integers(0, 400),
).map(Counter)


def language(**strata: tuple[int, int]) -> Counter[Key]:
    """Counts of languages, each given as (rows, removed)."""
    counts: Counter[Key] = Counter()
    for value, (rows, removed) in strata.items():
        counts["language", value, None] = rows - removed
        counts["language", value, "too short"] = removed
    return counts


def judged(counts: Counter[Key]) -> dict[str, Rate]:
    return {rate.value: rate for rate in removal_rates(counts)}


@given(COUNTS)
def test_rows_and_removals_are_those_counted(counts: Counter[Key]) -> None:
    rates = removal_rates(counts)
    assert [(rate.kind, rate.value) for rate in rates] == sorted({key[:2] for key, number in counts.items() if number})
    for rate in rates:
        mine = {reason: counts[rate.kind, rate.value, reason] for *_, reason in counts}
        assert (rate.rows, rate.removed) == (sum(mine.values()), sum(mine.values()) - mine.get(None, 0))
        oracle = proportion(np.arange(rate.rows) < rate.removed)
        assert (rate.rate, rate.lower, rate.upper) == pytest.approx((oracle.value, oracle.lower, oracle.upper))
        others = [other for other in rates if other.kind == rate.kind and other != rate]
        elsewhere = sum(other.rows for other in others)
        if elsewhere:
            assert rate.others == pytest.approx(sum(other.removed for other in others) / elsewhere)
        else:
            assert (rate.others, rate.verdict) == (None, "too few")


@given(st.lists(COUNTS, max_size=4))
def test_counts_of_pieces_add_up_to_the_counts_of_the_whole(pieces: list[Counter[Key]]) -> None:
    whole = Counter({key: sum(piece[key] for piece in pieces) for piece in pieces for key in piece})
    added: Counter[Key] = sum(pieces, Counter())
    assert removal_rates(added) == removal_rates(whole) == removal_rates(Counter(dict(reversed(whole.items()))))


@given(COUNTS)
def test_an_alarm_has_the_ratio_the_bound_the_rows_and_its_reasons(counts: Counter[Key]) -> None:
    for rate in removal_rates(counts):
        if rate.ratio is not None and rate.ratio_lower is not None and rate.others:
            assert rate.ratio == pytest.approx(rate.rate / rate.others)
            assert rate.ratio_lower <= rate.ratio
        if rate.verdict == "alarm":
            assert rate.rows >= LEAST_ROWS
            assert rate.ratio is None or (rate.ratio > ALARM_RATIO and rate.ratio_lower is not None)
            assert rate.ratio_lower is None or rate.ratio_lower > 1
            assert rate.others is not None and rate.lower > rate.others
            assert 1 <= len(rate.reasons) <= 3
        else:
            assert rate.reasons == ()


@given(COUNTS, st.integers(2, 5))
def test_more_of_the_same_rows_never_silence_an_alarm(counts: Counter[Key], times: int) -> None:
    more = Counter({key: number * times for key, number in counts.items()})
    for once, often in zip(removal_rates(counts), removal_rates(more), strict=True):
        assert often.rate == once.rate
        assert often.verdict == "alarm" or once.verdict != "alarm"


def test_a_language_cut_half_as_often_again_is_an_alarm() -> None:
    rates = judged(language(en=(8000, 800), de=(1500, 225), fr=(500, 50)))
    assert {value: rate.verdict for value, rate in rates.items()} == {"en": "even", "de": "alarm", "fr": "even"}
    assert rates["de"].ratio == pytest.approx(0.15 / 0.1)


def test_a_stratum_of_most_rows_can_raise_the_alarm() -> None:
    rates = judged(language(en=(9000, 1800), de=(1000, 100)))
    assert rates["en"].verdict == "alarm"
    assert rates["en"].ratio == pytest.approx(2.0)
    assert ALARM_RATIO > 1800 / 9000 / (1900 / 10_000)  # against all rows it would not show


def test_where_nothing_else_is_removed_there_is_no_ratio_but_an_alarm() -> None:
    rate = judged(language(en=(8000, 0), de=(500, 100)))["de"]
    assert (rate.verdict, rate.ratio, rate.reasons) == ("alarm", None, (("too short", 100),))
    assert judged(language(en=(8000, 0), de=(500, 0)))["de"].verdict == "even"


@pytest.mark.parametrize("removed", range(9))
def test_eight_rows_never_cry_wolf(removed: int) -> None:
    assert judged(language(en=(8000, 80), de=(8, removed)))["de"].verdict == "too few"


def test_a_ratio_that_chance_explains_is_too_few_rows_and_not_even() -> None:
    rates = judged(language(en=(8000, 800), de=(60, 8), fr=(60, 5)))
    assert {value: rate.verdict for value, rate in rates.items()} == {"en": "even", "de": "too few", "fr": "even"}


def test_an_even_hand_raises_an_alarm_in_fewer_than_one_kind_in_twenty() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        sizes = rng.integers(20, 400, 40)
        counts = language(**{f"l{n}": (int(rows), int(rng.binomial(rows, 0.1))) for n, rows in enumerate(sizes)})
        alarms += any(rate.verdict == "alarm" for rate in removal_rates(counts))
    assert alarms / 300 < 0.05


def test_the_reasons_are_those_that_took_more_here_than_elsewhere() -> None:
    counts: Counter[Key] = Counter(
        {
            ("source", "mail", None): 600,
            ("source", "mail", "exact copy"): 200,  # as often as elsewhere
            ("source", "mail", "repetition"): 150,
            ("source", "mail", "too short"): 50,
            ("source", "web", None): 7700,
            ("source", "web", "exact copy"): 2000,
            ("source", "web", "repetition"): 200,
            ("source", "web", "too short"): 100,
        }
    )
    rates = judged(counts)
    assert rates["mail"].reasons == (("repetition", 150), ("too short", 50))
    assert rates["web"].reasons == ()
