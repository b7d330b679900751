"""What the benches of the signal store share: the quickstart's teacher, its snippets as documents, hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stillhouse.addresses import resolve
from stillhouse.device import place
from stillhouse.recipe import load_recipe
from stillhouse.signals import Header, TokenDist
from stillhouse.store import digest_of
from stillhouse.teachers import LocalTeacher

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
LENGTH = 256  # tokens that a document has rows about
M = 30  # draws for a tail of mass one
PER_BATCH = 8  # documents

Documents = list[tuple[str, list[int]]]


@dataclass(frozen=True)
class Material:
    """The teacher; snippets joined and cut into documents of equal length; snippets as documents of their own.

    work: where the store and hidden states are kept. quick: a run too small for most bars.
    """

    teacher: LocalTeacher
    training: Documents
    held_out: Documents
    snippets: Documents
    texts: list[str]
    work: Path
    quick: bool

    @classmethod
    def load(cls, work: Path, *, quick: bool) -> Material:
        """A small or a full set; everything it needs comes through the quickstart's recipe."""
        number, held_out, snippets = (4, 1, 16) if quick else (256, 16, 512)
        recipe = load_recipe(RECIPE)
        files = resolve(recipe.ferment.teacher.model, cache=ROOT / "cache", base=ROOT)
        teacher = LocalTeacher.load(files, place("cpu", "auto"), cache=ROOT / "cache")
        (data,) = resolve(recipe.raw.sources[0].data, cache=ROOT / "cache", base=ROOT).files
        lines = [line.split("\t", 2) for line in data.read_text("utf-8").splitlines()]
        texts = [fields[2].strip() for fields in lines if len(fields) == 3]
        ids = teacher.tokenizer("\n".join(texts))["input_ids"]
        cut = [ids[at : at + LENGTH + 1] for at in range(0, (number + held_out) * (LENGTH + 1), LENGTH + 1)]
        single = teacher.tokenizer(texts[:snippets])["input_ids"]
        documents, alone = ([(f"{row:032x}", ids) for row, ids in enumerate(part)] for part in (cut, single))
        return cls(teacher, documents[:number], documents[number:], alone, texts, work, quick)

    @property
    def head(self) -> torch.Tensor:
        """The teacher's output matrix (V, H), in float32."""
        return self.teacher.model.get_output_embeddings().weight.detach().float()

    @property
    def header(self) -> Header:
        """The header of the store that is measured."""
        about = self.teacher.identity()
        return Header(
            teacher=about["weights"],
            tokenizer=about["tokenizer"],
            template=digest_of(about["template"]),
            vocabulary=len(self.head),
            precision=about["precision"],
            m=M,
            always=(self.teacher.tokenizer.eos_token_id,),
        )

    def bar(self, sense: str, limit: float) -> tuple[str, float] | None:
        """A bar of the full run. A quick one neither reaches nor misses it: in few tokens a store's header, a start-up
        and the chance of the draws weigh more than what is measured."""
        return None if self.quick else (sense, limit)

    def hidden(self, name: str, model: Any, documents: Documents) -> torch.Tensor:
        """Last hidden states (N, H) before each token that a row is about; kept in ``work`` under ``name``."""
        from safetensors.torch import load_file, save_file

        path = self.work / f"hidden-{name}-{len(documents)}.safetensors"
        if not path.exists():
            parts = []
            with torch.inference_mode():
                for at in range(0, len(documents), PER_BATCH):
                    ids = torch.tensor([ids[:-1] for _, ids in documents[at : at + PER_BATCH]])
                    parts.append(model.base_model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1))
            save_file({"hidden": torch.cat(parts)}, path)
        return load_file(path)["hidden"]

    def stored(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the store gives back about the training documents: ids and probabilities (N, S)."""
        rows = TokenDist.open(self.work).read_many(self.training)
        width = max(part.ids.shape[1] for part in rows)

        def joined(parts: list[np.ndarray]) -> torch.Tensor:
            wide = [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
            return torch.from_numpy(np.concatenate(wide))

        return joined([part.ids for part in rows]).long(), joined([part.probs for part in rows])


def store_bytes(folder: Path) -> int:
    """Bytes on disk of all files of a store."""
    return sum(path.stat().st_size for path in (folder / "signals" / "token_dist").iterdir())
