"""Training of language models: packing, masks, equality under accumulation and resume, guards, and that it teaches."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

import tiny_models
from stillhouse.distill.language import (
    Execution,
    Gold,
    LanguageSettings,
    Lesson,
    Live,
    OnPolicy,
    OnPolicyPlan,
    Stored,
    train_language,
)
from stillhouse.distill.language.packing import batch_of, pack, packs, plan_steps, states_of
from stillhouse.distill.language.run import LanguageRun
from stillhouse.distill.students.lora import with_lora
from stillhouse.distill.token_losses import TokenLoss
from stillhouse.distill.vocabularies import Vocabularies
from stillhouse.errors import StillhouseError
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.signals import Header, TokenDist, TokenDistWriter
from stillhouse.store import observe_commit_points
from tiny_world import language_tokenizer

V = 40
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
SETTINGS = LanguageSettings(
    epochs=2,
    step_tokens=64,
    row_tokens=32,
    learning_rate=3e-3,
    warmup_share=0.1,
    weight_decay=0.0,
    evaluations=3,
    seed=5,
)


def teacher() -> Any:
    return tiny_models.decoder("llama", **SIZES)


def student(seed: int = 3) -> Any:
    model = teacher().requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    for one in model.parameters():
        one.data += 0.15 * torch.randn(one.shape, generator=generator)
    return model.train()


def lessons(rows: int = 20, seed: int = 0) -> list[Lesson]:
    """Unequal lengths; some with two spans, some whose last token is the one that pads."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for row in range(rows):
        length = 6 + (7 * row) % 17
        ids = torch.randint(V, (length,), generator=generator).tolist()
        spans = ((2, 4), (5, length)) if row % 3 == 0 else ((3, length),)
        made.append(Lesson(f"d{seed}-{row}", (*ids[:-1], 1), spans))
    return made


def store(folder: Path, model: Any, taught: list[Lesson], form: str = "sparse") -> Stored:
    header = Header("t", "k", "c", V, "float32", form=form, k=1, m=30 if form == "sparse" else 0)  # type: ignore[arg-type]
    if form == "top-k":
        header = replace(header, k=V)
    with TokenDistWriter(folder, header) as writer:
        capture_distributions(model, [(one.key, one.ids) for one in taught], writer=writer)
    whole = {one.key: one.ids for one in taught}
    return Stored(TokenDist.open(folder), whole, dict.fromkeys(whole, 1), Vocabularies(V, V, V))


def run_of(model: Any, taught: list[Lesson], signals: Any, folder: Path, **more: Any) -> LanguageRun:
    loss = more.pop("loss", TokenLoss())
    execution = more.pop("execution", Execution(threads=1))
    return LanguageRun(
        model,
        lessons=taught,
        held=taught[:4],
        signals=signals,
        held_signals=signals,
        loss=loss,
        settings=replace(SETTINGS, **more),
        execution=execution,
        on_policy=None,
        real=None,
        output=folder,
        save_checkpoints=False,
        progress=None,
    )


def gradients_of_a_step(run: LanguageRun, step: int = 0) -> dict[str, torch.Tensor]:
    run.model.zero_grad()
    for part in range(run.accumulation):
        run.part_loss(run.model, step, part).backward()
    return {name: one.grad.clone() for name, one in run.model.named_parameters() if one.grad is not None}


def close(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], tolerance: float = 1e-6) -> bool:
    return all(torch.allclose(one[name], two[name], atol=tolerance, rtol=1e-4) for name in one)


