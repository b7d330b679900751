"""Teachers behind an OpenAI-compatible API: OpenAI, DeepSeek, OpenRouter, vLLM, llama.cpp and others.

endpoint = Endpoint("http://127.0.0.1:8080/v1", "some-model")
client = ApiClient(endpoint, key=Key.read(Path("key.txt")), budget=Budget(tokens=1_000_000))
calls = [Call.chat(f"Review: {text}\\nSentiment?", labels=("good", "bad"), max_tokens=16) for text in texts]
with AnswerStore(Path("answers/answers.sqlite")) as store:
    asked = ask(calls, client, store=store)       # ask_in_batches(...) for batch files
"""

from stillhouse.teachers.api.asking import Asked, ask, ask_async
from stillhouse.teachers.api.batch import ask_in_batches
from stillhouse.teachers.api.calls import Call, Endpoint
from stillhouse.teachers.api.checks import Checks
from stillhouse.teachers.api.client import ApiClient
from stillhouse.teachers.api.labels import LabelProbs, label_probs, read_label
from stillhouse.teachers.api.outcomes import LOSSES, RULES, Failure, Fault, Reason, Rule
from stillhouse.teachers.api.pace import Limits
from stillhouse.teachers.api.parse import Answer
from stillhouse.teachers.api.prices import Bill, Budget, Estimate, Prices, estimate, known_prices
from stillhouse.teachers.api.secret import Key

__all__ = [
    "LOSSES",
    "RULES",
    "Answer",
    "ApiClient",
    "Asked",
    "Bill",
    "Budget",
    "Call",
    "Checks",
    "Endpoint",
    "Estimate",
    "Failure",
    "Fault",
    "Key",
    "LabelProbs",
    "Limits",
    "Prices",
    "Reason",
    "Rule",
    "ask",
    "ask_async",
    "ask_in_batches",
    "estimate",
    "known_prices",
    "label_probs",
    "read_label",
]
