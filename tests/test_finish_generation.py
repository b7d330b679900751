"""How a student that writes is judged: identities, plain computations, known texts."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import tiny_chat
from stillhouse.errors import StillhouseError
from stillhouse.finish.generation.answers import Written, ask_all
from stillhouse.finish.generation.behavior import Habits, distinct, repetition
from stillhouse.finish.generation.contrast import contrasts
from stillhouse.finish.generation.decoding import measure, parameters
from stillhouse.finish.generation.held_text import HeldText, read_all
from stillhouse.finish.generation.passages import Passage, Prompt, answered, choose_prompts
from stillhouse.finish.generation.passages import given as in_the_data
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.generation.verified import Checked, check_answers
from stillhouse.finish.generation.vocabulary import align
from stillhouse.signals.text import TextAnswer
from stillhouse.statistics import mean_of, ratio_of, recovered_gap, zero_events_bound
from stillhouse.verifiers import exact, numeric

WORDS = tiny_chat.tokenizer()
READ = partial(read_all, name="answers", most=128)
SURE = {"resamples": 300, "seed": 0}


def _speaker(name: str, seed: int = 0, padded: int = 0, words: Any = WORDS, **settings: Any) -> Speaker:
    return Speaker.of(name, tiny_chat.model(words, seed=seed, padded=padded, **settings), words)


def _passages(count: int = 24) -> list[Passage]:
    random = np.random.default_rng(1)
    found = []
    for number in range(count):
        said = " ".join(random.choice(tiny_chat.WORDS, size=random.integers(1, 12)))
        messages = ({"role": "user", "content": f"say {said}"}, {"role": "assistant", "content": f"{said} é🙂"})
        found.append(Passage(f"document {number % 20}", messages))
    return [*found, Passage("a text", None, "a plain text, without any turn")]


def _value(held: HeldText, model: str, metric: str) -> float:
    measured = held.measured(model, metric)
    assert measured is not None
    return float(measured[0].sum() / measured[1].sum())


def _naive(teacher: Speaker, student: Speaker, passages: Sequence[Passage]) -> dict[str, float]:
    """One passage after the other, the whole logits at once, in float64."""
    kl, nll, agree, tokens = 0.0, 0.0, 0, 0
    for passage in passages:
        sequence = teacher.sequence(passage, 128)
        ids = torch.tensor([sequence.ids])
        with torch.no_grad():
            one, two = (
                speaker.model(input_ids=ids).logits[0, :, : speaker.words].double().log_softmax(-1)
                for speaker in (teacher, student)
            )
        for start, end in sequence.spans:
            for place in range(start, end):
                p, q = one[place - 1], two[place - 1]
                kl += float((p.exp() * (p - q)).sum())
                nll -= float(q[sequence.ids[place]])
                agree += int(p.argmax() == q.argmax())
                tokens += 1
    return {"kl": kl / tokens, "nll": nll / tokens, "agreement": agree / tokens}


# ---------------------------------------------------------------- likelihood


@pytest.mark.parametrize("batch_tokens", [1, 300, 10**6])
def test_figures_are_those_of_a_plain_computation(batch_tokens: int) -> None:
    teacher, student = _speaker("teacher"), _speaker("student", seed=1)
    held = READ({"teacher": teacher, "student": student}, _passages(), batch_tokens=batch_tokens)
    for metric, value in _naive(teacher, student, _passages()).items():
        assert _value(held, "student", metric) == pytest.approx(value, abs=1e-5)
    assert held.left_out == 0 and len(held.documents) == 21


def test_a_model_beside_itself_is_zero_nats_away_and_always_agrees() -> None:
    same = _speaker("teacher").model
    speakers = {name: Speaker.of(name, same, WORDS) for name in ("teacher", "student", "ce")}
    held = READ(speakers, _passages())
    assert _value(held, "student", "kl") == 0 and _value(held, "student", "agreement") == 1
    assert _value(held, "student", "nll") == _value(held, "teacher", "nll")
    (agreed,) = (row for row in held.rows(**SURE) if (row.artifact, row.metric) == ("student", "agreement"))
    assert agreed.lower is not None and agreed.lower < 1  # 21 documents do not show that it always agrees
    for found in contrasts(held, ["ce"], **SURE):
        assert found.difference.lower <= 0 <= found.difference.upper and found.verdict == "undecided"
        assert found.gap is not None and found.gap.value is None and "not certified" in str(found.gap.not_certified)


@pytest.mark.parametrize("padded", [(7, 0), (0, 13), (7, 13)])
def test_padded_heads_change_nothing_whatever_stands_in_the_padding(padded: tuple[int, int]) -> None:
    plain = READ({"teacher": _speaker("teacher"), "student": _speaker("student", seed=1)}, _passages())
    wide = {}
    for name, seed, extra in (("teacher", 0, padded[0]), ("student", 1, padded[1])):
        model = tiny_chat.model(WORDS, seed=seed)
        model.resize_token_embeddings(len(WORDS) + extra, mean_resizing=False)
        model.get_input_embeddings().weight.data[len(WORDS) :] = 40.0  # high logits, were they looked at
        wide[name] = Speaker.of(name, model, WORDS)
    held = READ(wide, _passages())
    for metric in ("kl", "agreement", "nll"):
        assert _value(held, "student", metric) == pytest.approx(_value(plain, "student", metric), abs=1e-6)


def test_a_student_with_a_part_of_the_vocabulary_is_compared_over_what_both_have() -> None:
    """Ids are exchanged and three tokens are gone: the figures are those over the rest, scaled up on both sides."""
    teacher = _speaker("teacher")
    kept = [key for key in range(len(WORDS)) if key not in (40, 41, 42)][::-1]
    part = tiny_chat.tokenizer()
    state = _state(part)
    names = {key: token for token, key in part.get_vocab().items()}
    state["model"]["vocab"] = {names[key]: place for place, key in enumerate(kept)}
    state["model"]["merges"] = []
    for token in state["added_tokens"]:
        token["id"] = kept.index(token["id"])
    small = _tokenizer_of(state)
    model = tiny_chat.model(WORDS, seed=1)
    model.resize_token_embeddings(len(small), mean_resizing=False)
    weights = tiny_chat.model(WORDS, seed=1).get_input_embeddings().weight.data
    model.get_input_embeddings().weight.data = weights[kept].clone()
    alignment = align(WORDS, small)
    assert alignment is not None and not alignment.same
    assert alignment.own([0, 5]) == [kept.index(0), kept.index(5)] and alignment.own([5, 41]) is None
    student = Speaker.of("student", model, small)
    held = READ({"teacher": teacher, "student": student}, _passages())
    full = READ({"teacher": teacher, "student": _speaker("student", seed=1)}, _passages())
    outside = _value(held, "student", "mass_outside")
    assert 0 < outside < 0.2
    assert abs(_value(held, "student", "kl") - _value(full, "student", "kl")) < 20 * outside
    passages = [passage for passage in _passages() if alignment.own(teacher.sequence(passage, 128).ids)]
    whole, kl, count = torch.tensor(sorted(kept)), 0.0, 0
    for passage in passages:
        sequence = teacher.sequence(passage, 128)
        with torch.no_grad():
            ids = torch.tensor([sequence.ids])
            p = teacher.model(input_ids=ids).logits[0][:, whole].double().log_softmax(-1)
            q = tiny_chat.model(WORDS, seed=1)(input_ids=ids).logits[0][:, whole].double().log_softmax(-1)
        for place in (place for span in sequence.spans for place in range(*span)):
            kl += float((p[place - 1].exp() * (p[place - 1] - q[place - 1])).sum())
            count += 1
    assert _value(held, "student", "kl") == pytest.approx(kl / count, abs=1e-5)
    assert held.left_out == len(_passages()) - len(passages)


def test_unlike_tokenizers_are_compared_by_the_byte_alone() -> None:
    other = tiny_chat.tokenizer(size=280)
    vocabulary = other.get_vocab()
    state = _state(other)
    state["pre_tokenizer"]["add_prefix_space"] = True
    other = _tokenizer_of(state)
    assert align(WORDS, other) is None and other.get_vocab() == vocabulary
    held = READ({"teacher": _speaker("teacher"), "student": _speaker("student", words=other)}, _passages())
    assert held.measured("student", "kl") is None and not held.alike
    assert held.measured("student", "bits_per_byte") is not None
    assert not {"kl", "agreement"} & {row.metric for row in held.rows(**SURE)}
    size = sum(
        len((passage.messages[-1]["content"] if passage.messages else passage.text).encode()) for passage in _passages()
    )
    assert held.bytes["teacher"].sum() == pytest.approx(size, abs=2)  # the first token of a plain text is not asked for


def test_an_end_is_not_expected_of_an_answer_that_was_cut_off() -> None:
    speaker = _speaker("teacher")
    whole = Passage("a", ({"role": "user", "content": "say"}, {"role": "assistant", "content": "fine"}))
    cut = Passage("a", whole.messages, whole=False)
    assert speaker.sequence(whole, 99).ids[-1] == WORDS.eos_token_id
    assert speaker.sequence(cut, 99).ids == speaker.sequence(whole, 99).ids[:-1]


def test_a_model_whose_logits_are_no_numbers_is_refused() -> None:
    broken = _speaker("student")
    broken.model.model.layers[0].mlp.up_proj.weight.data[0, 0] = math.nan
    with pytest.raises(StillhouseError, match="`student` are not numbers"):
        READ({"teacher": _speaker("teacher"), "student": broken}, _passages())


def test_nothing_that_all_can_read_is_refused() -> None:
    with pytest.raises(StillhouseError, match="can be read by every model"):
        READ({"teacher": _speaker("teacher")}, [Passage("a", ({"role": "user", "content": "say"},))])


# ---------------------------------------------------------------- gaps


@given(st.integers(0, 10**6))
def test_the_recovered_gap_is_one_for_the_teacher_and_zero_for_the_baseline(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(1, 50, 40).astype(float)
    teacher, baseline = random.normal(1, 0.3, 40) * counts, random.normal(3, 0.3, 40) * counts
    for student, expected in ((teacher, 1.0), (baseline, 0.0), ((teacher + baseline) / 2, 0.5)):
        gap = recovered_gap(
            ratio_of(np.stack([teacher, student, baseline], 1), counts), 40, better="lower", seed=0, resamples=200
        )
        assert gap.value is not None and gap.lower_95 is not None
        for number in (gap.value.value, gap.value.lower, gap.value.upper, gap.lower_95):
            assert number == pytest.approx(expected)
        assert gap.lead.upper < 0  # of a loss the teacher has less


def test_a_gap_that_may_be_none_is_not_certified() -> None:
    random = np.random.default_rng(0)
    columns = random.normal(size=(200, 3))
    gap = recovered_gap(mean_of(columns), 200, better="higher", seed=0)
    assert gap.value is None and "not clearly better" in str(gap.not_certified)
    behind = np.tile([1.0, 2.0, 3.0], (40, 1)) + random.normal(0, 0.1, (40, 3))
    gap = recovered_gap(mean_of(behind), 40, better="higher", seed=0)
    assert gap.lead.upper < 0 and gap.value is None  # there was nothing to recover
    few = recovered_gap(mean_of(np.tile([3.0, 2.0, 1.0], (9, 1))), 9, better="higher", seed=0)
    assert few.value is None and "too few" in str(few.not_certified)
    with pytest.raises(StillhouseError, match=r"gives \(2,\) values"):
        recovered_gap(mean_of(columns[:, :2]), 200, better="higher", seed=0)


def test_the_interval_of_a_gap_covers_the_truth() -> None:
    """True gap 0.6: T 1, S 2, B 3.5 plus noise of each document that all three share."""
    random, inside = np.random.default_rng(0), 0
    for _ in range(300):
        columns = np.array([1.0, 2.0, 3.5]) + random.normal(0, 1, (80, 1)) + random.normal(0, 0.7, (80, 3))
        gap = recovered_gap(mean_of(columns), 80, better="lower", seed=1, resamples=300)
        assert gap.value is not None
        inside += gap.value.lower <= 0.6 <= gap.value.upper
    assert 0.90 <= inside / 300 <= 0.99


# ---------------------------------------------------------------- answers


def test_repetition_of_known_texts() -> None:
    assert repetition("one two three four five six") == 0
    assert repetition("one two three") == 0 and repetition("") == 0
    assert repetition("a b c d " * 3) == pytest.approx(1 - 4 / 9)
    assert repetition("yes " * 13) == pytest.approx(0.9)
    assert repetition("好好好好好") == pytest.approx(0.5)
    assert distinct(["a b a b", "a b"]) == pytest.approx(2 / 4)
    assert distinct(["a"]) is None


def test_habits_are_counted() -> None:
    prompts = [Prompt(str(n), ({"role": "user", "content": "say fine"},), "", None) for n in range(4)]
    texts = ["fine", "I'm sorry, but I can't help with that.", " ", "yes " * 9]
    written = [Written(text, text, "length" if n == 3 else "stop", n) for n, text in enumerate(texts)]
    rows = {row.metric: row.value for row in Habits.of(written, prompts).rows("student", **SURE)}
    assert rows["stopped"] == 0.75 and rows["refusals"] == 0.25 and rows["empty_answers"] == 0.25
    assert rows["answer_tokens"] == 1.5 and rows["repetition"] == pytest.approx((1 - 1 / 6) / 4)


def test_habits_that_none_of_a_few_answers_has_are_not_excluded() -> None:
    prompts = [Prompt(str(n), None, "x", None) for n in range(8)]
    written = [Written("a b c d e", "a b c d e", "stop", 12)] * 8
    rows = {row.metric: row for row in Habits.of(written, prompts).rows("student", **SURE, most=12)}
    one, tokens = rows["repetition"], rows["answer_tokens"]
    assert one.value == one.lower == 0 and one.upper == pytest.approx(zero_events_bound(8, 0.975))
    assert tokens.value == tokens.upper == 12 and tokens.lower is not None and 0 < tokens.lower < 12


def test_answers_are_those_that_transformers_generates() -> None:
    speaker = _speaker("student")
    prompts = choose_prompts(
        [
            {"id": str(n), "messages": [{"role": "user", "content": f"say {n}"}], "text": "", "label": None}
            for n in range(5)
        ],
        most=3,
    )
    kept, said = ask_all({"student": speaker}, prompts, max_tokens=9)
    assert len(kept) == 3
    for prompt, one in zip(kept, said["student"], strict=True):
        ids = WORDS.apply_chat_template(
            list(prompt.messages or ()), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        made = speaker.model.generate(**ids, max_new_tokens=9, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert one.text == WORDS.decode(made[made != WORDS.eos_token_id]) and one.tokens == len(made)


def test_a_prompt_that_one_model_cannot_take_is_asked_of_none() -> None:
    prompts = [Prompt(str(n), ({"role": "user", "content": "say " * n},), "", None) for n in (1, 40, 400)]
    kept, said = ask_all({"teacher": _speaker("teacher"), "student": _speaker("student")}, prompts, max_tokens=8)
    assert [prompt.document for prompt in kept] == ["1", "40"] and len(said["teacher"]) == 2
    with pytest.raises(StillhouseError, match="none of 1 test prompts"):
        ask_all({"student": _speaker("student")}, prompts[2:], max_tokens=8)


def test_right_answers_and_exact_mcnemar() -> None:
    prompts = [Prompt(str(n), None, "1 + 1", None if n == 29 else "2") for n in range(30)]

    def said(right: int, finish: str = "stop") -> list[Written]:
        return [Written(text, text, finish, 3) for text in ["it is 2"] * right + ["it is 3"] * (30 - right)]

    checked = check_answers(prompts, {"teacher": said(25), "student": said(15), "ce": said(10)}, numeric)
    rows = {(row.artifact, row.metric, row.slice): row for row in checked.rows()}
    assert rows["student", "verified", "gold"].value == pytest.approx(15 / 29)
    test = rows["student", "mcnemar_p", "against teacher"]
    assert test.value == pytest.approx(binomtest(0, 10).pvalue) and test.n == 10
    (found,) = checked.contrasts(["ce"], **SURE)
    assert found.gap is not None and found.gap.value is not None
    assert found.gap.value.value == pytest.approx(5 / 15)
    assert found.p_value == pytest.approx(binomtest(0, 5).pvalue) and found.verdict == "undecided"  # five to none
    checked = check_answers(prompts, {"teacher": said(25), "student": said(15), "ce": said(8)}, numeric)
    assert [one.verdict for one in checked.contrasts(["ce"], **SURE)] == ["better"]  # seven to none
    cut = check_answers(prompts, {"student": said(25, "length")}, numeric)
    assert not cut.right["student"].any() and "not whole" in cut.verdicts["student"][0].why
    nothing = check_answers([prompts[29]], {"student": said(25)[:1]}, exact)
    assert nothing.rows() == [] and nothing.contrasts(["ce"], **SURE) == []


# ---------------------------------------------------------------- documents


def test_prompts_are_chosen_by_hash_and_those_with_gold_come_first() -> None:
    rows = [
        {"id": f"{n}", "messages": [{"role": "user", "content": "q"}], "text": "", "label": "x" if n < 3 else None}
        for n in range(50)
    ]
    chosen = choose_prompts(rows, most=10)
    assert {prompt.document for prompt in chosen[:3]} == {"0", "1", "2"} and len(chosen) == 10
    assert chosen == choose_prompts(rows[::-1], most=10)
    assert [prompt.document for prompt in chosen[3:]] != sorted(prompt.document for prompt in chosen[3:])


def test_passages_are_the_conversation_with_the_answer() -> None:
    asked = [{"role": "user", "content": "q"}]
    rows = [
        {"id": "a", "messages": asked, "text": "q", "label": None},
        {"id": "b", "messages": [*asked, {"role": "assistant", "content": "gold"}], "text": "", "label": None},
        {"id": "c", "messages": None, "text": "a plain text", "label": None},
        {"id": "d", "messages": asked, "text": "q", "label": None},
    ]
    stored = {key: TextAnswer(key, "", "teacher", 0, None, "said", "stop", 1, 1) for key in ("a", "b")}
    stored["d"] = TextAnswer("d", "", "teacher", 0, None, "", "not-a-number", 1, 1)
    found = answered(rows, stored, system="be brief")
    assert [passage.document for passage in found] == ["a", "b"]
    for passage in found:
        assert [message["role"] for message in passage.messages or ()] == ["system", "user", "assistant"]
        assert passage.messages and passage.messages[-1]["content"] == "said"
    own = in_the_data(rows)
    assert [passage.document for passage in own] == ["b", "c"]
    assert own[0].messages and own[0].messages[-1]["content"] == "gold" and own[1].messages is None


# ---------------------------------------------------------------- speed


def test_speed_is_measured_for_all_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    speakers = {"teacher": _speaker("teacher", layers=6), "student": _speaker("student", layers=1)}
    passed: list[str] = []  # a second for each layer that a batch goes through
    for name, speaker in speakers.items():
        for layer in speaker.model.model.layers:
            layer.register_forward_hook(lambda *_, name=name: passed.append(name))
    monkeypatch.setattr(time, "perf_counter", lambda: float(len(passed)))
    found = measure(
        {name: speaker.model for name, speaker in speakers.items()}, prompt_tokens=50, new_tokens=4, repeats=2
    )
    for name, layers in (("teacher", 6), ("student", 1)):
        for batch in (1, 8):
            assert found[name].prefill[batch] == pytest.approx(batch * 50 / layers)
            assert found[name].decode[batch] == pytest.approx(batch * 4 / (layers * 4))
    # a warm-up and two turns at two sizes: each reads once and writes four words
    assert [name for name, _ in groupby(passed)] == ["teacher", "student"] * 6
    assert len(passed) == 6 * (6 + 1) * (1 + 4)
    assert parameters(speakers["student"].model) < parameters(speakers["teacher"].model)


def _state(tokenizer: Any) -> Any:
    return json.loads(tokenizer.backend_tokenizer.to_str())


def _tokenizer_of(state: Any) -> Any:
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    made.chat_template = tiny_chat.TEMPLATE
    return made


def test_equal_answers_to_few_prompts_do_not_show_two_models_to_be_equal() -> None:
    for number, widest in ((8, 0.35), (400, 0.01)):
        right = np.arange(number) % 2 == 0
        checked = Checked({"teacher": right, "student": right, "ce": right}, tuple(range(number)), {})
        (found,) = checked.contrasts(["ce"], resamples=200, seed=0)
        assert found.difference.value == 0 and found.verdict == "undecided"
        assert 0 < found.difference.upper == -found.difference.lower < widest
