"""Right answers, where the data say what is right: the share of each model, and paired tests between them.

checked = check_answers(prompts, said, numeric)
checked.rows()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.finish.evaluate import TEACHER, Row
from stillhouse.finish.generation.answers import Written
from stillhouse.finish.generation.contrast import STUDENT, Contrast, contrast
from stillhouse.finish.generation.passages import Prompt
from stillhouse.statistics import Flags, Interval, Outcomes, mcnemar_exact, mean_of, proportion
from stillhouse.verifiers import Verdict, Verifier


@dataclass(frozen=True)
class Checked:
    """right: for each model, which of the prompts that could be checked it answered rightly (C,). places: these
    prompts' numbers. verdicts: of each model about all prompts, with the reason."""

    right: Mapping[str, Flags]
    places: tuple[int, ...]
    verdicts: Mapping[str, Sequence[Verdict]]

    def rows(self) -> list[Row]:
        """The share of right answers with Wilson's interval, and exact McNemar tests of the student."""
        if not self.places:
            return []
        rows = []
        for name, right in self.right.items():
            one = proportion(right)
            rows.append(Row(name, "verified", "gold", one.value, one.lower, one.upper, one.n))
        student = self.right[STUDENT]
        for name, right in self.right.items():
            if name != STUDENT:
                test = mcnemar_exact(right, student)
                rows.append(Row(STUDENT, "mcnemar_p", f"against {name}", test.p_value, None, None, test.b + test.c))
        return rows

    def contrasts(self, baselines: Sequence[str], *, resamples: int, seed: int) -> list[Contrast]:
        """The student's share against each baseline's."""
        found = []
        for baseline in baselines if self.places else ():
            nothing = np.full(len(self.places), np.nan)
            columns = [self.right.get(TEACHER, nothing), self.right[STUDENT], self.right[baseline]]
            # a score interval: of no prompts on which they differ it does not follow that two models are equal
            apart = Outcomes.paired(self.right[baseline], self.right[STUDENT]).mean()
            metric = mean_of(np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1))
            found.append(
                contrast(
                    "verified",
                    "gold",
                    baseline,
                    metric,
                    len(self.places),
                    better="higher",
                    resamples=resamples,
                    seed=seed,
                    difference=Interval(apart.value, apart.lower, apart.upper, apart.n),
                    p_value=mcnemar_exact(self.right[baseline], self.right[STUDENT]).p_value,
                )
            )
        return found


def check_answers(prompts: Sequence[Prompt], said: Mapping[str, Sequence[Written]], verify: Verifier) -> Checked:
    """Check every model's answers against the gold.

    An answer that was cut off or is empty is wrong without being looked at. A prompt without gold, or about which the
    verifier cannot tell of some model, counts for none.
    """
    verdicts = {
        name: [_verdict(one, prompt, verify) for one, prompt in zip(written, prompts, strict=True)]
        for name, written in said.items()
    }
    places = tuple(
        place for place in range(len(prompts)) if all(found[place].right is not None for found in verdicts.values())
    )
    right = {name: np.array([bool(found[place].right) for place in places]) for name, found in verdicts.items()}
    return Checked(right, places, verdicts)


def _verdict(one: Written, prompt: Prompt, verify: Verifier) -> Verdict:
    if prompt.gold is None:
        return Verdict(None, "there is no gold")
    if not one.stopped:
        return Verdict(False, f"not whole: finish reason {one.finish_reason}")
    if not one.answer.strip():
        return Verdict(False, "there is no answer")
    return verify(one.answer, prompt.gold)
