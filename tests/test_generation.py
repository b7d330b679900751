"""Answers are those of a plain loop over one prompt at a time, whatever shares a batch with them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GenerationConfig

import tiny_models
import tiny_world
from stillhouse.errors import StillhouseError
from stillhouse.teachers.drawing import Ask, Sampling, choose, nucleus, stream_of
from stillhouse.teachers.generation import Generated, TextGenerator, stop_ids

TOKENIZER = tiny_world.language_tokenizer()  # its pad token is its end token, as in many chat models
WORDS = len(TOKENIZER)
CONTEXT = 64
_COMMON = {"vocab_size": WORDS + 5, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}  # a padded head
_SIZE = {**_COMMON, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4}
KINDS: dict[str, tuple[str, dict[str, Any], bool]] = {  # settings, and whether prompts of unlike length share a batch
    "llama": ("llama", {**_SIZE, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT}, True),
    "gpt2": ("gpt2", {**_COMMON, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT}, True),
    "mistral, window": ("mistral", {**_SIZE, "num_key_value_heads": 2, "sliding_window": 6}, True),
    "bloom, no positions": ("bloom", {**_COMMON, "hidden_size": 24, "n_layer": 2, "n_head": 4}, True),
    "mamba, no attention": ("mamba", {**_COMMON, "hidden_size": 24, "num_hidden_layers": 2, "state_size": 4}, False),
}
GREEDY = Sampling(max_new_tokens=12)
DRAWN = Sampling(max_new_tokens=12, temperature=0.9, top_p=0.8, samples=3, seed=7)


def _model(kind: str = "llama") -> Any:
    name, size, _ = KINDS[kind]
    return tiny_models.decoder(name, **size)


def _generator(model: Any, tokenizer: Any = TOKENIZER) -> TextGenerator:
    return TextGenerator(model, tokenizer, context=CONTEXT, stop_ids=stop_ids(model, tokenizer))


def _prompts(lengths: tuple[int, ...] = (5, 1, 17, 5, 9, 2, 30, 9)) -> list[list[int]]:
    stream = np.random.default_rng(3)
    return [stream.integers(2, WORDS, length).tolist() for length in lengths]


def _keys(prompts: list[list[int]]) -> list[str]:
    return [f"row {row}" for row in range(len(prompts))]


def _all(generator: TextGenerator, asks: list[Ask], sampling: Sampling, batch_tokens: int) -> dict[Ask, Generated]:
    answers: dict[Ask, Generated] = {}
    for batch in generator.batches(asks, sampling, batch_tokens):
        rows = [asks[place] for place in batch]
        answers |= zip(rows, generator.answer(rows, sampling), strict=True)
    return answers


def _naive(model: Any, prompt: tuple[int, ...], steps: int, pick: Any) -> list[int]:
    """One prompt, no cache, no batch: the whole sequence is read again for each token."""
    ids = list(prompt)
    while len(ids) < len(prompt) + steps:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1, :WORDS].double()
        ids.append(int(pick(logits)))
        if ids[-1] == TOKENIZER.eos_token_id:
            break
    return ids[len(prompt) :]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(kind: str) -> Any:
    return _model(kind)


@pytest.fixture(scope="module")
def generator(model: Any) -> TextGenerator:
    return _generator(model)


def test_greedy_answers_are_those_of_a_plain_loop(generator: TextGenerator, model: Any, kind: str) -> None:
    assert generator.pads == KINDS[kind][2], generator.why
    prompts = _prompts()
    asks = GREEDY.asks(_keys(prompts), prompts)
    answers = _all(generator, asks, GREEDY, 400)
    assert list(answers) != asks  # they were sorted by length
    for ask in asks:
        assert list(answers[ask].ids) == _naive(model, ask.prompt, 12, torch.argmax)
        assert answers[ask].prompt_tokens == len(ask.prompt)
        assert answers[ask].answer_tokens == len(answers[ask].ids)
    assert len({answer.ids for answer in answers.values()}) > 3


def test_drawn_answers_are_those_of_a_plain_loop_with_the_same_noise(generator: TextGenerator, model: Any) -> None:
    prompts = _prompts((4, 7))
    sampling = replace(DRAWN, top_p=1.0)
    for ask, answer in _all(generator, sampling.asks(_keys(prompts), prompts), sampling, 400).items():
        stream = stream_of(ask, sampling.seed)

        def pick(logits: Any, stream: Any = stream) -> int:
            noise = torch.from_numpy(stream.standard_exponential(WORDS, dtype=np.float32)).double()
            return int(
                (logits.log_softmax(-1) / 0.9 - noise.log()).argmax()
            )  # in logarithms, where the code has shares

        assert list(answer.ids) == _naive(model, ask.prompt, 12, pick)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_batch_size_order_and_mates_do_not_matter(generator: TextGenerator, sampling: Sampling) -> None:
    prompts = _prompts()
    asks = sampling.asks(_keys(prompts), prompts)
    alone = _all(generator, asks, sampling, 1)
    assert all(len(batch) == 1 for batch in generator.batches(asks, sampling, 1))
    mixed = asks.copy()
    random.Random(1).shuffle(mixed)
    for order, batch_tokens in ((asks, 100), (asks, 10_000), (mixed, 300), (mixed[:5], 10_000)):
        together = _all(generator, order, sampling, batch_tokens)
        assert together == {ask: alone[ask] for ask in order}


def test_a_sample_is_the_same_however_many_there_are(generator: TextGenerator) -> None:
    prompts = _prompts((4, 6))
    few, many = replace(DRAWN, samples=2), replace(DRAWN, samples=7)
    answers = [_all(generator, each.asks(_keys(prompts), prompts), each, 500) for each in (few, many)]
    assert all(answers[1][ask] == answer for ask, answer in answers[0].items())
    assert (len(answers[0]), len(answers[1])) == (4, 14)
    assert len({answer.ids for answer in answers[1].values()}) > 7
    assert few.identity() == many.identity()


def test_key_seed_and_sample_each_change_the_draws() -> None:
    generator = _generator(_model())
    prompt = tuple(_prompts((6,))[0])
    asks = [Ask(key, prompt, sample) for key in ("a", "b") for sample in (0, 1)]
    drawn = [answer.ids for seed in (0, 1) for answer in generator.answer(asks, replace(DRAWN, seed=seed))]
    assert len(set(drawn)) == len(drawn)


def test_draws_have_the_models_own_shares() -> None:
    model = _model()
    generator = _generator(model)
    (prompt,) = _prompts((5,))
    sampling = Sampling(max_new_tokens=1, temperature=1.3, samples=4000)
    answers = generator.answer(sampling.asks(["a"], [prompt]), sampling)
    counts = np.bincount([answer.ids[0] for answer in answers], minlength=WORDS)
    shares = (model(input_ids=torch.tensor([prompt])).logits[0, -1, :WORDS].double() / 1.3).softmax(-1).numpy()
    deviations = (counts - 4000 * shares) / np.sqrt(4000 * shares * (1 - shares))
    assert np.abs(deviations[4000 * shares > 5]).max() < 4.5
    assert (4000 * shares > 5).sum() > 5


def test_an_answer_ends_by_length_or_by_its_end_token_to_the_token(generator: TextGenerator, model: Any) -> None:
    prompts = _prompts()
    asks = GREEDY.asks(_keys(prompts), prompts)
    free = {ask: _naive(model, ask.prompt, 12, torch.argmax) for ask in asks}
    for most in range(1, 13):
        sampling = Sampling(max_new_tokens=most)
        for ask, answer in _all(generator, asks, sampling, 10_000).items():
            assert list(answer.ids) == free[ask][:most]
            ended = answer.ids[-1] == TOKENIZER.eos_token_id
            assert answer.finish_reason == ("stop" if ended else "length")
            words = answer.ids[:-1] if ended else answer.ids
            assert answer.text.split() == TOKENIZER.decode(words).split()


@pytest.mark.parametrize("place", [0, 3, 11])
def test_an_end_token_counts_at_any_place_the_last_allowed_one_too(place: int) -> None:
    model = _model()
    (prompt,) = _prompts((5,))
    free = _naive(model, tuple(prompt), 12, torch.argmax)
    end = free[place]
    generator = TextGenerator(model, TOKENIZER, context=CONTEXT, stop_ids={end})
    first = free.index(end)
    (answer,) = generator.answer([Ask("a", tuple(prompt), 0)], GREEDY)
    assert (answer.finish_reason, list(answer.ids)) == ("stop", free[: first + 1])
    (answer,) = generator.answer([Ask("a", tuple(prompt), 0)], Sampling(max_new_tokens=first + 1))
    assert (answer.finish_reason, list(answer.ids)) == ("stop", free[: first + 1])
    if first:
        (answer,) = generator.answer([Ask("a", tuple(prompt), 0)], Sampling(max_new_tokens=first))
        assert (answer.finish_reason, list(answer.ids)) == ("length", free[:first])


def test_a_stop_string_ends_the_answer_and_is_no_part_of_it() -> None:
    generator = _generator(_model())
    prompts = _prompts()
    for ask, answer in _all(generator, DRAWN.asks(_keys(prompts), prompts), DRAWN, 10_000).items():
        for first in range(1, len(answer.text) - 6, 5):
            stop = answer.text[first : first + 6]  # across words and spaces
            sampling = replace(DRAWN, stop=("never", stop))
            (cut,) = generator.answer([ask], sampling)
            assert cut.text == answer.text[: answer.text.index(stop)]
            assert cut.finish_reason == "stop"
            assert answer.ids[: len(cut.ids)] == cut.ids
            # not one token more than the string needs
            assert stop not in TOKENIZER.decode([*ask.prompt, *cut.ids[:-1]])[len(TOKENIZER.decode(ask.prompt)) :]


def test_a_prompt_that_leaves_no_room_is_refused_alone_and_its_neighbors_are_answered(generator: TextGenerator) -> None:
    prompts = _prompts((3, CONTEXT - 12, CONTEXT - 11, 500, 4))
    prompts.insert(2, [])
    asks = GREEDY.asks(_keys(prompts), prompts)
    refused = generator.refuse(asks, GREEDY)
    assert set(refused) == {2, 3, 4}
    assert "empty" in refused[2]
    assert all(str(len(prompts[place])) in refused[place] and str(CONTEXT) in refused[place] for place in (3, 4))
    batches = generator.batches(asks, GREEDY, 10_000)
    assert sorted(place for batch in batches for place in batch) == [0, 1, 5]
    answers = _all(generator, asks, GREEDY, 10_000)
    assert answers[asks[5]] == _all(generator, asks[5:], GREEDY, 10_000)[asks[5]]


@given(st.lists(st.integers(0, 70), max_size=30), st.integers(1, 400), st.booleans())
def test_batches_hold_every_ask_once_and_keep_to_their_size(lengths: list[int], limit: int, pads: bool) -> None:
    generator = _LLAMA
    generator.pads = pads
    asks = [Ask(str(row), (2,) * length, 0) for row, length in enumerate(lengths)]
    batches = generator.batches(asks, GREEDY, limit)
    places = [place for batch in batches for place in batch]
    assert sorted([*places, *generator.refuse(asks, GREEDY)]) == list(range(len(asks)))
    for batch in batches:
        sizes = {lengths[place] for place in batch}
        assert len(batch) == 1 or len(batch) * (max(sizes) + 12) <= limit
        assert pads or len(sizes) == 1


_LLAMA = _generator(_model())


def test_a_model_that_cannot_bear_padding_gets_equal_lengths() -> None:
    model = _model("gpt2")
    plain = _all(_generator(model), GREEDY.asks(_keys(_prompts()), _prompts()), GREEDY, 10_000)
    forward = model.forward

    def forgetful(input_ids: Any, attention_mask: Any = None, **others: Any) -> Any:
        return forward(input_ids=input_ids, **others)  # it never looks at the mask

    def brittle(input_ids: Any, **others: Any) -> Any:
        if "attention_mask" in others:
            raise RuntimeError("what is a mask?")
        return forward(input_ids=input_ids, **others)

    for kind, reason in ((forgetful, "moves"), (brittle, "RuntimeError")):
        model.forward = kind
        generator = _generator(model)
        assert not generator.pads
        assert reason in generator.why
        assert _all(generator, GREEDY.asks(_keys(_prompts()), _prompts()), GREEDY, 10_000) == plain


def test_logits_that_are_no_numbers_are_said_to_be_and_spoil_no_other_row() -> None:
    model = _model()
    prompts = [[3, 4, 5], [3, 4, 6], [7, 4, 6]]
    asks = DRAWN.asks(_keys(prompts), prompts)
    sound = _all(_generator(model), asks, DRAWN, 10_000)
    generator = _generator(model)
    model.get_input_embeddings().weight[7] = torch.nan
    spoiled = _all(generator, asks, DRAWN, 10_000)
    for ask in asks:
        if ask.prompt[0] == 7:
            assert spoiled[ask] == Generated("", (), "not-a-number", 3)
        elif 7 not in sound[ask].ids:
            assert spoiled[ask] == sound[ask]


def test_a_space_before_the_first_word_is_kept_where_the_tokenizer_has_one(world: tiny_world.World) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world.teacher)
    model = AutoModelForCausalLM.from_pretrained(world.teacher).eval()
    prompt = "text : great fine label :"
    (answer,) = _generator(model, tokenizer).answer(
        [Ask("a", tuple(tokenizer(prompt)["input_ids"]), 0)], Sampling(max_new_tokens=1)
    )
    assert prompt + answer.text == "text : great fine label : good"  # the teacher knows its task


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12), st.floats(0.05, 1))
def test_the_nucleus_is_the_smallest_set_of_the_largest_that_reaches_its_share(
    weights: list[float], top_p: float
) -> None:
    probs = torch.tensor([weights], dtype=torch.float64)
    probs /= probs.sum()
    (kept,) = nucleus(probs, top_p)
    inside = kept > 0
    assert torch.equal(kept[inside], probs[0, inside])
    assert kept.sum() >= top_p - 1e-9
    smallest = kept[inside].min()
    assert (probs[0, ~inside] < smallest).all()
    assert kept[kept > smallest].sum() < top_p + 1e-9


def test_a_nucleus_wider_than_the_likeliest_thousand_is_whole_too() -> None:
    probs = torch.arange(1, 3001, dtype=torch.float64).unsqueeze(0) / 4_501_500  # id 2999 is the likeliest
    for top_p in (0.1, 0.5, 0.9, 0.999):
        count = int((probs[0].flip(0).cumsum(0) < top_p).sum()) + 1
        assert torch.equal(nucleus(probs, top_p)[0] > 0, torch.arange(3000) >= 3000 - count)


def test_no_token_outside_the_nucleus_is_ever_drawn() -> None:
    logits = torch.tensor([[3.0, 2.9, 0.0, -1.0]]).repeat(5000, 1)
    noise = torch.from_numpy(np.random.default_rng(0).standard_exponential((5000, 4), dtype=np.float32))
    noise[:10] = 0.0  # a stream may give a zero
    assert set(choose(logits, noise, Sampling(max_new_tokens=1, temperature=1.0, top_p=0.6)).tolist()) == {0, 1}
    assert set(choose(logits, noise, Sampling(max_new_tokens=1, temperature=1.0, top_p=0.1)).tolist()) == {0}
    assert set(choose(logits, noise, Sampling(max_new_tokens=1, temperature=0.0, top_p=1.0)).tolist()) == {0}
    assert set(choose(logits, noise, Sampling(max_new_tokens=1, temperature=1e-4, top_p=1.0)).tolist()) == {0}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"samples": 0}, "samples"),
        ({"samples": 2}, "samples"),
        ({"stop": ("",)}, "stop"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(StillhouseError) as raised:
        Sampling(**{"max_new_tokens": 4, **settings})
    assert raised.value.problems[0].where == f"sampling.{field}"


def test_what_changes_an_answer_changes_the_identity_and_nothing_else_does() -> None:
    drawn = Sampling(max_new_tokens=4, temperature=0.5)
    for change in ({"max_new_tokens": 5}, {"temperature": 0.6}, {"top_p": 0.9}, {"seed": 1}, {"stop": ("x",)}):
        assert replace(drawn, **change).identity() != drawn.identity()
    greedy = Sampling(max_new_tokens=4)
    assert replace(greedy, seed=1, top_p=0.5).identity() == greedy.identity()


def test_every_end_that_is_named_anywhere_ends_an_answer() -> None:
    model = _model()
    model.generation_config = GenerationConfig(eos_token_id=[5, 6])
    assert stop_ids(model, TOKENIZER, end_of_turn=9) == {1, 5, 6, 9}
    model.generation_config = GenerationConfig(eos_token_id=5)
    assert stop_ids(model, TOKENIZER) == {1, 5}
    model.generation_config = None
    assert stop_ids(model, TOKENIZER) == {1}