@pytest.mark.parametrize("packed", [True, False])
def test_every_lesson_is_whole_and_once_an_epoch(packed: bool) -> None:
    lengths = [3 + (11 * row) % 29 for row in range(57)]
    steps = plan_steps(lengths, row_tokens=32, step_tokens=96, epochs=2.5, seed=1, packed=packed)
    again = plan_steps(lengths, row_tokens=32, step_tokens=96, epochs=2.5, seed=1, packed=packed)
    assert steps == again != plan_steps(lengths, row_tokens=32, step_tokens=96, epochs=2.5, seed=2, packed=packed)
    flat = [one for rows in steps for row in rows for one in row]
    once = plan_steps(lengths, row_tokens=32, step_tokens=96, epochs=1, seed=1, packed=packed)
    first = [one for rows in once for row in rows for one in row]
    assert sorted(first) == list(range(57)) and flat[: len(first)] == first
    assert 2.2 * 57 < len(flat) < 2.8 * 57
    for rows in steps:
        if packed:
            assert all(sum(lengths[one] for one in row) <= 32 for row in rows) and len(rows) <= 3
        else:
            assert max(lengths[row[0]] for row in rows) * len(rows) <= 96


def test_packing_fills_rows_and_gives_a_long_lesson_a_row_of_its_own() -> None:
    rows = pack([10, 50, 20, 12, 2, 30], 32, range(6))
    assert rows == [(0, 2, 4), (1,), (3,), (5,)]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "qwen3"])
def test_packed_lessons_do_not_see_each_other(kind: str) -> None:
    more = {"head_dim": 8, "sliding_window": 4} if kind == "gemma2" else {"head_dim": 8} if kind == "qwen3" else {}
    sizes = {"vocab_size": V, "n_embd": 16, "n_layer": 2, "n_head": 2} if kind == "gpt2" else SIZES
    model = tiny_models.decoder(kind, **sizes, **more)
    assert packs(model)[0], packs(model)[1]
    taught = lessons(5)
    together = states_of(model, batch_of([(0, 2), (1,), (3, 4)], taught))
    alone = torch.cat([states_of(model, batch_of([(one,)], taught)) for one in (0, 2, 1, 3, 4)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_the_learned_places_are_the_spans_and_the_tokens_that_follow_them() -> None:
    taught = [Lesson("a", (7, 1, 9, 1, 5, 1), ((3, 4), (5, 6))), Lesson("b", (1, 1, 1), ((1, 3),))]
    batch = batch_of([(0, 1)], taught)
    assert batch.gold.tolist() == [1, 1, 1, 1]  # also where the token is the one that pads elsewhere
    assert batch.places.tolist() == [2, 4, 6, 7]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 2]]


@pytest.mark.parametrize("form", ["dense", "top-k"])
def test_a_student_that_is_the_teacher_has_nothing_to_learn(tmp_path: Path, form: str) -> None:
    same, taught = teacher().requires_grad_(), lessons()
    run = run_of(same, taught, store(tmp_path / "s", teacher(), taught, form), tmp_path)
    with torch.no_grad():
        value = sum(float(run.part_loss(same, 0, part)) for part in range(run.accumulation))
    # the store rounds each probability to one of 256 shares of what is left, the dense form keeps float32
    assert abs(value) < (1e-6 if form == "dense" else 2e-3)
    shifted = [Lesson(one.key, one.ids, tuple((a - 1, b - 1) for a, b in one.spans)) for one in taught]
    late = run_of(same, taught, store(tmp_path / "t", teacher(), taught, form), tmp_path)
    late.signals = _Shifted(late.signals, dict(zip((one.key for one in taught), shifted, strict=True)))
    with torch.no_grad():
        assert sum(float(late.part_loss(same, 0, part)) for part in range(late.accumulation)) > 0.5


class _Shifted:
    """Signals about the tokens one place earlier than asked for."""

    def __init__(self, signals: Any, moved: dict[str, Lesson]) -> None:
        self.form, self._signals, self._moved = signals.form, signals, moved

    def targets(self, asked: Any) -> Any:
        return self._signals.targets([self._moved[one.key] for one in asked])


