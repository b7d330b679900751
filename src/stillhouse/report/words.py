"""How figures are called and written: the names of metrics and artifacts, and the form of their values.

metric_of("accuracy").name                        # "Accuracy"
metric_of("accuracy").written(0.8284)             # "0.828"
of_bytes(41_300_000)                              # "41.3 MB"

A metric that is not known here is shown under its own name, so that a later one is never lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """name: in words. form: of :meth:`str.format`. better: which way, if any. points: a share, written times 100."""

    name: str
    form: str = "{:.4g}"
    better: Better | None = None
    points: bool = False

    def written(self, value: float | None) -> str:
        """The value as it is shown; a dash that says so where there is none."""
        if value is None:
            return "not certified"
        shown = 100 * value if self.points else value
        if float(self.form.format(shown).replace(",", "")) == 0:  # no minus before a zero
            shown = 0.0
        form = self.form
        if form.endswith("f}") and abs(shown) >= 1000:  # what follows the point says nothing any more
            form = "{:+,.0f}" if "+" in form else "{:,.0f}"
        return signed(form.format(shown))

    def span(self, lower: float | None, upper: float | None) -> str:
        """The interval as it is shown, empty where there is none."""
        if lower is None or upper is None:
            return ""
        return f"{self.written(lower)} to\N{NO-BREAK SPACE}{self.written(upper)}"


METRICS = {
    "accuracy": Metric("Accuracy", "{:.3f}", "higher"),
    "macro_f1": Metric("Macro F1", "{:.3f}", "higher"),
    "recall": Metric("Recall of each label", "{:.3f}", "higher"),
    "agreement": Metric("Agreement with the teacher", "{:.3f}", "higher"),
    "inherited_errors": Metric("Errors taken over from the teacher", "{:.3f}", "lower"),
    "calibration_error": Metric("Calibration error", "{:.3f}", "lower"),
    "mcnemar_p": Metric("McNemar's exact test, p", "{:.3g}"),
    "retention_difference": Metric("Student − teacher, points", "{:+.1f}", "higher", points=True),
    "retention_difference_lower_95": Metric("Its one-sided 95 % lower bound, points", "{:+.1f}", points=True),
    "retention_ratio": Metric("Retention: share of the teacher's", "{:.3f}", "higher"),
    "retention_ratio_lower_95": Metric("Retention, its one-sided 95 % lower bound", "{:.3f}", "higher"),
    "retention_chance_corrected_lower_95": Metric(
        "Retention, corrected for chance, its one-sided 95 % lower bound", "{:.3f}", "higher"
    ),
    "retention_chance_corrected": Metric("Retention, corrected for chance", "{:.3f}", "higher"),
    "kl": Metric("KL to the teacher, nats a token", "{:.3f}", "lower"),
    "kl_to_student": Metric("KL to the student, nats a token", "{:.2g}", "lower"),
    "agreeing_before_parting": Metric("Share of an answer before it parts from the student's", "{:.3f}", "higher"),
    "nll": Metric("Log-loss, nats a token", "{:.3f}", "lower"),
    "perplexity": Metric("Perplexity", "{:.2f}", "lower"),
    "bits_per_byte": Metric("Bits a byte", "{:.3f}", "lower"),
    "entropy": Metric("Entropy, nats a token", "{:.3f}"),
    "verified": Metric("Right answers", "{:.3f}", "higher"),
    "repetition": Metric("Repeated 4-grams", "{:.3f}", "lower"),
    "distinct_2": Metric("Distinct 2-grams", "{:.3f}", "higher"),
    "stopped": Metric("Answers that end by themselves", "{:.3f}", "higher"),
    "answer_tokens": Metric("Tokens an answer", "{:.1f}"),
    "refusals": Metric("Refusals", "{:.3f}"),
    "empty_answers": Metric("Empty answers", "{:.3f}", "lower"),
    "win_rate": Metric("Win rate, as a judge sees it", "{:.3f}", "higher"),
    "win_rate_splits_half": Metric("Win rate with a half for each split", "{:.3f}", "higher"),
    "judge_first_place": Metric("How far the judge goes by the first place (fair: 0.5)", "{:.3f}"),
    "judge_follows_gold": Metric("How often the right answer wins over a wrong one", "{:.3f}", "higher"),
    "judge_longer_wins": Metric("How often the longer answer wins", "{:.3f}"),
    "bytes": Metric("Size"),
    "texts_per_s": Metric("Texts a second", "{:,.4g}", "higher"),
    "prefill_tokens_per_s": Metric("Tokens read a second", "{:,.4g}", "higher"),
    "decode_tokens_per_s": Metric("Tokens written a second", "{:,.4g}", "higher"),
}
_ARTIFACTS = {
    "teacher": "Teacher",
    "student": "Student",
    "onnx-fp32": "ONNX, float32",
    "onnx-int8": "ONNX, int8",
    "onnx-mixed": "ONNX, int8 with layers in float32",
    "gguf-f16": "GGUF, f16",
    "gguf-q8_0": "GGUF, q8_0",
    "gguf-q4_0": "GGUF, q4_0",
    "majority": "Most frequent label",
    "tfidf-teacher": "TF-IDF taught by the teacher",
    "tfidf-gold": "TF-IDF on gold labels",
    "student-gold": "The same student on gold labels",
    "ce": "Student on plain cross-entropy (ce)",
    "untrained": "Student before training (untrained)",
}
STEPS = {
    "raw": "Raw material",
    "ferment": "Fermentation",
    "scores": "Scores",
    "cuts": "Cuts",
    "distill": "Distillation",
    "controls": "Controls",
    "judge": "Judging",
    "finish": "Bottling",
}
ASKS = {
    "raw": "What goes in, and may it?",
    "ferment": "What does the teacher know about it?",
    "scores": "How doubtful, how easy is each row?",
    "cuts": "What is worth teaching?",
    "distill": "What was learnt?",
    "controls": "What would have been learnt without a teacher?",
    "judge": "What did we get, on what was held out?",
    "finish": "Dare we ship it?",
}


def metric_of(name: str) -> Metric:
    """How a metric is shown."""
    return METRICS.get(name) or Metric(name.replace("_", " ").capitalize())


def artifact_name(name: str) -> str:
    """An artifact in words; its own name where there are none."""
    if name.startswith("student-gold-"):
        return f"The same student on {name.removeprefix('student-gold-')} gold labels"
    return _ARTIFACTS.get(name, name)


def signed(number: str) -> str:
    """With the sign that is as wide as a plus."""
    return number.replace("-", "−")


def of_bytes(value: float | None) -> str:
    """A size in the unit that keeps it short; 1 MB is a million bytes."""
    if value is None:
        return "not known"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:,.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{value:,.0f} bytes"


def of_speed(value: float | None) -> str:
    """Items a second."""
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def count(value: int) -> str:
    """A whole number with thin groups."""
    return f"{value:,}"
