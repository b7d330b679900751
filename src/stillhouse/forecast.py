"""What asking the teacher will take, predicted from a sample before anything is asked: tokens, bytes, seconds, money.

print(forecast(recipe, base=Path("recipes")).lines())
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from stillhouse.addresses import peek
from stillhouse.device import Placement, place
from stillhouse.errors import StillhouseError
from stillhouse.raw.stage import sample_rows
from stillhouse.recipe.bind import prices_of, prompt_of, question_of
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.generation import Ask, Generation
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.teachers import ApiLabeler, ApiTeacher
from stillhouse.stock import quiet
from stillhouse.teachers import is_classifier
from stillhouse.teachers.local import Renderer, common_prefix, load_tokenizer, model_folder
from stillhouse.teachers.sequences import asked
from stillhouse.teachers.templates import texts_ids

_SAMPLE = 200
_BYTES_PER_TOKEN = 4  # of English text in the vocabularies of common models
_BYTES_PER_ANSWER = 190  # key, log-probabilities and checksum in the answer store, and the row of the signal
# what share of a matrix product's speed whole forward passes reached: small batches, attention and the vocabulary's
# head cost the rest (docs/measurements.md)
_EFFICIENCY = (0.2, 0.9)


@dataclass(frozen=True)
class Forecast:
    """tokens: in all, the shared prefix counted once. shared: tokens of that prefix. seconds: from, to. bytes: of
    answers and signals. longest: the longest prompt of the sample. basis: what the seconds rest on."""

    documents: int
    tokens: int
    shared: int
    longest: int
    seconds: tuple[float, float]
    bytes: int
    basis: str

    def lines(self) -> list[str]:
        """The forecast in plain words."""
        low, high = (_duration(seconds) for seconds in self.seconds)
        return [
            f"teacher: {self.documents:,} documents, about {self.tokens:,} tokens after a shared beginning of "
            f"{self.shared} (longest prompt seen: {self.longest})",
            f"  about {low} to {high} ({self.basis}), {self.bytes / 1e6:.1f} MB of answers and signals",
        ]


@dataclass(frozen=True)
class ApiForecast:
    """The same of an endpoint, whose tokenizer is not known: tokens of prompts and answers are from bytes, four to a
    token; an answer takes between its label alone and all it may. money: from, to; ``None`` without prices. short:
    whether the recipe's budget does not even reach the lower end."""

    calls: int
    prompt_tokens: int
    answer_tokens: tuple[int, int]
    money: tuple[float, float] | None
    short: bool

    def lines(self) -> list[str]:
        """The forecast in plain words."""
        low, high = self.answer_tokens
        cost = (
            f"{self.money[0]:,.2f} to {self.money[1]:,.2f} in the currency of the prices"
            if self.money
            else "no prices are known (`ferment.teacher.spending`, or pip install 'stillhouse[prices]')"
        )
        return [
            f"teacher: {self.calls:,} calls, about {self.prompt_tokens:,} tokens of prompts and {low:,} to {high:,} of "
            f"answers: {cost}",
            *(
                ["  the budget ends before that: asking stops there, and goes on once it is raised"]
                if self.short
                else []
            ),
        ]


@dataclass(frozen=True)
class WritingForecast:
    """Of a teacher that runs here and writes: answers, tokens read, tokens written from, to, and the bytes of the
    distributions along them."""

    answers: int
    prompt_tokens: int
    answer_tokens: tuple[int, int]
    bytes: int

    def lines(self) -> list[str]:
        """The forecast in plain words."""
        low, high = self.answer_tokens
        stored = f", up to {self.bytes / 1e6:,.1f} MB of distributions" if self.bytes else ""
        return [
            f"teacher: {self.answers:,} answers after about {self.prompt_tokens:,} tokens of prompts, {low:,} to "
            f"{high:,} tokens to write{stored}",
        ]


