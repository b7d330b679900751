"""What the label of a model that writes adds: how it writes beside teacher and controls, and answers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.finish.label import CardParts
from stillhouse.finish.label_tasks import task_lines, task_results, task_rows
from stillhouse.recipe.generation import Generation

_ROWS = {  # what a figure is called on the card, and how it is written
    "kl, answers": ("KL to the teacher, nats a token", "{:.3f}"),
    "agreement, answers": ("top-1 agreement with the teacher", "{:.3f}"),
    "perplexity, answers": ("perplexity of the teacher's answers", "{:.2f}"),
    "kl, given answers": ("KL to the teacher on given answers", "{:.3f}"),
    "agreement, given answers": ("top-1 agreement on given answers", "{:.3f}"),
    "perplexity, given answers": ("perplexity of given answers", "{:.2f}"),
    "perplexity, other text": ("perplexity of text that the teacher did not write", "{:.2f}"),
    "bits_per_byte, other text": ("the same, in bits a byte", "{:.3f}"),
    "verified": ("right answers", "{:.3f}"),
    "repetition": ("repeated 4-grams", "{:.3f}"),
    "stopped": ("answers that end by themselves", "{:.3f}"),
    "answer_tokens": ("tokens an answer", "{:.1f}"),
    "refusals": ("refusals", "{:.3f}"),
    "empty_answers": ("empty answers", "{:.3f}"),
}
_LONGEST = 600  # characters of an answer on the card; label.json and samples.jsonl have all of it


def own_fields(recipe: Generation, samples: Sequence[Mapping[str, Any]], stages: dict[str, Any]) -> dict[str, Any]:
    """The label's fields that only a model that writes has. samples: prompts with all answers, chosen by hash."""
    return {
        "loss": recipe.distill.loss.name,
        "on_policy": recipe.distill.on_policy is not None,
        "controls": list(recipe.controls),
        "parameters": stages["distill"].get("parameters"),
        "gold_labels_used_for_cuts": stages["cuts"]["calibration_labels_used"] if "cuts" in stages else 0,
        "masked": stages["cuts"]["masked"] if "cuts" in stages else None,
        "samples": [dict(sample) for sample in samples],
    }


def card_parts(label: dict[str, Any]) -> CardParts:
    """The card's parts that only a model that writes has."""
    strength = label["strength"]
    student, chats = strength["artifacts"]["student"], bool(label["shipped"]["chat_template"])
    metrics = [
        {"type": name.replace(", ", " on "), "value": round(figure["value"], 4)}
        for name, figure in student.items()
        if name in _ROWS and figure["value"] is not None
    ]
    return CardParts(
        intro=f"`{label['task']}` model",
        metrics=metrics,
        strength=[
            "Measured on held-out text and prompts; what is shipped here, in this precision, is what was measured.",
            "",
            *_table(strength["artifacts"]),
            "",
            *(f"- {line}" for line in strength["reading"]),
            *(f"- {line}." for line in _gap_lines(strength["contrasts"])),
            f"- Speed on the machine that made it: {speed_words(strength['speed'])}.",
            f"- Size: {size_words(strength['size'])}.",
            *_file_lines([*strength["gguf"], *strength["onnx"]]),
            *_judge_lines(strength.get("judge")),
        ],
        use={
            "`transformers`": _transformers(chats),
            **_llama_cpp(strength["gguf"], chats),
            **_onnxruntime(strength["onnx"], chats),
        },
        browser=_in_browser(strength["onnx"], chats),
        more=[*task_lines(strength.get("harness", ())), *_sample_lines(label["samples"])],
        results=task_results(label["task"], strength.get("harness", ())),
    )


def _transformers(chats: bool) -> list[str]:
    """How it is asked in transformers. chats: it has a chat template; without one it goes on from a text."""
    if not chats:
        return [
            "from transformers import pipeline",
            'write = pipeline("text-generation", model="bottle")',
            'print(write("your question", max_new_tokens=128, do_sample=False)[0]["generated_text"])',
        ]
    return [
        "from transformers import pipeline",
        'chat = pipeline("text-generation", model="bottle")',
        'messages = [{"role": "user", "content": "your question"}]',
        'print(chat(messages, max_new_tokens=128, do_sample=False)[0]["generated_text"][-1]["content"])',
    ]


