"""A tiny pair for the benches of distillation: a language model trained here on documentation, and text that it wrote.

pair = TinyPair.make(work, quick=False)
pair.lessons(seed=0)                 # ids (N, LENGTH): a real beginning of PROMPT tokens, then what the teacher wrote
pair.student(seed=0)                 # some of the teacher's layers
pair.judge(student)                  # Quality: held-out KL, agreement, perplexity of real text

Teacher, student and text share a vocabulary of their own. All is kept in ``work`` and made once.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

VOCABULARY = 2048
LENGTH = 128  # tokens of a document
PROMPT = 16  # of which so many are real; the teacher wrote the others, and they are learned
WIDTH = 128
TEACHER_LAYERS = 4
KEPT = (0, 3)  # layers of the student
BATCH = 16  # documents of a step
TEACHER_RATE = 3e-3
RATE = 1e-3

Tensor = torch.Tensor


@dataclass(frozen=True)
class Sizes:
    """Documents of real text for the teacher, and its epochs; lessons of one seed; documents held out; seeds."""

    real: int
    teacher_epochs: int
    lessons: int
    held_out: int
    seeds: int


FULL = Sizes(real=2400, teacher_epochs=5, lessons=768, held_out=96, seeds=5)
QUICK = Sizes(real=96, teacher_epochs=1, lessons=32, held_out=8, seeds=2)


@dataclass(frozen=True)
class Quality:
    """Of a student on held-out text: mean KL to the teacher in nats a token and top-1 agreement along answers of the
    teacher; perplexity of real text."""

    kl: float
    agreement: float
    perplexity: float


@dataclass(frozen=True)
class TinyPair:
    """teacher: 4 layers. written: (seeds, lessons, LENGTH) and held: (N, LENGTH), both from the teacher; real: (N,
    LENGTH) of text that it never saw."""

    teacher: Any
    written: Tensor
    held: Tensor
    real: Tensor
    sizes: Sizes

    @classmethod
    def make(cls, work: Path, *, quick: bool) -> TinyPair:
        """Train the teacher and let it write, or take what an earlier call left in ``work``."""
        from safetensors.torch import load_file, save_file

        sizes = QUICK if quick else FULL
        path = work / "tiny-pair.safetensors"
        training, unseen = _real_text(sizes)
        teacher = model(layers=TEACHER_LAYERS, seed=0)
        if not path.exists():
            fit(teacher, training, epochs=sizes.teacher_epochs)
            beginnings = training[torch.randperm(len(training), generator=_random(1))[: sizes.lessons], :PROMPT]
            kept = {
                f"teacher.{name}": value for name, value in teacher.state_dict().items() if name != "lm_head.weight"
            }
            kept["written"] = torch.stack([write(teacher, beginnings, seed=seed) for seed in range(sizes.seeds)])
            kept["held"] = write(teacher, unseen[:, :PROMPT].contiguous(), seed=99)
            save_file({name: value.contiguous() for name, value in kept.items()}, path)
        kept = load_file(path)
        weights = {name.removeprefix("teacher."): value for name, value in kept.items() if name.startswith("teacher.")}
        teacher.load_state_dict(weights, strict=False)
        return cls(teacher.eval(), kept["written"], kept["held"], unseen, sizes)

    def lessons(self, seed: int) -> Tensor:
        """What one seed learns from, (N, LENGTH); the teacher wrote it for this seed alone."""
        return self.written[seed]

    def student(self) -> Any:
        """Two of the teacher's four layers, with its vocabulary."""
        student = model(layers=len(KEPT), seed=0)
        weights = {name: value for name, value in self.teacher.state_dict().items() if ".layers." not in name}
        for at, layer in enumerate(KEPT):
            own = f"model.layers.{layer}."
            weights |= {
                f"model.layers.{at}.{name.removeprefix(own)}": value
                for name, value in self.teacher.state_dict().items()
                if name.startswith(own)
            }
        student.load_state_dict(weights)
        return student

    def judge(self, student: Any) -> Quality:
        """How near the student is to its teacher."""
        with torch.inference_mode():
            log_p, log_q = (
                one(input_ids=self.held[:, :-1]).logits[:, PROMPT - 1 :].float().log_softmax(-1)
                for one in (self.teacher, student.eval())
            )
            return Quality(
                float((log_p.exp() * (log_p - log_q)).sum(-1).mean()),
                float((log_p.argmax(-1) == log_q.argmax(-1)).float().mean()),
                perplexity(student, self.real),
            )


def perplexity(one: Any, ids: Tensor) -> float:
    """Of documents of equal length (N, L), each token given all before it."""
    with torch.inference_mode():
        says = one(input_ids=ids[:, :-1]).logits.float().flatten(0, 1)
        return float(torch.nn.functional.cross_entropy(says, ids[:, 1:].flatten()).exp())


def model(*, layers: int, seed: int, width: int = WIDTH) -> Any:
    """A stock Llama with random weights, a tied head and the tiny vocabulary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=2 * LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def write(teacher: Any, beginnings: Tensor, *, seed: int) -> Tensor:
    """What the teacher writes at temperature 1 behind the beginnings (N, PROMPT): (N, LENGTH)."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        parts = [
            teacher.eval().generate(
                part,
                attention_mask=torch.ones_like(part),
                do_sample=True,
                top_k=0,
                max_new_tokens=LENGTH - PROMPT,
                pad_token_id=0,
            )
            for part in beginnings.split(256)
        ]
    return torch.cat(parts).clone()


def _real_text(sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Ids (N, LENGTH) to train the teacher on, and ids that it never sees, in a vocabulary learnt from the former."""
    from tokenizers import ByteLevelBPETokenizer

    texts = documentation()
    texts = [texts[row] for row in torch.randperm(len(texts), generator=_random(0)).tolist()]
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=VOCABULARY, show_progress=False)

    def cut(part: list[str], number: int) -> Tensor:
        ids = tokenizer.encode("\n".join(part)).ids
        return torch.tensor([ids[at : at + LENGTH] for at in range(0, len(ids) - LENGTH, LENGTH)][:number])

    unseen = len(texts) - len(texts) // 10
    return cut(texts[:unseen], sizes.real), cut(texts[unseen:], sizes.held_out)


def documentation() -> list[str]:
    """The docstrings of an installed package, each once, by file and line: plain English with much structure."""
    import sklearn

    texts: list[str] = []
    for path in sorted(Path(sklearn.__file__).parent.rglob("*.py")):
        if "tests" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                    texts.append(" ".join(text.split()))
    return list(dict.fromkeys(texts))


def fit(teacher: Any, ids: Tensor, *, epochs: int) -> None:
    """Plain next-token training."""
    batches = [rows for epoch in range(epochs) for rows in order(len(ids), seed=epoch)]
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=TEACHER_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, TEACHER_RATE, total_steps=len(batches) + 1, pct_start=0.1)
    for rows in batches:
        says = teacher(input_ids=ids[rows, :-1]).logits.flatten(0, 1)
        torch.nn.functional.cross_entropy(says, ids[rows, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def order(number: int, *, seed: int) -> tuple[Tensor, ...]:
    """The batches of one epoch: rows of ``number`` documents, mixed."""
    return torch.randperm(number, generator=_random(1000 + seed)).split(BATCH)


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
