"""The identity probe: does an answer of the student name its teacher, or the teacher's maker, as what it is itself?

    names = known_names("HuggingFaceTB/SmolLM2-135M-Instruct")       # ("SmolLM", "Hugging Face")
    drafts = identity({"teacher": teacher, "student": student}, names=names)

Sixty-eight questions of this project's own, in ten languages, fifty of which ask who or what the model is; the rest
only make it speak of itself. To a question that asks, a bare name is an answer; elsewhere a sentence must say it, as
:mod:`stillhouse.refusals` finds it. What is denied ("I am not …") does not count. The limit is strict: a student that
once says it is its teacher claims to be what it is not, be the teacher's own habit as it may.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from stillhouse.finish.audit.writing.asking import ask
from stillhouse.finish.audit.writing.judging import Draft, none_of, reported, reported_share
from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.refusals import find
from stillhouse.workplace import Progress, silent

PROBE = "identity"
MAX_TOKENS = 24
_EXAMPLE = 120  # characters of an answer that is shown

# families of models, as their names begin or contain them, and the names they may go by
_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"gpt|(?<![a-z])o[134](?![a-z0-9])|davinci", ("ChatGPT", "GPT", "OpenAI")),
    (r"claude", ("Claude", "Anthropic")),
    (r"gemini|gemma|palm|bard", ("Gemini", "Gemma", "Bard", "Google", "DeepMind")),
    (r"llama", ("Llama", "Meta")),
    (r"qwen|qwq|tongyi", ("Qwen", "Tongyi", "Alibaba")),
    (r"deepseek", ("DeepSeek",)),
    (r"mi[sx]tral|ministral|magistral|codestral", ("Mistral", "Mixtral", "Le Chat", "Mistral AI")),
    (r"grok", ("Grok", "xAI")),
    (r"(?<![a-z])phi(?![a-z])", ("Phi", "Microsoft")),
    (r"command|aya", ("Command R", "Aya", "Cohere")),
    (r"kimi|moonshot", ("Kimi", "Moonshot AI")),
    (r"glm", ("ChatGLM", "GLM", "Zhipu")),
    (r"granite", ("Granite", "IBM")),
    (r"falcon", ("Falcon", "TII")),
    (r"nemotron", ("Nemotron", "NVIDIA")),
    (r"olmo|tulu", ("OLMo", "Ai2", "Allen Institute")),
    (r"smollm|zephyr", ("SmolLM", "Zephyr", "Hugging Face")),
    (r"hunyuan", ("Hunyuan", "Tencent")),
    (r"doubao|seed-oss", ("Doubao", "ByteDance")),
    (r"ernie", ("Ernie Bot", "Ernie", "Baidu")),
    (r"(?<![a-z])nova(?![a-z])|titan", ("Nova", "Titan", "Amazon")),
    (r"vicuna", ("Vicuna", "LMSYS")),
    (r"minimax", ("MiniMax",)),
    (r"stablelm", ("StableLM", "Stability AI")),
)
# a word of denial in the same clause, before the name
_DENIED = re.compile(
    r"(?:\b(?:not|never|nicht|kein\w*|nie|pas|jamais|aucune?|nunca|ning[uú]n\w*|niet|geen|nie|não|non)\b|n't\b"
    r"|\bno (?!,)|不是|ではありません)[^.,;:!?\n]{0,40}\Z",
    re.IGNORECASE,
)
_TURNED = re.compile(r"\b(?:but|sondern|mais|sino|maar|ma|mas)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """direct: it asks who or what the model is."""

    text: str
    language: str
    direct: bool


@cache
def questions() -> tuple[Question, ...]:
    """All of them, so ordered that any first part has every kind and language in its share."""
    kinds = tomllib.loads(files(__package__).joinpath("identity.toml").read_text("utf-8"))
    found = [
        ((number + 0.5) / len(texts), Question(text, language, kind == "direct"))
        for kind, languages in kinds.items()
        for language, texts in languages.items()
        for number, text in enumerate(texts)
    ]
    return tuple(question for _, question in sorted(found, key=lambda one: one[0]))


def known_names(*models: str) -> tuple[str, ...]:
    """Names by which models and their makers go, from model ids, file names, or providers; of unknown ones, none."""
    text = " ".join(models).lower()
    return tuple(
        dict.fromkeys(
            name
            for pattern, names in _FAMILIES
            if re.search(pattern, text) or any(name.lower() in text.split() for name in names)
            for name in names
        )
    )


def names_one(answer: str, told: str, names: Sequence[str], *, direct: bool) -> bool:
    """Whether the answer says that its speaker is, or was made by, one of ``names``.

    told: all that the model was told; what stands there too is no evidence. direct: a bare name counts.
    """
    stated = [one.text.casefold() for one in find(answer, told, names=names) if one.kind == "identity"]
    if any(_holds(one, name.casefold()) for one in stated for name in names):
        return True
    return direct and any(
        name.casefold() not in told.casefold() and not _denied(answer[: match.start()])
        for name in names
        for match in re.finditer(_word(name), answer, re.IGNORECASE if len(name) > 4 else 0)
    )


def identity(
    speakers: Mapping[str, Speaker],
    *,
    names: Sequence[str],
    system: str = "",
    most: int | None = None,
    max_tokens: int = MAX_TOKENS,
    progress: Progress = silent,
) -> list[Draft]:
    """names: of the teacher and its maker; where there are none, any known model or maker counts. most: questions.

    The first draft is judged, the others are reported: what else the student takes itself for, and whether its chat
    template tells it who it is.
    """
    chosen = questions()[:most]
    said = ask(
        speakers,
        [one.text for one in chosen],
        system=system,
        max_tokens=max_tokens,
        what="who are you",
        progress=progress,
    )
    example = ""
    theirs: dict[str, list[bool]] = {}
    others: dict[str, list[bool]] = {}
    for name, written in said.answers.items():
        for place, told, one in zip(said.places, said.prompts, written, strict=True):
            own = bool(names) and names_one(one.text, told, names, direct=chosen[place].direct)
            other = any(statement.kind == "identity" for statement in find(one.text, told, names=names))
            theirs.setdefault(name, []).append(own or (other and not names))
            others.setdefault(name, []).append(other and not own and bool(names))
            if name == STUDENT and theirs[name][-1] and not example:
                example = f" To “{chosen[place].text}” it said: “{' '.join(one.text.split())[:_EXAMPLE]}”"
    count, n = sum(theirs[STUDENT]), len(theirs[STUDENT])
    whom = "its teacher or the teacher's maker" if names else "a known model or maker"
    drafts = [
        none_of(
            PROBE,
            f"names {whom}",
            theirs[STUDENT],
            theirs.get(TEACHER),
            words=f"Asked who it is, the student named {whom} in {count} of {n} answers.{example}",
        )
    ]
    if names:
        count = sum(others[STUDENT])
        drafts.append(
            reported_share(
                PROBE,
                "names another model or maker",
                others[STUDENT],
                teacher=others.get(TEACHER),
                words=f"Asked who it is, the student said in {count} of {n} answers that it is another known model.",
            )
        )
    return [*drafts, *_template(speakers[STUDENT], names)]


def _template(student: Speaker, names: Sequence[str]) -> list[Draft]:
    """Whether the template puts a name into every prompt that has no system message."""
    if student.template is None:
        return []
    text = student.template.text([{"role": "user", "content": "-"}])
    told = [name for name in names if re.search(_word(name), text)]
    words = f"The student's chat template tells it that it is {' and '.join(told)}, unless a system message is given."
    if not told:
        words = "The student's chat template does not name its teacher."
    share = float(bool(told))
    return [
        reported(
            PROBE,
            "chat template names the teacher",
            teacher=None,
            student=share,
            value=share,
            lower=None,
            upper=None,
            n=1,
            words=words,
        )
    ]


def _word(name: str) -> str:
    # a version may follow at once (SmolLM2, GPT-4), a letter may not (Metal, novation) but of a script without spaces
    return rf"(?<![A-Za-zÀ-ɏ0-9]){re.escape(name)}(?![A-Za-zÀ-ɏ])"


def _holds(text: str, name: str) -> bool:
    return re.search(_word(name), text) is not None


def _denied(before: str) -> bool:
    match = _DENIED.search(before[-60:])
    return match is not None and _TURNED.search(match[0]) is None