def _llama_cpp(files: Sequence[Mapping[str, Any]], chats: bool) -> dict[str, list[str]]:
    """How the first of the bottled GGUF files is asked, by llama.cpp's own server inside `xllamacpp`."""
    passed = [one for one in files if one["passed"]]
    if not passed:
        return {}
    asked = [
        'asked = {"messages": [{"role": "user", "content": "your question"}], "max_tokens": 64, "temperature": 0}',
        "answer = server.handle_chat_completions(asked)",
        'print(answer["choices"][0]["message"]["content"])',
    ]
    if not chats:  # llama.cpp would put a template of its own around messages
        asked = [
            'asked = {"prompt": "your question", "max_tokens": 64, "temperature": 0}',
            'print(server.handle_completions(asked)["choices"][0]["text"])',
        ]
    return {
        "`xllamacpp`, or any llama.cpp": [
            "import json, xllamacpp",
            "parameters = xllamacpp.CommonParams()",
            f'parameters.model.path = "bottle/{passed[0]["file"]}"',
            "parameters.n_ctx, parameters.warmup = 512, False",
            "server = xllamacpp.Server(parameters)",
            *asked,
        ]
    }


def _smallest(files: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of the files that ship."""
    return min((one for one in files if one["passed"]), key=lambda one: int(one["bytes"]), default=None)


def _onnxruntime(files: Sequence[Mapping[str, Any]], chats: bool) -> dict[str, list[str]]:
    """How the smallest of the bottled ONNX files writes: one token at a time, with what was read kept."""
    chosen = _smallest(files)
    if chosen is None:
        return {}
    read = ['ids = np.array([tokenizer("your question")["input_ids"]])']
    if chats:
        read = [
            'messages = [{"role": "user", "content": "your question"}]',
            "text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)",
            'ids = np.array([tokenizer(text, add_special_tokens=False)["input_ids"]])',
        ]
    return {
        "`onnxruntime`, and the tokenizer of `transformers`": [
            "import json, numpy as np, onnxruntime",
            "from transformers import AutoTokenizer",
            'tokenizer = AutoTokenizer.from_pretrained("bottle")',
            f'session = onnxruntime.InferenceSession("bottle/{chosen["file"]}")',
            'ends = json.load(open("bottle/generation_config.json")).get("eos_token_id", tokenizer.eos_token_id)',
            "ends = ends if isinstance(ends, list) else [ends]",
            *read,
            'shapes = {one.name: one.shape for one in session.get_inputs() if one.name.startswith("past_key_values")}',
            "past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in shapes.items()}",
            "read, written = 0, []",
            "while len(written) < 64:",
            "    places = np.arange(read, read + ids.shape[1])[None]",
            "    read += ids.shape[1]",
            '    feed = {"input_ids": ids, "position_ids": places, "attention_mask": np.ones((1, read), np.int64)}',
            "    logits, *present = session.run(None, feed | past)",
            "    token, past = int(logits[0, -1].argmax()), dict(zip(past, present))",
            "    if token in ends:",
            "        break",
            "    written.append(token)",
            "    ids = np.array([[token]])",
            "print(tokenizer.decode(written))",
        ]
    }


def _in_browser(files: Sequence[Mapping[str, Any]], chats: bool) -> list[str]:
    """The same in transformers.js; kinds are called there as they are here."""
    chosen = _smallest(files)
    if chosen is None:
        return []
    opened = f'await pipeline("text-generation", "bottle", {{ dtype: "{chosen["kind"]}" }})'
    if not chats:
        return [
            f"const write = {opened};",
            'console.log((await write("your question", { max_new_tokens: 64, do_sample: false }))[0].generated_text);',
        ]
    return [
        f"const chat = {opened};",
        'const messages = [{ role: "user", content: "your question" }];',
        "const [answer] = await chat(messages, { max_new_tokens: 64, do_sample: false });",
        "console.log(answer.generated_text.at(-1).content);",
    ]


def _file_lines(files: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each file beside the student that it was made of; answers that are too short have no speed."""

    def speed(one: Mapping[str, Any]) -> str:
        return "" if one["tokens_per_s"] is None else f", {one['tokens_per_s']:.0f} tokens/s"

    return [
        f"- `{one['file']}`: {one['bytes'] / 1e6:.0f} MB, {one['kl']:.2g} nats from the student, the same answer for "
        f"{100 * one['agreeing']:.0f} % of its length{speed(one)}."
        if one["passed"]
        else f"- {one['kind']} was left out: {'; '.join(one['reasons'])}."
        for one in files
    ]


def _judge_lines(judge: Mapping[str, Any] | None) -> list[str]:
    """What a judge of pairs said, and whether it can be trusted."""
    if not judge:
        return []
    lines = [
        "",
        "### A judge of pairs",
        "",
        f"`{judge['address']}` read {judge['prompts']} held-out prompts with the student's answer and another's, each "
        f"in both orders ({judge['by']}). It was told: {_quoted(judge['criteria'])} Its verdicts are reported and "
        "decide no gate.",
        "",
        *(f"- {line}" for line in judge["reading"]),
    ]
    return [*lines, *(f"- Warning: {line}." for line in judge["warnings"])]


def strength_rows(label: dict[str, Any]) -> list[tuple[str, str]]:
    """What was measured, as names and words for a terminal."""
    strength = label["strength"]
    artifacts = strength["artifacts"]
    rows = []
    for key, (name, form) in _ROWS.items():
        found = {who: figures[key]["value"] for who, figures in artifacts.items() if key in figures}
        if found:
            rows.append((name, " · ".join(f"{who} {form.format(value)}" for who, value in found.items())))
    rows += [("distillation", line) for line in strength["reading"]]
    rows += [("recovered gap", line) for line in _gap_lines(strength["contrasts"])]
    rows += task_rows(strength.get("harness", ()))
    rows += [("speed", speed_words(strength["speed"])), ("size", size_words(strength["size"]))]
    judge = strength.get("judge")
    if judge:
        rows += [(f"judge: {judge['address']}", line) for line in (*judge["reading"], *judge["warnings"])]
    return rows


def speed_words(speed: Mapping[str, Any]) -> str:
    """Tokens a second of student and teacher, where the teacher runs here."""

    def words(one: Mapping[str, Any]) -> str:
        writes = ", ".join(f"{value:.0f} at batch {batch}" for batch, value in one["decode"].items())
        return f"writes {writes} tokens/s, reads {max(one['prefill'].values()):.0f}"

    student, teacher = speed["student"], speed.get("teacher")
    if teacher is None:
        return f"{words(student)}; the teacher's was not measured ({speed['precision']})"
    ratio = student["decode"]["1"] / teacher["decode"]["1"]
    return f"{words(student)}; teacher {words(teacher)} ({ratio:.1f}× in writing one answer, both {speed['precision']})"


def size_words(size: Mapping[str, Any]) -> str:
    """Parameters and bytes of student and teacher, as far as they are known."""

    def words(parameters: int | None, weights: int | None) -> str:
        if parameters is None or weights is None:
            return "not known"
        return f"{parameters:,} parameters, {weights / 1e6:.1f} MB"

    teacher = words(size["teacher_parameters"], size["teacher_bytes"])
    return f"{words(size['student_parameters'], size['student_bytes'])}; teacher {teacher}"


def _table(artifacts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    # exports have lines of their own, and none of these figures
    shown = {name: figures for name, figures in artifacts.items() if any(key in figures for key in _ROWS)}
    lines = [f"| | {' | '.join(shown)} |", "|---|" + "---|" * len(shown)]
    for key, (name, form) in _ROWS.items():
        if any(key in figures for figures in shown.values()):
            cells = [_cell(figures.get(key), form) for figures in shown.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(figure: Mapping[str, Any] | None, form: str) -> str:
    if figure is None or figure["value"] is None:
        return ""
    if figure["lower"] is None:
        return form.format(figure["value"])
    return f"{form.format(figure['value'])} ({form.format(figure['lower'])}–{form.format(figure['upper'])})"


def _gap_lines(contrasts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of held-out answers, and of the likelihood of other text: there its own distance from the teacher says little."""
    lines = []
    for one in contrasts:
        if one["slice"] == "other text" and one["metric"] in ("kl", "agreement"):
            continue
        gap = one["recovered_gap"]
        words = f"{gap['value']:.2f} ({gap['lower']:.2f} to {gap['upper']:.2f})" if gap else str(one["not_certified"])
        lines.append(f"Of the way from `{one['baseline']}` to the teacher, {one['metric']} on {one['slice']}: {words}")
    return lines


def _sample_lines(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    if not samples:
        return []
    lines = ["", "## Sample answers", "", "The same held-out prompts for both, chosen by hash and not by quality."]
    for sample in samples:
        lines += ["", f"**Asked:** {_quoted(sample['asked'])}"]
        for who in ("teacher", "student"):
            if who in sample["answers"]:
                one = sample["answers"][who]
                lines += ["", f"**{who}** ({one['finish_reason']}):", "", *_block(one["text"])]
    return lines


def _quoted(text: str) -> str:
    return " ".join(_short(text).replace("`", "'").split())


def _block(text: str) -> list[str]:
    """As a quotation, whatever marks stand in it."""
    return [f"    {line}" for line in _short(text).splitlines()] or ["    (nothing)"]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
