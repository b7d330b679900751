"""Students are cut and saved without losing a bit, and refused where they could not be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
)

import tiny_models
from stillhouse.distill.students import from_config, keep_layers
from stillhouse.distill.students.keep_layers import ARCHITECTURES, spread
from stillhouse.errors import StillhouseError
from stillhouse.student import batches, load_classifier, max_length, predict_proba, save_student

LABELS = ["bad", "good", "neither"]


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_keeping_all_layers_keeps_the_encoder(kind: str, tmp_path: Path) -> None:
    base = tiny_models.encoder(tmp_path / "base", kind)
    student, tokenizer = keep_layers(base, labels=LABELS, keep=4, seed=1)
    batch = tokenizer(["a fine day", "grim"], padding=True, return_tensors="pt")
    with torch.no_grad():
        before = AutoModel.from_pretrained(base).eval()(**batch).last_hidden_state
        assert torch.equal(student.base_model(**batch).last_hidden_state, before)
        assert student(**batch).logits.shape == (2, 3)


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_kept_layers_are_the_encoders_own_and_survive_saving(kind: str, tmp_path: Path) -> None:
    base = tiny_models.encoder(tmp_path / "base", kind, layers=5)
    student, tokenizer = keep_layers(base, labels=LABELS, keep=[0, 3, 4], seed=1)
    save_student(student, tokenizer, tmp_path / "student")

    given, kept = load_file(base / "model.safetensors"), student.base_model.state_dict()
    place = {0: 0, 3: 1, 4: 2}
    for name, tensor in given.items():
        for old, new in place.items():
            for word in ("layer.", "layers."):
                renamed = name.replace(f"{word}{old}.", f"{word}{new}.")
                if f"{word}{old}." in name:
                    assert torch.equal(kept[renamed], tensor)
    config = AutoConfig.from_pretrained(tmp_path / "student")
    assert config.num_hidden_layers == 3
    assert config.id2label == dict(enumerate(LABELS)) and config.label2id["neither"] == 2
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")
    assert {name: p.shape for name, p in again.named_parameters()} == {
        name: p.shape for name, p in student.named_parameters()
    }


def test_lists_with_an_entry_per_layer_follow_the_layers(tmp_path: Path) -> None:
    base = tiny_models.encoder(tmp_path, "modernbert", layers=5)
    kinds = AutoConfig.from_pretrained(base).layer_types
    student, _ = keep_layers(base, labels=LABELS, keep=[0, 2, 3], seed=1)
    assert student.config.layer_types == [kinds[0], kinds[2], kinds[3]]


def test_the_seed_decides_the_head_and_nothing_outside(tmp_path: Path) -> None:
    base = tiny_models.encoder(tmp_path)
    torch.manual_seed(5)
    undisturbed = torch.rand(3)
    torch.manual_seed(5)
    heads = [keep_layers(base, labels=LABELS, keep=2, seed=seed)[0].classifier.weight for seed in (1, 1, 2)]
    from_config(base, labels=LABELS, seed=1, layers=1, hidden_size=8, heads=2, intermediate_size=8)
    assert torch.equal(torch.rand(3), undisturbed)
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_spread_takes_the_ends_and_rises() -> None:
    for layers in range(1, 25):
        for n in range(1, layers + 1):
            kept = spread(n, layers)
            assert len(set(kept)) == n and kept == sorted(kept) and kept[0] == 0
            assert n == 1 or kept[-1] == layers - 1


@pytest.mark.parametrize("keep", [0, 5, [], [0, 4], [-1, 2], [2, 1], [1, 1]])
def test_layers_that_are_not_there_are_refused(keep: int | list[int], tmp_path: Path) -> None:
    with pytest.raises(StillhouseError, match="layers"):
        keep_layers(tiny_models.encoder(tmp_path), labels=LABELS, keep=keep, seed=1)


def test_unfit_encoders_are_refused(tmp_path: Path) -> None:
    base = tiny_models.encoder(tmp_path / "base")
    with pytest.raises(StillhouseError, match="different labels"):
        keep_layers(base, labels=["one", "one"], keep=2, seed=1)
    with pytest.raises(StillhouseError, match="cannot stand first"):
        keep_layers(tiny_models.encoder(tmp_path / "modern", "modernbert"), labels=LABELS, keep=[1, 2], seed=1)
    with pytest.raises(StillhouseError, match="cannot be read"):
        keep_layers(tmp_path / "nowhere", labels=LABELS, keep=2, seed=1)

    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 6}))
    with pytest.raises(StillhouseError, match="missing or of another shape"):
        keep_layers(base, labels=LABELS, keep=6, seed=1)
    (base / "config.json").write_text(json.dumps({**config, "model_type": "albert"}))
    with pytest.raises(StillhouseError, match="type albert"):
        keep_layers(base, labels=LABELS, keep=2, seed=1)
    (base / "config.json").write_text(json.dumps(config))
    (base / "model.safetensors").unlink()
    with pytest.raises(StillhouseError, match="weights of this encoder"):
        keep_layers(base, labels=LABELS, keep=2, seed=1)


def test_from_config_has_the_sizes_asked_for(tmp_path: Path) -> None:
    base = tiny_models.encoder(tmp_path / "base")
    sizes = {"layers": 3, "hidden_size": 12, "heads": 3, "intermediate_size": 20}
    model, tokenizer = from_config(base, labels=LABELS, seed=1, **sizes)
    assert len(model.bert.encoder.layer) == 3 and model.config.vocab_size == len(tokenizer)
    assert model.bert.encoder.layer[0].intermediate.dense.weight.shape == (20, 12)
    save_student(model, tokenizer, tmp_path / "student")
    for wrong in ({"layers": 0}, {"heads": 5}):
        with pytest.raises(StillhouseError):
            from_config(base, labels=LABELS, seed=1, **{**sizes, **wrong})


def test_answers_come_in_the_order_of_the_texts_whatever_the_batches(tmp_path: Path) -> None:
    model, tokenizer = keep_layers(tiny_models.encoder(tmp_path), labels=LABELS, keep=2, seed=1)
    texts, _ = tiny_models.task(23)
    texts[4] = ""
    heard: list[tuple[int, int]] = []
    answers = predict_proba(model.train(), tokenizer, texts, batch_size=5, progress=lambda *done: heard.append(done))
    alone = np.concatenate([predict_proba(model, tokenizer, [text]) for text in texts])
    assert answers.dtype == np.float32 and model.training
    np.testing.assert_allclose(answers, alone, atol=1e-6)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert heard == [(5, 23), (10, 23), (15, 23), (20, 23), (23, 23)]
    assert predict_proba(model, tokenizer, []).shape == (0, 3)


def test_batches_hold_every_text_once_and_spare_padding_also_where_length_in_letters_misleads(tmp_path: Path) -> None:
    _, tokenizer = keep_layers(tiny_models.encoder(tmp_path), labels=LABELS, keep=2, seed=1)
    # by turns many short words, and one long word in fewer tokens
    texts = [text for number in range(1, 13) for text in ("a " * number, "x" * 5 * number)]
    seen, padding = [], 0
    for rows, batch in batches(tokenizer, texts, max_length=20, batch_size=4):
        lengths = batch["attention_mask"].sum(1).tolist()
        assert lengths == [len(tokenizer(texts[row], truncation=True, max_length=20)["input_ids"]) for row in rows]
        assert max(lengths) <= 20 and lengths == sorted(lengths, reverse=True)
        seen += rows
        padding += int((batch["attention_mask"] == 0).sum())
    assert sorted(seen) == list(range(len(texts)))
    lengths = sorted((len(ids) for ids in tokenizer(texts, truncation=True, max_length=20)["input_ids"]), reverse=True)
    assert padding == sum(max(lengths[at : at + 4]) - one for at in range(0, 24, 4) for one in lengths[at : at + 4])


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet"])
def test_the_longest_text_is_what_the_position_table_takes(kind: str, tmp_path: Path) -> None:
    model, tokenizer = keep_layers(tiny_models.encoder(tmp_path / "base", kind), labels=LABELS, keep=1, seed=1)
    limit = max_length(tokenizer, model.config)
    assert limit == {"bert": 40, "roberta": 39, "mpnet": 38}[kind]  # padding token 0; MPNet always skips two
    assert np.isfinite(predict_proba(model, tokenizer, ["film " * 500])).all()
    save_student(model, tokenizer, tmp_path / "student")
    assert load_classifier(tmp_path / "student")[1].model_max_length == limit
    tokenizer.model_max_length = 7
    assert max_length(tokenizer, model.config) == 7


def test_saving_twice_gives_the_same_bytes_whatever_was_asked_between(tmp_path: Path) -> None:
    model, tokenizer = keep_layers(tiny_models.encoder(tmp_path / "base"), labels=LABELS, keep=2, seed=1)
    save_student(model, tokenizer, tmp_path / "one")
    predict_proba(model, tokenizer, ["a day"], max_length=9)
    save_student(model, tokenizer, tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "model.safetensors" in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_weights_that_skip_memory_are_saved_all_the_same(tmp_path: Path) -> None:
    model, tokenizer = keep_layers(tiny_models.encoder(tmp_path / "base"), labels=LABELS, keep=1, seed=1)
    model.classifier.weight.data = torch.randn(16, 3).t()
    save_student(model, tokenizer, tmp_path / "student")
    assert torch.equal(load_classifier(tmp_path / "student")[0].classifier.weight, model.classifier.weight)


def test_students_that_others_could_not_load_are_not_saved(tmp_path: Path) -> None:
    class Homemade(BertForSequenceClassification):
        pass

    model, tokenizer = keep_layers(tiny_models.encoder(tmp_path / "base"), labels=LABELS, keep=1, seed=1)
    with pytest.raises(StillhouseError, match="not a stock"):
        save_student(Homemade(model.config), tokenizer, tmp_path / "student")
    with pytest.raises(StillhouseError, match="does not give the logits"):
        save_student(model.to(torch.bfloat16), tokenizer, tmp_path / "student")
    model.config.id2label = {0: "a", 1: "a", 2: "b"}
    with pytest.raises(StillhouseError, match="different classes"):
        save_student(model, tokenizer, tmp_path / "student")


def test_folders_without_a_classifier_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StillhouseError, match=r"config\.json is missing"):
        load_classifier(tmp_path)
    base = tiny_models.encoder(tmp_path / "base")
    with pytest.raises(StillhouseError, match="weights are missing"):
        load_classifier(base)
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(StillhouseError, match="cannot be read as a classifier"):
        load_classifier(base)
