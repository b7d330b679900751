"""Conversations as token ids: what is learned is each answer with the end of its turn, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

import tiny_chat
from stillhouse.signals.text import TextAnswer
from stillhouse.teachers.sequences import TokenSequence, asked, conversation, plain, said, shortened
from stillhouse.teachers.templates import ChatTemplate, RowError

WORDS = tiny_chat.tokenizer()
THINKING = (  # leaves out old reasoning, as the templates of reasoning models do
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] if loop.last else m['content'].split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(contents)]


def learned(sequence: TokenSequence, words: Any = WORDS) -> list[str]:
    return [words.decode(sequence.ids[start:end]) for start, end in sequence.spans]


@pytest.mark.parametrize("answer", ["fine", " fine", "\nfine", "fine ", "a: b\n\nc", "ünï 漢字 🙂", "<|im_start|>"])
@pytest.mark.parametrize("question", ["say fine", "say fine ", "say\n", "🙂"])
def test_what_is_learned_is_the_answer_and_the_end_of_its_turn(question: str, answer: str) -> None:
    template = ChatTemplate(WORDS)
    sequence = conversation(template, turns(question, answer))
    assert learned(sequence) == [answer + "<|im_end|>"]
    assert sequence.ids[: sequence.start] == template.ids(turns(question))  # as it will be asked
    assert sequence.ids[-1] == WORDS.pad_token_id  # the end is learned although it pads elsewhere
    assert sequence.learned == len(sequence.ids) - sequence.start


@pytest.mark.parametrize("which", ["all", "last"])
def test_every_turn_of_the_assistant_is_learned_unless_only_the_last_is_asked_for(which: Any) -> None:
    sequence = conversation(ChatTemplate(WORDS), turns("one", "fine", "two", "dull", "three", "grim"), turns=which)
    said_there = ["fine<|im_end|>", "dull<|im_end|>", "grim<|im_end|>"]
    assert learned(sequence) == (said_there if which == "all" else said_there[-1:])
    assert all(later[0] > earlier[1] for earlier, later in zip(sequence.spans, sequence.spans[1:], strict=False))


def test_turns_that_a_template_shows_in_another_way_later_are_read_and_not_learned() -> None:
    words = tiny_chat.tokenizer(template=THINKING)
    sequence = conversation(ChatTemplate(words), turns("one", "<think>x</think>fine", "two", "<think>y</think>dull"))
    assert learned(sequence, words) == ["<think>y</think>dull<|im_end|>"]
    assert "<think>x" not in words.decode(sequence.ids)


def test_a_turn_that_is_shown_in_another_way_later_takes_no_earlier_one_with_it() -> None:
    trimming = tiny_chat.TEMPLATE.replace("m['content']", "m['content'] | trim")
    words = tiny_chat.tokenizer(template=trimming)
    sequence = conversation(ChatTemplate(words), turns("one", "fine", "two", " dull ", "three", "grim"))
    assert learned(sequence, words) == ["fine<|im_end|>", "grim<|im_end|>"]


OPENING = tiny_chat.TEMPLATE.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("fine", "\n</think>\n\nfine<|im_end|>"),
        ("<think>so</think>fine", "so\n</think>\n\nfine<|im_end|>"),
        ("so</think>fine", "so\n</think>\n\nfine<|im_end|>"),
    ],
)
def test_an_answer_closes_the_reasoning_that_its_prompt_opens(answer: str, wanted: str) -> None:
    words = tiny_chat.tokenizer(template=OPENING)
    template = ChatTemplate(words)
    assert template.opens_reasoning
    assert learned(conversation(template, turns("say", answer)), words) == [wanted]
    cut_off = conversation(template, turns("say", "so it"), finished=False)
    assert learned(cut_off, words) == ["so it"]


def test_an_answer_that_was_cut_off_is_learned_without_an_end() -> None:
    sequence = conversation(ChatTemplate(WORDS), turns("say fine", "fin"), finished=False)
    assert learned(sequence) == ["fin"]


@pytest.mark.parametrize(
    "messages",
    [turns("say fine"), [], [{"role": "system", "content": "be kind"}], turns("say", ""), turns("a", "b", "c")],
)
def test_a_conversation_without_an_answer_at_its_end_has_nothing_to_learn_from(messages: Any) -> None:
    with pytest.raises(RowError, match="nothing to learn"):
        conversation(ChatTemplate(WORDS), messages)


@pytest.mark.parametrize("most", [1, 5, 10, 16, 17, 18, 40])
def test_what_is_cut_off_at_the_end_leaves_whole_places_or_a_reason(most: int) -> None:
    sequence = conversation(ChatTemplate(WORDS), turns("one", "fine", "two", "dull"))
    if most <= sequence.start:
        with pytest.raises(RowError, match=str(most)):
            shortened(sequence, most)
        return
    short = shortened(sequence, most)
    assert short.ids == sequence.ids[: len(short.ids)] and len(short.ids) <= most
    assert all(start < end <= most for start, end in short.spans) and short.spans[-1][1] == len(short.ids)
    assert short.learned <= sequence.learned


def test_a_plain_text_is_learned_but_for_its_first_token() -> None:
    sequence = plain(WORDS, "say fine and dull")
    assert sequence.spans == ((1, len(sequence.ids)),)
    assert WORDS.decode(sequence.ids) == "say fine and dull<|im_end|>"
    words = tiny_chat.tokenizer()
    words.eos_token = None
    with pytest.raises(RowError, match="single token"):
        plain(words, "a")


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"messages": None, "text": "say fine"}, [("system", "be kind"), ("user", "say fine")]),
        (
            {"messages": turns("a", "b", "c"), "text": ""},
            [("system", "be kind"), *zip(("user", "assistant", "user"), "abc", strict=True)],
        ),
        ({"messages": turns("a", "b"), "text": ""}, [("system", "be kind"), ("user", "a")]),
        (
            {"messages": [{"role": "system", "content": "own"}, *turns("a")], "text": ""},
            [("system", "own"), ("user", "a")],
        ),
    ],
)
def test_what_is_asked_ends_with_the_user_and_begins_with_one_system_message(document: Any, wanted: Any) -> None:
    assert [(one["role"], one["content"]) for one in asked(document, "be kind")] == wanted


def test_reasoning_is_written_before_the_answer_as_the_prompt_opens_it() -> None:
    answer = TextAnswer("d", "k", "t", 0, "2 + 3 is 5", "It is 5.", "stop", 1, 1)
    assert said(answer, False) == "<think>\n2 + 3 is 5\n</think>\n\nIt is 5."
    assert said(answer, True) == "2 + 3 is 5\n</think>\n\nIt is 5."
    cut_off = TextAnswer("d", "k", "t", 0, "2 + 3 is", "", "length", 1, 1)
    assert said(cut_off, False) == "<think>\n2 + 3 is"


def test_a_beginning_token_stands_once(tmp_path: Any) -> None:
    words = tiny_chat.tokenizer()
    words.bos_token = "<|im_start|>"
    words.chat_template = tiny_chat.TEMPLATE.replace("{% for", "<|im_start|>{% for", 1)
    sequence = conversation(ChatTemplate(words), turns("say", "fine"))
    assert sequence.ids[0] == words.bos_token_id
    assert words.decode(sequence.ids).count("<|im_start|>user") == 1