@pytest.mark.parametrize("positions", [1.0, 0.4])
@pytest.mark.parametrize("loss", [TokenLoss(), TokenLoss("cross-entropy"), TokenLoss(hard_weight=0.4)])
def test_taking_a_step_apart_changes_no_gradient(tmp_path: Path, loss: TokenLoss, positions: float) -> None:
    model, taught = student(), lessons()
    signals = store(tmp_path / "s", teacher(), taught)
    whole, *apart = (
        run_of(
            model,
            taught,
            signals,
            tmp_path,
            loss=loss,
            step_tokens=128,
            positions=positions,
            execution=Execution(micro_tokens=size),
        )
        for size in (2048, 1, 40, 70)
    )
    assert whole.accumulation == 1 and [run.accumulation for run in apart] == [4, 4, 2]
    wanted = gradients_of_a_step(whole)
    assert all(close(gradients_of_a_step(run), wanted) for run in apart)
    assert max(one.abs().max() for one in wanted.values()) > 1e-3


def test_what_comes_before_and_beside_an_answer_is_not_learned(tmp_path: Path) -> None:
    model, taught = student(), lessons(6)
    signals = store(tmp_path / "s", teacher(), taught)
    batch = batch_of([(0,), (1,)], taught)
    wide = batch_of([(0,), (1, 2)], taught)
    states = states_of(model, wide)
    assert torch.allclose(states[: len(batch.places)], states_of(model, batch), atol=1e-5)
    total = sum(one.learned for one in taught)
    run = run_of(model, taught, signals, tmp_path, step_tokens=10_000, row_tokens=64)
    run.part_loss(model, 0, 0)
    assert run.counted == total


@pytest.mark.parametrize("loss", [TokenLoss(), TokenLoss("cross-entropy"), TokenLoss(hard_weight=0.5)])
def test_each_loss_moves_the_student(tmp_path: Path, loss: TokenLoss) -> None:
    taught = lessons()
    signals = store(tmp_path / "s", teacher(), taught)
    found = gradients_of_a_step(run_of(student(), taught, signals, tmp_path, loss=loss))
    plain = gradients_of_a_step(run_of(student(), taught, signals, tmp_path))
    assert sum(float(one.norm()) for one in found.values()) > 0.1
    assert (loss == TokenLoss()) == close(found, plain)


def test_the_student_comes_nearer_to_its_teacher_and_the_log_says_so(tmp_path: Path) -> None:
    taught = lessons(30)
    held = taught[:6]
    signals = store(tmp_path / "s", teacher(), taught, "top-k")
    model = student()
    trained = train_language(
        model,
        lessons=taught,
        held=held,
        signals=signals,
        loss=TokenLoss(),
        settings=replace(SETTINGS, epochs=12, learning_rate=1e-2),
        output=tmp_path / "out",
        execution=Execution(threads=1),
    )
    first, last = trained.log[0], trained.log[-1]
    assert last["held_kl"] < 0.6 * first["held_kl"] and last["held_agreement"] > first["held_agreement"]
    assert trained.best["step"] == trained.best_step and "packed" in trained.packing
    logged = [json.loads(line) for line in (tmp_path / "out" / "training.jsonl").read_text().splitlines()]
    assert logged == trained.log
    assert {"soft", "hard", "tokens", "teacher_mass", "student_mass", "held_nll", "learning_rate"} <= set(last)
    assert last["tokens"] > 0 and 0 < last["teacher_mass"] <= 1


def test_stored_draws_teach_what_a_live_teacher_teaches(tmp_path: Path) -> None:
    taught, held = lessons(30), lessons(8, seed=1)
    stored, live = store(tmp_path / "s", teacher(), taught), Live(teacher())
    reached = []
    for signals in (stored, live):
        trained = train_language(
            student(),
            lessons=taught,
            held=held,
            signals=signals,
            held_signals=live,
            loss=TokenLoss(),
            settings=replace(SETTINGS, epochs=10, learning_rate=1e-2),
            output=tmp_path / signals.form,
            execution=Execution(threads=1),
            save_checkpoints=False,
        )
        reached.append(trained.best["held_kl"])
    assert reached[0] == pytest.approx(reached[1], rel=0.15)


