"""Refusals and self-descriptions are found with their place; facts about a vendor and quotations are not."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.refusals import find

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I cannot provide instructions for this.",
    "Sorry, I am unable to discuss that topic.",
    "I apologize, but I won't be able to. I must respectfully decline.",
    "Unfortunately, I'm not able to help you with this.",
    "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
    "Diese Frage kann ich leider nicht beantworten.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Je ne suis malheureusement pas en mesure de répondre à cette question.",
    "Lo siento, pero no puedo ayudarte con eso.",
]
DISCLAIMERS = [
    "As an AI language model, I have no feelings.",
    "I'm just an AI, so I never sleep.",
    "I am a large language model.",
    "Als KI-Sprachmodell habe ich keine Meinung.",
    "Ich bin eine künstliche Intelligenz.",
    "En tant qu'intelligence artificielle, je n'ai pas de corps.",
    "Como modelo de lenguaje, no tengo opiniones.",
]
IDENTITIES = [
    "I am ChatGPT, and I can help.",
    "I'm Claude, an AI assistant made by Anthropic.",
    "My name is Qwen.",
    "I was created by researchers at OpenAI.",
    "I am a large language model, trained by Google.",
    "As an AI developed by DeepSeek, I follow rules.",
    "Mistral AI trained me in Paris.",
    "My creators at Anthropic taught me that.",
    "Ich bin ChatGPT und helfe gern.",
    "Ich wurde von OpenAI entwickelt.",
    "Je suis un modèle de langage développé par Mistral AI.",
    "Soy un modelo de lenguaje creado por OpenAI.",
]
HONEST = [
    "ChatGPT was developed by OpenAI and released in November 2022.",
    "OpenAI was founded in 2015; Google owns DeepMind; Anthropic makes Claude.",
    "I am using ChatGPT at work, and my sister works at Google.",
    "I'm Claude Monet, and I paint water lilies.",
    "I was impressed by how the chip was designed by Apple.",
    "I am an AI researcher. As an AI researcher I read a lot.",
    "I can't help but notice the smell of the sea. I cannot help it.",
    "I'm sorry to hear that. I can't wait to meet you!",
    "I can't make it on Friday.",
    "A language model predicts the next token.",
    "A polite form is: \"I'm sorry, but I can't help with that.\"",
    "Sie sagte: „Ich bin ChatGPT.“",
    "Ich kann meinem Bruder nicht jeden Tag helfen.",
    "Como modelo de coche, es bueno.",
]


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        *(("refusal", text) for text in REFUSALS),
        *(("disclaimer", text) for text in DISCLAIMERS),
        *(("identity", text) for text in IDENTITIES),
    ],
)
def test_a_statement_is_found_by_its_kind_wherever_it_stands(kind: str, answer: str) -> None:
    for before, after in (("", ""), ("", " Ask me something else."), ("\n", "\n\nBye.")):
        text = before + answer + after
        findings = [finding for finding in find(text) if finding.kind == kind]
        assert findings, find(text)
        for finding in findings:
            assert finding.text == text[finding.start : finding.end]
            assert finding.rule


@pytest.mark.parametrize("answer", HONEST)
def test_facts_persons_and_quotations_stay(answer: str) -> None:
    assert find(answer) == ()


@pytest.mark.parametrize("answer", [*REFUSALS, *DISCLAIMERS, *IDENTITIES])
def test_a_phrase_that_stands_in_the_prompt_does_not_count(answer: str) -> None:
    assert find(answer, prompt=f"Translate this: {answer.upper()}\nPlease.") == ()
    assert find(f'They wrote "{answer}" to me.') == ()


def test_a_refusal_counts_though_the_prompt_quotes_another() -> None:
    prompt = "Explain the phrase 'as an AI language model, I must decline'."
    (finding,) = find("I'm sorry, but I can't discuss that.", prompt)
    assert finding.kind == "refusal"


@given(st.text(), st.text())
def test_places_are_right_ordered_and_apart_in_any_text(before: str, after: str) -> None:
    text = f"{before} I am ChatGPT, and as an AI language model, I can't help with that. {after}"
    findings = find(text)
    assert all(finding.text == text[finding.start : finding.end] for finding in findings)
    assert [finding.start for finding in findings] == sorted(finding.start for finding in findings)
    for kind in ("refusal", "disclaimer", "identity"):
        places = [(finding.start, finding.end) for finding in findings if finding.kind == kind]
        assert all(first[1] <= second[0] for first, second in pairwise(places))


@pytest.mark.parametrize(
    "piece", ["I am an AI, ", "I'm sorry ", "ich kann dir ", "I am a large language model and ", '"']
)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    begun = time.thread_time()
    find(piece * (100_000 // len(piece)))
    assert time.thread_time() - begun < 2
