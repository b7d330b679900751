"""A causal language model on this machine as a teacher: a transformers folder or a GGUF file.

GGUF weights are dequantized and written as safetensors once, in the cache; later loads take a second.

    teacher = LocalTeacher.load(files, place("auto", "auto"), cache=Path("cache"))
"""

from __future__ import annotations

import copy
import io
import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.addresses import Files
from stillhouse.causal import load_causal
from stillhouse.device import Placement
from stillhouse.errors import StillhouseError, first_line
from stillhouse.prompts import Prompt
from stillhouse.stock import context_of, quiet
from stillhouse.store import digest_of, reached
from stillhouse.teachers.capabilities import CAUSAL
from stillhouse.teachers.protocol import Capability, Questions
from stillhouse.teachers.scoring import Scorer
from stillhouse.teachers.templates import ChatTemplate, RowError, text_ids, texts_ids

_SMALLEST_GGUF = 1024  # bytes; the header of any real model is larger
_CONVERSION = "1"  # raise it when the conversion below changes what it writes


class LocalTeacher:
    """A loaded model with its tokenizer. Made by :meth:`load`."""

    capabilities: frozenset[Capability] = CAUSAL

    def __init__(self, model: Any, tokenizer: Any, weights_digest: str, placement: Placement) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.placement = placement
        self._weights_digest = weights_digest
        self.scorer = Scorer(model)
        self._renderer = Renderer(tokenizer)

    @classmethod
    def load(cls, files: Files, placement: Placement, *, cache: Path) -> LocalTeacher:
        """Load the model that ``files`` holds; raises :class:`StillhouseError` when it is none."""
        model, tokenizer = load_causal(
            model_folder(files, cache), dtype=placement.dtype, where=f"ferment.teacher.model: {files.address}"
        )
        model.requires_grad_(False).to(placement.device)
        _sharpen_head(model)
        return cls(model, tokenizer, files.digest, placement)

    def identity(self) -> dict[str, Any]:
        """Weights, tokenizer and precision; library versions are not part: an upgrade is no reason to pay again."""
        return {
            "kind": "local",
            "weights": self._weights_digest,
            "tokenizer": digest_of(self.tokenizer.backend_tokenizer.to_str()),
            "template": self.tokenizer.chat_template or "",
            "precision": self.placement.dtype,
            "conversion": _CONVERSION,
            **({} if self.placement.dtype == "float32" else {"head": "float32"}),
        }

    def render(self, prompt: Prompt, text: str) -> str:
        """The whole prompt, up to where the answer begins."""
        return self._renderer.render(prompt, text)

    def answers(self, prompt: Prompt, labels: Sequence[str]) -> list[str]:
        """The continuations that stand for the labels."""
        return [prompt.answer_for(label) for label in labels]

    def context(self) -> int:
        """The longest sequence the model was made for, in tokens."""
        return context_of(self.model)

    def questions(self, prompts: Sequence[str], answers: Sequence[str]) -> Questions:
        """Tokenize; the common prefix of all prompts is found on the ids, so no seam can move a token border."""
        encoded = texts_ids(self.tokenizer, prompts)
        answer_ids = encode_answers(self.tokenizer, prompts[0] if prompts else "", answers)
        longest = self.context() - max(map(len, answer_ids))
        refused = {
            row: f"the prompt has {len(ids)} tokens, the teacher takes {longest}"
            for row, ids in enumerate(encoded)
            if len(ids) > longest
        }
        # one token must stay behind the prefix, since the first answer token is read from the last position
        longest_prefix = max(0, min(map(len, encoded), default=0) - 1)
        prefix = tuple(common_prefix(encoded)[:longest_prefix])
        return Questions(prefix, tuple(ids[len(prefix) :] for ids in encoded), answer_ids, refused)

    def score(self, questions: Questions, rows: Sequence[int]) -> npt.NDArray[np.float64]:
        """See :class:`stillhouse.teachers.protocol.Teacher`."""
        rest = [questions.rest[row] for row in rows]
        return self.scorer.score(prefix=questions.prefix, rest=rest, answers=questions.answers)


def load_tokenizer(files: Files, *, cache: Path) -> Any:
    """The tokenizer of the model that ``files`` holds; no weights are loaded, a GGUF file is converted once."""
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(model_folder(files, cache))


