"""Templates: one beginning whatever template and tokenizer do, and a prompt that is the beginning of what is taught."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from tokenizers import decoders as token_decoders
from transformers import PreTrainedTokenizerFast

import tiny_world
from stillhouse.errors import StillhouseError
from stillhouse.teachers.templates import ChatTemplate, RowError, join, merge_system, render_ids, text_ids

TURNS = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHATML = TURNS + ASK
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
DROPS_SYSTEM = CHATML.replace("messages %}", "messages if m['role'] != 'system' %}")
# a reasoning template: it opens the reasoning when it asks, and leaves it out of turns that are over
THINKS = TURNS.replace("m['content']", "m['content'].split('</think>')[-1]") + ASK.replace(
    "assistant\n", "assistant\n<think>\n"
)
# one that writes an empty reasoning when it asks, if told so
EMPTY_THOUGHT = CHATML.replace(
    "assistant\n{% endif", "assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif"
)
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "What is 2 + 3?"}


def _tokenizer(template: str | None, *, add_bos: bool = False, bos: str | None = "<s>") -> PreTrainedTokenizerFast:
    """Byte-level pairs learned from a few words, so that tokens merge across words, spaces and line breaks."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = token_decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["user assistant system think the answer is five\n\n\n\n  word" * 3], trainer)
    core.post_processor = (
        processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
        if add_bos
        else processors.ByteLevel(trim_offsets=False)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=bos, eos_token="</s>", pad_token="</s>", extra_special_tokens=special[2:]
    )
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("add_bos", [True, False])
@pytest.mark.parametrize("written", ["", "{{ bos_token }}", "{{ bos_token }}{{ bos_token }}"])
@pytest.mark.parametrize("messages", [[USER], [SYSTEM, USER]])
def test_ids_begin_with_one_bos_where_template_or_tokenizer_ask_for_it(
    written: str, add_bos: bool, messages: list[dict[str, str]]
) -> None:
    tokenizer = _tokenizer(written + CHATML, add_bos=add_bos)
    ids = render_ids(tokenizer, messages)
    assert ids.count(tokenizer.bos_token_id) == (1 if written or add_bos else 0)
    assert (ids[0] == tokenizer.bos_token_id) == bool(written or add_bos)
    assert tokenizer.eos_token_id not in ids  # though this tokenizer ends every text with one
    plain = render_ids(_tokenizer(CHATML), messages)
    assert ids[-len(plain) :] == plain


def test_a_beginning_that_also_opens_turns_is_not_doubled_and_no_turn_is_lost() -> None:
    tokenizer = _tokenizer(CHATML, bos="<|im_start|>")
    ids = render_ids(tokenizer, [SYSTEM, USER])
    assert tokenizer.decode(ids) == tokenizer.apply_chat_template(
        [SYSTEM, USER], tokenize=False, add_generation_prompt=True
    )
    assert ids.count(tokenizer.bos_token_id) == 3


def test_a_tokenizer_without_a_beginning_gets_none() -> None:
    tokenizer = _tokenizer(CHATML, bos=None)
    assert tokenizer.decode(render_ids(tokenizer, [USER])).startswith("<|im_start|>user")


@given(st.text(max_size=30), st.booleans())
def test_plain_prompts_have_one_bos_too(text: str, add_bos: bool) -> None:
    tokenizer = _PLAIN[add_bos]
    for written in (text, "<s>" + text, "<s><s>" + text):
        ids = text_ids(tokenizer, written)
        begins = add_bos or written.startswith("<s>")
        assert ids[:1] == (tokenizer.bos_token_id,) if begins else ids[:1] != (tokenizer.bos_token_id,)
        assert ids[1:2] != (tokenizer.bos_token_id,)


_PLAIN = {add_bos: _tokenizer(None, add_bos=add_bos) for add_bos in (True, False)}


@pytest.mark.parametrize("template", [NO_SYSTEM, DROPS_SYSTEM])
def test_a_system_text_that_a_template_refuses_or_drops_leads_the_first_question(template: str) -> None:
    refusing, taking = ChatTemplate(_tokenizer(template)), ChatTemplate(_tokenizer(CHATML))
    assert (refusing.system, taking.system) == ("merged", "own")
    merged = [{"role": "user", "content": "Be brief.\n\nWhat is 2 + 3?"}]
    assert refusing.ids([SYSTEM, USER]) == taking.ids(merged)
    assert refusing.ids([USER]) == taking.ids([USER])
    assert refusing.text([SYSTEM, USER]).count("Be brief.") == 1
    with pytest.raises(RowError, match="no user turn"):
        refusing.ids([SYSTEM])