@pytest.mark.parametrize("way", [{"checkpointing": True}, {"micro_tokens": 32}])
def test_how_the_work_is_done_changes_nothing_beyond_rounding(tmp_path: Path, way: dict[str, Any]) -> None:
    taught = lessons()
    signals = store(tmp_path / "s", teacher(), taught)
    ended = []
    for name, execution in (("plain", Execution(threads=1)), ("other", Execution(threads=1, **way))):
        model = student()
        train_language(
            model,
            lessons=taught,
            held=taught[:3],
            signals=signals,
            loss=TokenLoss(),
            settings=SETTINGS,
            output=tmp_path / name,
            execution=execution,
            save_checkpoints=False,
        )
        ended.append(model)
    for one, two in zip(ended[0].parameters(), ended[1].parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-4)


def test_a_tracker_hears_every_entry_of_the_log(tmp_path: Path, monkeypatch: Any) -> None:
    from stillhouse.distill.language import trainer

    heard: list[dict[str, float]] = []
    build = trainer.build

    class Tracker(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            heard.append(dict(logs))

    def with_tracker(run: Any, *, use_cpu: bool) -> Any:
        run.execution = replace(run.execution, report_to=())  # no package of a tracker is needed for this
        made = build(run, use_cpu=use_cpu)
        run.execution = replace(run.execution, report_to=("tracker",))
        made.add_callback(Tracker())
        return made

    monkeypatch.setattr(trainer, "build", with_tracker)
    taught = lessons()
    trained = train_language(
        student(),
        lessons=taught,
        held=taught[:3],
        signals=store(tmp_path / "s", teacher(), taught),
        loss=TokenLoss(),
        settings=SETTINGS,
        output=tmp_path / "out",
        execution=Execution(threads=1),
        save_checkpoints=False,
    )
    assert [one["held_kl"] for one in heard if "held_kl" in one] == [one["held_kl"] for one in trained.log]


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("own", [False, True, "low-rank"])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, own: bool | str) -> None:
    taught = lessons()
    signals = store(tmp_path / "s", teacher(), taught)
    seen: dict[str, list[str]] = {"straight": [], "killed": []}

    class Watched:
        form = signals.form

        def __init__(self, name: str) -> None:
            self.name = name

        def targets(self, asked: Any) -> Any:
            seen[self.name] += [one.key for one in asked]
            return signals.targets(asked)

    def train(name: str) -> Any:
        model = student()
        if own == "low-rank":
            model = with_lora(model, rank=2, alpha=4.0, targets=(), seed=0)
        train_language(
            model,
            lessons=taught,
            held=taught[:3],
            signals=Watched(name),
            held_signals=signals,
            loss=TokenLoss(),
            settings=replace(SETTINGS, extra_steps=8 if own is True else 0, evaluations=5),
            output=tmp_path / name,
            on_policy=stretch() if own is True else None,
            execution=Execution(threads=1),
        )
        return model

    straight = train("straight")
    written = 0

    def die(point: str) -> None:
        nonlocal written
        written += point == "checkpoint-written"
        if written == (4 if own is True else 2):
            raise _Killed

    observe_commit_points(die)
    try:
        with pytest.raises(_Killed):
            train("killed")
    finally:
        observe_commit_points(None)
    resumed = train("killed")
    for one, two in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert one.equal(two)
    assert seen["killed"] == seen["straight"]  # nothing is replayed, nothing left out


def stretch() -> OnPolicy:
    plan = OnPolicyPlan(steps=8, share=0.5, prompts=4, refresh=4, max_tokens=6, temperature=1.0)
    prompts = [(one.key, one.ids[: one.spans[0][0]]) for one in lessons()]
    return OnPolicy(
        prompts,
        language_tokenizer(),
        signals=Live(teacher()),
        loss=TokenLoss("skew-reverse-kl", entropy_gate=0.8),
        plan=plan,
        context=64,
        stop_ids=frozenset({1}),
    )