def forecast(recipe: Recipe, *, base: Path) -> Forecast | ApiForecast | WritingForecast | None:
    """A forecast from up to 200 rows; ``None`` while the teacher or a source has still to be fetched."""
    cache = Path(recipe.paths.cache)
    if any(peek(one.data, cache=cache, base=base) is None for one in recipe.raw.sources):
        return None
    if isinstance(recipe, Generation):
        return _of_writing(recipe, cache, base)
    if not isinstance(recipe, Classification):
        return None
    section = recipe.ferment.teacher
    if isinstance(section, ApiLabeler):
        return _of_endpoint(recipe, section, cache, base)
    files = peek(section.model, cache=cache, base=base)
    if files is None:
        return None
    tokenizer, folder = load_tokenizer(files, cache=cache), model_folder(files, cache)
    prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
    sample, total = sample_rows(recipe, cache=cache, base=base, count=_SAMPLE)
    texts = [row.text for row in sample]
    prompted = not is_classifier(folder)
    renderer = Renderer(tokenizer)
    ids = texts_ids(tokenizer, [renderer.render(prompt, text) for text in texts] if prompted else texts)
    if not ids:
        return None
    shared = len(common_prefix(ids)) if prompted else 0
    documents = _documents(recipe, total)
    tokens = round(documents * mean(len(one) - shared for one in ids)) + shared
    placement = place(section.device, section.precision)
    body, head, width = _parameters(folder)
    operations = 2.0 * (tokens * body + documents * head)
    speed = _speed(placement, width)
    return Forecast(
        documents,
        tokens,
        shared,
        max(map(len, ids)),
        (operations / speed / _EFFICIENCY[1], operations / speed / _EFFICIENCY[0]),
        documents * _BYTES_PER_ANSWER,
        f"{body + head:,} parameters; {speed / 1e9:,.0f} GFLOP/s in {placement.dtype} measured here",
    )


def _documents(recipe: Recipe, rows: int) -> int:
    split = recipe.raw.split
    if rows <= split.test + split.validation:
        raise StillhouseError(
            f"test and validation take {split.test + split.validation:,} documents, and the sources have {rows:,}",
            where="raw.split",
            fix="lower `raw.split.test` or `raw.split.validation`, or add rows",
        )
    return min(rows, rows if split.train is None else split.test + split.validation + split.train)


def _of_endpoint(recipe: Classification, section: ApiLabeler, cache: Path, base: Path) -> ApiForecast | None:
    sample, total = sample_rows(recipe, cache=cache, base=base, count=_SAMPLE)
    if not sample:
        return None
    prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
    calls = _documents(recipe, total) * section.samples
    size = mean(len(question_of(section, prompt, row.text).encode("utf-8")) for row in sample)
    prompts = round(calls * size / _BYTES_PER_TOKEN)
    answers = (4 * calls, section.max_tokens * calls)
    return _priced(section, calls, prompts, answers)


def _priced(section: ApiTeacher, calls: int, prompts: int, answers: tuple[int, int]) -> ApiForecast:
    prices, most = prices_of(section), section.spending
    money = None if prices is None else (prices.of(prompts, answers[0]), prices.of(prompts, answers[1]))
    short = most.tokens is not None and most.tokens < prompts + answers[0]
    short |= most.money is not None and money is not None and most.money < money[0]
    return ApiForecast(calls, prompts, answers, money, short)


# bytes a token that each form of distributions was measured to take, at m draws or k entries (docs/measurements.md)
_BYTES_PER_DRAW, _BYTES_PER_ENTRY = 1.15, 2.7


def _of_writing(recipe: Generation, cache: Path, base: Path) -> ApiForecast | WritingForecast | None:
    sample, total = sample_rows(recipe, cache=cache, base=base, count=_SAMPLE)
    answers, section, kept = recipe.ferment.answers, recipe.ferment.teacher, recipe.ferment.distributions
    if not sample or not isinstance(answers, Ask):
        return None
    asks = [asked({"messages": row.messages, "text": row.text}, answers.system) for row in sample]
    size = mean(sum(len(turn["content"].encode("utf-8")) for turn in messages) for messages in asks)
    calls = _documents(recipe, total) * answers.samples
    prompts = round(calls * size / _BYTES_PER_TOKEN)
    written = (4 * calls, answers.max_tokens * calls)
    if isinstance(section, ApiTeacher):
        return _priced(section, calls, prompts, written)
    each = {"sparse": _BYTES_PER_DRAW * kept.m, "top-k": _BYTES_PER_ENTRY * kept.exact}.get(kept.form, 0.0)
    return WritingForecast(calls, prompts, written, round(written[1] * each))


def _parameters(folder: Path) -> tuple[int, int, int]:
    """Parameters that every token passes, those of the head that every document passes once, and the width."""
    import torch
    from transformers import AutoConfig, AutoModel

    with quiet(), torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    embeddings = model.get_input_embeddings().weight
    body = sum(one.numel() for one in model.parameters()) - embeddings.numel()
    return body, embeddings.numel(), int(embeddings.shape[1])


def _speed(placement: Placement, width: int) -> float:
    """Floating-point operations a second of a product like those of a forward pass: the best of a few moments, since
    whatever else runs here may stop again."""
    import torch

    rows, dtype = 1024, getattr(torch, placement.dtype)
    a = torch.ones(rows, width, dtype=dtype, device=placement.device)
    b = torch.ones(width, width, dtype=dtype, device=placement.device)
    best = 0.0
    for _ in range(8):
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < 0.05:
            (a @ b)[0, 0].item()  # waits for the device
            done += 1
        best = max(best, 2.0 * rows * width * width * done / (time.perf_counter() - start))
    return best


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
