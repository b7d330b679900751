"""Refusals and self-descriptions in an answer: found and reported with the place, never removed here.

Three kinds: ``refusal`` (it will not answer), ``disclaimer`` (it speaks of itself as a machine), ``identity`` (it names
itself or its maker). Only statements about the speaker count: what an answer says about a vendor as a fact stays, and
so does what it quotes.

    for finding in find("I'm sorry, but I can't help with that.", prompt):
        finding.kind, finding.rule, finding.text       # "refusal", "sorry, but I cannot (en)", "I'm sorry, …"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["refusal", "disclaimer", "identity"]

_MODELS = (
    "ChatGPT|GPT-?[345][.\\w-]*|Claude|Gemini|Gemma|Bard|Llama|Qwen|Tongyi|DeepSeek|Mistral|Mixtral|Le Chat|Grok"
    "|Copilot|Command R|Kimi|Ernie Bot|ChatGLM|GLM-\\d|Hunyuan|Doubao|Granite|Phi-\\d|Yi-\\w+|SmolLM\\d?|Falcon|Vicuna"
)
_MAKERS = (
    "OpenAI|Anthropic|Google|DeepMind|Meta|Microsoft|Mistral AI|Alibaba|DeepSeek|xAI|Cohere|Amazon|Baidu|Tencent"
    "|ByteDance|Moonshot AI|Zhipu|01\\.AI|NVIDIA|IBM|Hugging Face|LMSYS|Apple"
)

_CANNOT = r"\bI(?:'m| am)? ?(?:can't|cannot|can not|won't|will not|not able to|unable to)"
_VERB = (
    r"(?:answer|assist|comply with|continue with|create|discuss|do|engage in|fulfil+|generate|participate in|produce"
    r"|provide|respond to|share|support|write)"
)
_OBJECT = r"(?:any|advice|content|information|instructions|such|that|the request|these|this|those|your)\b"
_AI_EN = r"(?:AI|artificial intelligence)(?: language)?(?: model| assistant| chatbot| system)?"
_AI_DE = r"(?:KI(?:-\w+)?|künstliche Intelligenz|(?:großes )?Sprachmodell)\b"
_AI_FR = r"(?:IA|intelligence artificielle|(?:grand )?modèle de langage|assistant IA)\b"
_AI_ES = r"(?:IA|inteligencia artificial|(?:gran )?modelo de lenguaje|asistente de IA)\b"
_MADE = r"(?:built|created|designed|developed|made|trained)"

# kind, rule, pattern; read in either case
_SPEECH: tuple[tuple[Kind, str, str], ...] = (
    ("refusal", "cannot help (en)", rf"{_CANNOT} (?:help|assist)(?: you)?(?: with\b(?: {_OBJECT})?|(?=[.,;!]|$))"),
    ("refusal", "cannot do that (en)", rf"{_CANNOT} {_VERB} (?:you with )?{_OBJECT}"),
    (
        "refusal",
        "sorry, but I cannot (en)",
        rf"\A\W*(?:I'm |I am |I )?(?:very |so )?(?:sorry|apologi[sz]e),?(?: but)? {_CANNOT} (?:help|{_VERB})\b",
    ),
    ("refusal", "must decline (en)", r"\bI (?:must|have to|need to) (?:respectfully |politely )?(?:decline|refuse)\b"),
    (
        "refusal",
        "cannot help (de)",
        r"\b(?:ich kann|kann ich) (?:(?:Anfrage|Bitte|Frage|Ihnen|Ihre\w*|bei|dabei|damit|deine\w*|diese\w*|dir|euch"
        r"|hierbei|leider|mit|solche\w*) ){1,6}nicht (?:beantworten|behilflich sein|erfüllen|helfen|nachkommen"
        r"|unterstützen|weiterhelfen)\b",
    ),
    (
        "refusal",
        "cannot help (fr)",
        r"\bje ne (?:peux|suis) (?:malheureusement )?pas (?:en mesure de |capable de )?(?:(?:vous |t')aider"
        r"|répondre à (?:cette|votre|ta)\b|fournir (?:ces?|cette|de)\b)",
    ),
    (
        "refusal",
        "cannot help (es)",
        r"\bno puedo (?:ayudar(?:te|le|los|les)? con|(?:responder a|cumplir con) (?:esa|esta|tu|su)\b"
        r"|proporcionar(?:te|le)? (?:esa|información|instrucciones)\b)",
    ),
    (
        "disclaimer",
        "as an AI (en)",
        rf"\bas an? (?:{_AI_EN}|(?:large )?language model)(?=\s*[,.;:!)]|\s+(?:I|{_MADE})\b)",
    ),
    (
        "disclaimer",
        "I am an AI (en)",
        rf"\bI(?:'m| am)(?: just| only| merely)? an? (?:{_AI_EN}(?=\s*(?:[,.;:!)]|$)|\s+(?:and|that|who|which|so|with"
        rf"|without|{_MADE})\b)|(?:large )?language model\b)",
    ),
    ("disclaimer", "as an AI (de)", rf"\bals (?:eine? )?{_AI_DE}(?=,? (?:bin|darf|habe|kann|verfüge) ich\b)"),
    ("disclaimer", "I am an AI (de)", rf"\bich bin (?:nur )?eine? {_AI_DE}"),
    ("disclaimer", "as an AI (fr)", rf"\ben tant qu(?:e |'){_AI_FR}(?=,? je\b)"),
    ("disclaimer", "I am an AI (fr)", rf"\bje (?:ne )?suis (?:qu')?une? {_AI_FR}"),
    ("disclaimer", "as an AI (es)", rf"\bcomo (?:una? )?{_AI_ES}(?=,? (?:no|yo)\b)"),
    ("disclaimer", "I am an AI (es)", rf"\bsoy (?:solo )?una? {_AI_ES}"),
)


def _identity(further: tuple[str, ...]) -> tuple[tuple[Kind, str, str], ...]:
    """Rules with names in them, which are read as they are written, but for what stands in (?i:…).

    further: names of models or makers beside those that are known.
    """
    more = "".join(f"|{re.escape(name)}" for name in further)
    # people bear some of these names too: a further name after it makes it theirs, unless it is a model's own
    name = rf"(?:{_MODELS}{more})(?! (?!AI|Opus|Sonnet|Haiku|Pro|Flash|Ultra|Turbo|Instruct)[A-Z]\w)\b"
    maker = rf"(?:{_MAKERS}{more})\b"
    # what may stand between "I am" and "made by": nothing that could bring in another subject
    words = f"an?|the|large|language|AI|assistant|chatbot|model|called|named|and|originally|{_MODELS}{more}"
    fill = rf"(?:,? (?:{words})){{0,10}},?"
    return (
        ("identity", "names itself (en)", rf"(?i:\b(?:I am|I'm|my name is|you can call me)) {name}"),
        ("identity", "speaks as (en)", rf"\b[Aa]s {name}(?=, I\b)"),
        (
            "identity",
            "names its maker (en)",
            rf"(?i:\b(?:I am|I'm|I was|I have been|I've been|as an AI){fill} {_MADE} by"
            rf"(?: the| a)?(?: (?:engineers|researchers|team) at)?) {maker}",
        ),
        (
            "identity",
            "made me (en)",
            rf"\b{maker} {_MADE} me\b|(?i:\bmy (?:creator|developer|maker)s? (?:is|are|at)) {maker}",
        ),
        ("identity", "names itself (de)", rf"(?i:\b(?:ich bin|ich heiße|mein Name ist)) {name}"),
        (
            "identity",
            "names its maker (de)",
            rf"(?i:\b(?:ich wurde|wurde ich|ich bin (?:eine? )?(?:von )?{_AI_DE},? (?:das|der|die)))(?i: von) {maker}"
            r"(?i: (?:entwickelt|erstellt|geschaffen|trainiert)\b)",
        ),
        ("identity", "names itself (fr)", rf"(?i:\b(?:je suis|je m'appelle|mon nom est)) {name}"),
        (
            "identity",
            "names its maker (fr)",
            rf"(?i:\b(?:je suis|j'ai été)(?: une? {_AI_FR})?,? (?:conçue?|créée?|développée?|entraînée?) par) {maker}",
        ),
        ("identity", "names itself (es)", rf"(?i:\b(?:soy|me llamo|mi nombre es)) {name}"),
        (
            "identity",
            "names its maker (es)",
            rf"(?i:\b(?:soy|fui|he sido)(?: una? {_AI_ES})?,? (?:cread|desarrollad|diseñad|entrenad)[oa] por) {maker}",
        ),
    )


_SPOKEN = tuple((kind, rule, re.compile(pattern, re.IGNORECASE)) for kind, rule, pattern in _SPEECH)


@lru_cache(maxsize=16)
def _rules(further: tuple[str, ...]) -> tuple[tuple[Kind, str, re.Pattern[str]], ...]:
    return (*_SPOKEN, *((kind, rule, re.compile(pattern)) for kind, rule, pattern in _identity(further)))


_STRAIGHT = str.maketrans("’‘`´", "''''")  # one character for one, so that places stay
# a quotation within a paragraph; apostrophes are no quotation marks, since they stand in words too
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»|»[^«\n]*«|^>.*$", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """One statement: its kind, the rule that found it, and ``answer[start:end]``, which is ``text``."""

    kind: Kind
    rule: str
    start: int
    end: int
    text: str


def find(answer: str, prompt: str = "", *, names: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Refusals and self-descriptions of ``answer``, in the order of their places.

    Of two of a kind that overlap the first is given. What stands in quotation marks, or word for word in ``prompt``
    too, is a quotation and does not count. prompt: all that the model was told, system and user turns. names: of models
    and makers, beside those that are known, that count as an identity.
    """
    own = _QUOTED.sub(lambda quotation: "_" * len(quotation[0]), answer.translate(_STRAIGHT))
    told = _folded(prompt.translate(_STRAIGHT))
    found = [
        Finding(kind, rule, match.start(), match.end(), answer[match.start() : match.end()])
        for kind, rule, pattern in _rules(tuple(names))
        for match in pattern.finditer(own)
        if _folded(match[0]) not in told
    ]
    found.sort(key=lambda finding: (finding.start, -finding.end))
    first: list[Finding] = []
    ends: dict[Kind, int] = {}
    for finding in found:
        if finding.start >= ends.get(finding.kind, 0):
            first.append(finding)
            ends[finding.kind] = finding.end
    return tuple(first)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