def test_own_answers_are_the_students_and_judged_by_a_teacher_that_stays_as_it_is(tmp_path: Path) -> None:
    on_policy, model = stretch(), student()
    assert [on_policy.is_own(step, 10) for step in range(8, 19)] == [
        *[False, False],
        *[True, False, True, False],
        *[True, False, True, False],
        True,
    ]
    first, second = on_policy.lessons(model, 0), on_policy.lessons(model, 2)
    assert model.training and len(first) == len(second) == 2
    assert not {one.key for one in first} & {one.key for one in second}
    again = stretch().lessons(student(), 0)
    assert again == first and stretch().lessons(student(seed=9), 0) != first
    for one in first:
        assert one.spans == ((one.spans[0][0], len(one.ids)),) and 1 <= one.learned <= 6
    judge = copy.deepcopy(on_policy.signals._model)  # type: ignore[attr-defined]
    taught = lessons()
    signals = store(tmp_path / "s", teacher(), taught)
    train_language(
        model,
        lessons=taught,
        held=taught[:3],
        signals=signals,
        loss=TokenLoss(),
        settings=replace(SETTINGS, extra_steps=8),
        output=tmp_path / "out",
        on_policy=on_policy,
        execution=Execution(threads=1),
        save_checkpoints=False,
    )
    for one, two in zip(judge.parameters(), on_policy.signals._model.parameters(), strict=True):  # type: ignore[attr-defined]
        assert one.equal(two) and two.grad is None


def test_an_evaluation_never_parts_a_group_of_own_answers() -> None:
    borders = stretch().borders({3, 10, 11, 13, 17, 18}, 10, 18)
    assert borders == {3, 10, 14, 18}


def test_a_teacher_with_dropout_says_the_same_twice() -> None:
    model = tiny_models.decoder("gpt2", vocab_size=V, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0.5).train()
    live = Live(model)
    first, second = (live.targets(lessons(3))[0:5].probs for _ in range(2))
    assert first.equal(second)


def faults() -> list[tuple[str, dict[str, Any], str]]:
    none = [Lesson("a", (1, 2, 3), ())]
    frozen = student().requires_grad_(False)
    broken = Live(teacher())
    broken._model.model.layers[0].mlp.up_proj.weight.data[0, 0] = torch.nan
    return [
        ("no answers", {"lessons": none}, "nothing to learn from"),
        ("no held-out answers", {"held": []}, "validation"),
        ("frozen", {"model": frozen}, "frozen"),
        ("no teacher", {"signals": Gold()}, "needs the teacher"),
        ("draws", {"loss": TokenLoss("reverse-kl")}, "linear"),
        ("a broken teacher", {"signals": broken}, "not numbers"),
        ("too long", {"lessons": [Lesson("a", tuple([3] * 70), ((1, 70),))]}, "longer than the 64"),
    ]


@pytest.mark.parametrize("name", [name for name, _, _ in faults()])
def test_a_run_that_can_teach_nothing_stops_with_a_reason(tmp_path: Path, name: str) -> None:
    changed, told = next((changed, told) for one, changed, told in faults() if one == name)
    taught = lessons()
    arguments: dict[str, Any] = {
        "model": student(),
        "lessons": taught,
        "held": taught[:2],
        "signals": store(tmp_path / "s", teacher(), taught),
        "loss": TokenLoss(),
    } | changed
    model = arguments.pop("model")
    with pytest.raises(StillhouseError, match=told):
        train_language(model, settings=SETTINGS, output=tmp_path / "out", execution=Execution(threads=1), **arguments)
    assert all(one.isfinite().all() for one in model.parameters())


@pytest.mark.parametrize("setting", [{"learning_rate": 0.0}, {"epochs": 0}, {"positions": 0.0}, {"precision": "int8"}])
def test_a_setting_that_does_nothing_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(StillhouseError, match=next(iter(setting))):
        replace(SETTINGS, **setting)


def test_rows_about_other_tokens_are_refused(tmp_path: Path) -> None:
    taught = lessons(3)
    signals = store(tmp_path / "s", teacher(), taught)
    signals._whole = {one.key: (*one.ids[:-1], 2) for one in taught}
    with pytest.raises(StillhouseError, match="other tokens"):
        signals.targets(taught[:1])