class Renderer:
    """Prompts as the model of one tokenizer sees them: plain, or through its chat template, which is tried out once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._chat: ChatTemplate | None = None

    def render(self, prompt: Prompt, text: str) -> str:
        """The prompt about ``text``; raises :class:`StillhouseError` where the template cannot write it."""
        if not prompt.chat:
            return prompt.render(text)
        self._chat = self._chat or ChatTemplate(self._tokenizer)
        try:
            return self._chat.text(prompt.messages(text))
        except RowError as error:
            raise StillhouseError(
                f"the teacher's chat template refuses the prompt: {error}",
                where="ferment.prompt",
                fix="leave out what it refuses, or set `ferment.prompt.chat: false`",
            ) from error


def encode_answers(tokenizer: Any, prompt: str, answers: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Token ids of answers as they follow ``prompt``; raises :class:`StillhouseError` where they cannot be told apart
    or change the prompt's own tokens."""
    head = text_ids(tokenizer, prompt)
    found: list[tuple[int, ...]] = []
    for answer, ids in zip(answers, texts_ids(tokenizer, [prompt + answer for answer in answers]), strict=True):
        if ids[: len(head)] != head or len(ids) == len(head):
            raise StillhouseError(
                f"the answer {answer!r} changes how the end of the question is split into tokens",
                where="ferment.prompt.answer",
                fix="begin the answer with a space, or end the question without one",
            )
        found.append(ids[len(head) :])
    for first in found:
        for second in found:
            if first is not second and second[: len(first)] == first:
                raise StillhouseError(
                    "the tokens of one label's word begin another's, so they cannot be told apart",
                    where="ferment.prompt.words",
                    fix="choose words of which none begins another",
                )
    return tuple(found)


def _sharpen_head(model: Any) -> None:
    """Let the vocabulary's matrix multiply in float32, whatever the precision of the layers below.

    bfloat16 keeps 8 bits: logits around 20 would come in steps of 0.125, and so would every difference of labels.
    """
    head = model.get_output_embeddings()
    if head is None or head.weight.element_size() > 2:
        return
    sharp = copy.deepcopy(head).float()  # of its own, where the matrix is tied to the embeddings
    sharp.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(), *inputs[1:]))
    model.set_output_embeddings(sharp)


def common_prefix(sequences: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The longest beginning that all sequences share; it is shared by the smallest and the largest of them."""
    if not sequences:
        return ()
    low, high = min(sequences), max(sequences)
    length = next((place for place, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), len(low))
    return low[:length]


def check_files(files: Files) -> None:
    """Raise :class:`StillhouseError` when ``files`` hold no model, as far as can be told without loading it."""
    folder = next((path for path in files.files if path.name == "config.json"), None)
    gguf = [path for path in files.files if path.suffix == ".gguf"]
    for path in gguf:
        with path.open("rb") as stream:
            if stream.read(4) != b"GGUF" or path.stat().st_size < _SMALLEST_GGUF:
                raise StillhouseError("this is no GGUF file", where=str(path), fix="fetch the file again")
    if not gguf and folder is None:
        raise StillhouseError(
            "there is neither a config.json nor a GGUF file",
            where=files.address,
            fix="point the address at a transformers model folder or at one .gguf file",
        )
    if len(gguf) > 1:
        raise StillhouseError(
            f"{len(gguf)} GGUF files match", where=files.address, fix="name one of them in the address"
        )


def model_folder(files: Files, cache: Path) -> Path:
    """A transformers folder for what ``files`` holds; a GGUF file is converted into the cache once."""
    check_files(files)
    gguf = [path for path in files.files if path.suffix == ".gguf"]
    if not gguf:
        return next(path for path in files.files if path.name == "config.json").parent
    folder = cache / "converted" / f"{files.digest[:32]}-{_CONVERSION}"
    if not folder.is_dir():
        _convert_gguf(gguf[0], folder, files.address)
    return folder


def _convert_gguf(path: Path, folder: Path, address: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        # the conversion draws a bar of its own on stderr
        with quiet(), redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
            )
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)
    except Exception as error:  # a broken file makes the reader fail in many ways
        raise StillhouseError(
            f"the GGUF file cannot be read: {first_line(error)}",
            where=address,
            fix="give a GGUF file of an architecture that transformers knows, or the original model folder",
        ) from error
    reached("converted-model-written")
    draft.rename(folder)
    reached("converted-model-sealed")
