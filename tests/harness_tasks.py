"""Task files of our own for lm-evaluation-harness: four options, an answer to write, whole texts; data beside them."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_chat import WORDS

OPTIONS = [list(WORDS[place : place + 4]) for place in (0, 2, 4)]
SKY = [
    {"question": f"say {options[place % 4]}", "options": options, "answer": place % 4}
    for place, options in enumerate(OPTIONS * 8)
]
ECHO = [{"question": f"say {word}", "answer": word} for word in WORDS]

_SKY = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{options}}}}"
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1.0}}
"""
_ECHO = """
task: echo
tag: ours_by_tag
dataset_path: json
dataset_kwargs: {data_files: {test: data/echo.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 8}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
  - {metric: !function own.first_letter, aggregation: mean, higher_is_better: true}
"""
_TEXTS = """
task: texts
dataset_path: json
dataset_kwargs: {data_files: {test: data/echo.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{question}} and {{answer}}"
metric_list:
  - {metric: word_perplexity}
  - {metric: bits_per_byte}
"""
_GROUP = """
group: ours
task: [sky, more_sky]
"""
_OWN = """
def first_letter(references, predictions, **_):
    return float(predictions[0][:1] == references[0][:1])
"""


def write_tasks(folder: Path) -> Path:
    """The folder, filled."""
    (folder / "data").mkdir(parents=True)
    files = {"sky.jsonl": SKY, "more_sky.jsonl": SKY[:8], "echo.jsonl": ECHO}
    for name, rows in files.items():
        (folder / "data" / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for name in ("sky", "more_sky"):
        (folder / f"{name}.yaml").write_text(_SKY.format(name=name, data=f"data/{name}.jsonl"), "utf-8")
    for name, text in {"echo.yaml": _ECHO, "texts.yaml": _TEXTS, "group.yaml": _GROUP, "own.py": _OWN}.items():
        (folder / name).write_text(text, "utf-8")
    return folder