@given(st.lists(st.sampled_from(["system", "user", "assistant"]), max_size=6))
def test_merging_loses_no_text_and_leaves_no_leading_system_turn(roles: list[str]) -> None:
    messages = [{"role": role, "content": f"text {place}"} for place, role in enumerate(roles)]
    leading = next((place for place, role in enumerate(roles) if role != "system"), len(roles))
    if leading and (leading == len(roles) or roles[leading] != "user"):
        with pytest.raises(RowError):
            merge_system(messages)
        return
    merged = merge_system(messages)
    assert [message["role"] for message in merged] == roles[leading:]
    assert "\n\n".join(m["content"] for m in merged) == "\n\n".join(m["content"] for m in messages)


def test_a_missing_template_is_named_with_the_ways_out() -> None:
    for tokenizer in (_tokenizer(None), tiny_world.language_tokenizer()):
        with pytest.raises(StillhouseError, match="no chat template") as raised:
            ChatTemplate(tokenizer)
        assert "plain prompt" in raised.value.problems[0].fix


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('never') }}", "{{ messages[5].x.y }}", "{% broken", "only this"]
)
def test_a_template_that_cannot_write_a_question_and_an_answer_is_refused(template: str) -> None:
    with pytest.raises(StillhouseError, match="cannot be written"):
        ChatTemplate(_tokenizer(template))


def test_messages_that_a_template_refuses_are_one_rows_fault() -> None:
    picky = ChatTemplate(
        _tokenizer("{% if messages|length > 2 %}{{ raise_exception('too many turns') }}{% endif %}" + CHATML)
    )
    with pytest.raises(RowError, match="too many turns"):
        picky.ids([USER, {"role": "assistant", "content": "5"}, USER])
    assert picky.ids([USER])


@pytest.mark.parametrize(
    ("template", "options"),
    [
        (CHATML, {}),
        (NO_SYSTEM, {}),
        (THINKS, {}),
        (EMPTY_THOUGHT, {}),
        (EMPTY_THOUGHT, {"enable_thinking": False}),
        ("{{ bos_token }}" + CHATML, {}),
    ],
)
@pytest.mark.parametrize("answer", ["five", "the answer is five", "<b>5</b>", " five"])
def test_the_prompt_is_the_beginning_of_what_is_taught_and_the_rest_is_the_answer(
    template: str, options: dict[str, object], answer: str
) -> None:
    tokenizer = _tokenizer(template)
    chat = ChatTemplate(tokenizer, options)
    history: Sequence[dict[str, str]] = [SYSTEM, USER, {"role": "assistant", "content": "5"}, USER]
    for messages in ([USER], history):
        taught = chat.join(messages, answer)
        assert taught.ids[: taught.prompt_length] == chat.ids(messages)
        assert tokenizer.decode(taught.answer) == answer + "<|im_end|>"
        assert taught.answer[-1] == chat.end_of_turn == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert chat.opens_reasoning == (template == THINKS)


@pytest.mark.parametrize(
    ("prompt", "answer", "split"),
    [("the answer is", " five", "whole"), ("the answer is ", "five", "apart"), ("the answer is\n\n", "five", "apart")],
)
def test_a_token_across_the_border_is_parted_and_the_text_stays(prompt: str, answer: str, split: str) -> None:
    tokenizer = _tokenizer(None)
    taught = join(tokenizer, prompt, answer, "</s>")
    assert taught.split == split
    assert taught.ids[: taught.prompt_length] == text_ids(tokenizer, prompt)
    assert tokenizer.decode(taught.answer) == answer + "</s>"
    assert (taught.ids == text_ids(tokenizer, prompt + answer + "</s>")) == (split == "whole")


def test_a_border_that_cannot_be_kept_is_reported_and_never_taught() -> None:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), token_decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=["<s>"], show_progress=False)
    core.train_from_iterator(["the answer is five"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")
    assert join(tokenizer, "the answer is", " five").split == "whole"
    with pytest.raises(RowError, match="share a token"):  # this tokenizer puts a space before any text
        join(tokenizer, "the answer is ", "five")


@given(
    st.text(alphabet="the answer\n five", max_size=12), st.text(alphabet="the answer\n five", min_size=1, max_size=12)
)
def test_every_pair_keeps_its_prompt_its_answer_and_one_beginning(prompt: str, answer: str) -> None:
    tokenizer = _PLAIN[True]
    taught = join(tokenizer, prompt, answer, "</s>")
    assert taught.ids[: taught.prompt_length] == text_ids(tokenizer, prompt)
    assert tokenizer.decode(taught.answer) == answer + "</s>"
    assert taught.ids.count(tokenizer.bos_token_id) == 1


def test_an_empty_answer_is_reported() -> None:
    with pytest.raises(RowError, match="nothing to learn"):
        ChatTemplate(_tokenizer(CHATML)).join([USER], "")


def test_what_changes_the_text_changes_the_identity() -> None:
    identities = [
        ChatTemplate(_tokenizer(template), options).identity()
        for template, options in ((CHATML, {}), (EMPTY_THOUGHT, {}), (EMPTY_THOUGHT, {"enable_thinking": False}))
    ]
    assert all(identities.count(identity) == 1 for identity in identities)
