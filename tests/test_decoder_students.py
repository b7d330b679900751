"""Students cut out of language models: stock, loadable, with their layers renumbered, and chosen by what matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny_chat
import tiny_models
from stillhouse.causal import load_causal, save_causal
from stillhouse.distill.students.decoders import (
    ARCHITECTURES,
    RESIZABLE,
    check_decoder,
    check_resizable,
    decoder_from_config,
    keep_decoder_layers,
)
from stillhouse.distill.students.layer_scores import keep_highest, removal_kl, turns, without_idlest_run
from stillhouse.distill.students.lora import merged, with_lora
from stillhouse.errors import StillhouseError
from tiny_world import language_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
OWN: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 6, "n_head": 2, "n_positions": 64},
    "gpt_neox": {**SIZES, "num_key_value_heads": 2},
    "gemma2": {**SIZES, "sliding_window": 4},
    "gemma3_text": {**SIZES, "sliding_window": 4},
    "phi3": {**SIZES, "pad_token_id": 1},
    "smollm3": {**SIZES, "pad_token_id": 1, "no_rope_layers": [1, 0, 1, 1, 0, 1]},
}


def words_of(kind: str) -> Any:
    if kind != "qwen2":
        return language_tokenizer()
    words = tiny_chat.tokenizer()  # whatever was saved, transformers reads a qwen2's tokenizer as byte-level pairs
    words.add_tokens(["<|endoftext|>"], special_tokens=True)  # and with this token
    return words


def teacher(folder: Path, kind: str = "llama", **more: Any) -> Path:
    words = words_of(kind)
    settings = {**OWN.get(kind, SIZES), "bos_token_id": 0, "eos_token_id": 1, **more}
    model = tiny_models.decoder(kind, vocab_size=len(words), **settings)
    save_causal(model, words, folder)
    return folder


def sequences(rows: int = 7) -> list[list[int]]:
    size = len(language_tokenizer())
    return [[(7 * row + 3 * place) % size for place in range(5 + row)] for row in range(rows)]


def written(model: Any, *, use_cache: bool) -> list[int]:
    ids = torch.tensor([[3, 5, 8]])
    made = model.generate(ids, max_new_tokens=20, do_sample=False, use_cache=use_cache, eos_token_id=None)
    return [int(one) for one in made[0]]


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_a_student_loads_in_plain_transformers_and_writes_the_same_with_and_without_cache(
    tmp_path: Path, kind: str
) -> None:
    base = teacher(tmp_path / "teacher", kind)
    whole, _ = load_causal(base)
    student, tokenizer = keep_decoder_layers(base, [0, 2, 4, 5])
    save_causal(student, tokenizer, tmp_path / "student", ends=[2])
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert type(again) is type(whole)
    assert again.config.num_hidden_layers == 4
    assert written(again, use_cache=True) == written(again, use_cache=False)
    assert AutoTokenizer.from_pretrained(tmp_path / "student").get_vocab() == tokenizer.get_vocab()
    assert again.generation_config.eos_token_id == [1, 2]
    for name, value in vars(whole.config).items():
        if isinstance(value, list) and len(value) == 6:
            assert getattr(again.config, name) == [value[layer] for layer in (0, 2, 4, 5)], name


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_keeping_every_layer_is_the_teacher_bit_for_bit(tmp_path: Path, kind: str) -> None:
    base = teacher(tmp_path / "teacher", kind)
    whole, _ = load_causal(base)
    student, _ = keep_decoder_layers(base, range(6))
    ids = torch.tensor(sequences()[-1:])
    assert student(ids).logits.equal(whole(ids).logits)


def test_kept_weights_are_the_teachers_and_a_tied_head_stays_tied(tmp_path: Path) -> None:
    base = teacher(tmp_path / "teacher", tie_word_embeddings=True)
    whole, _ = load_causal(base)
    student, tokenizer = keep_decoder_layers(base, [1, 3])
    for new, old in enumerate([1, 3]):
        for one, two in zip(student.model.layers[new].parameters(), whole.model.layers[old].parameters(), strict=True):
            assert one.equal(two)
        assert student.model.layers[new].self_attn.layer_idx == new
    save_causal(student, tokenizer, tmp_path / "student")
    size = sum(one.numel() for one in student.parameters()) * 4
    assert student.lm_head.weight is student.model.embed_tokens.weight
    assert (tmp_path / "student" / "model.safetensors").stat().st_size < 1.05 * size + 10_000


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_the_score_of_a_layer_is_what_the_whole_model_without_it_says(tmp_path: Path, kind: str) -> None:
    base = teacher(tmp_path / "teacher", kind)
    whole, _ = load_causal(base)
    rows = sequences()
    starts = [1 + row % 3 for row in range(len(rows))]
    scores = removal_kl(whole, rows, starts)
    for layer in range(6):
        student, _ = keep_decoder_layers(base, [one for one in range(6) if one != layer])
        if kind == "gemma2":  # its layers alternate: what is measured is the layer's removal, not a change of kind
            for place, one in enumerate(one for one in range(6) if one != layer):
                student.model.layers[place].load_state_dict(whole.model.layers[one].state_dict())
        total = tokens = 0.0
        for ids, start in zip(rows, starts, strict=True):
            p, q = (
                model(torch.tensor([ids])).logits.detach()[0, start - 1 : -1].log_softmax(-1)
                for model in (whole, student)
            )
            total += float((p.exp() * (p - q)).sum())
            tokens += len(ids) - start
        assert scores[layer] == pytest.approx(total / tokens, rel=1e-3, abs=1e-5)


def test_a_layer_that_does_nothing_scores_nothing_and_goes_first(tmp_path: Path) -> None:
    whole, _ = load_causal(teacher(tmp_path / "teacher"))
    for idle in (2, 3):
        whole.model.layers[idle].self_attn.o_proj.weight.data.zero_()
        whole.model.layers[idle].mlp.down_proj.weight.data.zero_()
    scores = removal_kl(whole, sequences(), [1] * 7)
    assert scores[2] < 1e-6 and scores[3] < 1e-6
    assert min(scores[layer] for layer in (0, 1, 4, 5)) > 1e-3
    assert keep_highest(scores, 4) == [0, 1, 4, 5]
    turned = turns(whole, sequences())
    assert float(turned[2, 4]) < 1e-6 < float(turned[0, 2])
    assert without_idlest_run(turned, 4) == [0, 1, 4, 5]
    assert without_idlest_run(turned, 6) == list(range(6))


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_every_architecture_can_be_scored_and_take_low_rank_updates(tmp_path: Path, kind: str) -> None:
    base = teacher(tmp_path / "teacher", kind)
    whole, words = load_causal(base)
    assert min(removal_kl(whole, sequences(), [1] * 7)) > 0
    assert turns(whole, sequences()).diag().abs().max() < 1e-6
    adapted = with_lora(whole, rank=2, alpha=4.0, targets=(), seed=0)
    for name, one in adapted.named_parameters():
        if "lora_B" in name:
            one.data.fill_(0.1)
    ids = torch.tensor(sequences()[-1:])
    moved = adapted(input_ids=ids).logits.detach()
    save_causal(merged(adapted), words, tmp_path / "student")
    again = load_causal(tmp_path / "student")[0](ids).logits
    assert torch.allclose(again, moved, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(again, load_causal(base)[0](ids).logits, atol=1e-2)


def test_layers_are_not_scored_on_nothing_or_on_what_is_no_number(tmp_path: Path) -> None:
    whole, _ = load_causal(teacher(tmp_path / "teacher"))
    for rows, starts in (([], []), ([[]], [1]), ([[3, 4]], [2])):
        with pytest.raises(StillhouseError, match="no tokens"):
            removal_kl(whole, rows, starts)
    assert len(removal_kl(whole, [[], [3, 4]], [1, 1])) == 6
    whole.model.layers[2].mlp.up_proj.weight.data[0, 0] = float("nan")
    for call in (lambda: removal_kl(whole, sequences(), [1] * 7), lambda: turns(whole, sequences())):
        with pytest.raises(StillhouseError, match="not numbers"):
            call()


def test_a_list_of_ends_is_not_cut_with_the_layers(tmp_path: Path) -> None:
    base = teacher(tmp_path / "teacher", num_hidden_layers=2, eos_token_id=[1, 2])
    student, _ = keep_decoder_layers(base, [1])
    assert student.config.eos_token_id == [1, 2]


@pytest.mark.parametrize("kind", sorted(RESIZABLE))
def test_every_architecture_can_be_made_in_another_size(tmp_path: Path, kind: str) -> None:
    base = teacher(tmp_path / "teacher", kind)
    size: dict[str, Any] = {"hidden_size": 24, "heads": 2, "intermediate_size": 20}
    student, words = decoder_from_config(base, layers=8, kv_heads=None, seed=0, **size)
    save_causal(student, words, tmp_path / "student")
    config = AutoModelForCausalLM.from_pretrained(tmp_path / "student").config
    lists = {name: value for name, value in vars(config).items() if name in ("layer_types", "no_rope_layers")}
    assert config.num_hidden_layers == 8 and all(value and len(value) == 8 for value in lists.values())
    if kind.startswith("gemma"):  # the scores of attention are scaled as its heads are wide
        assert config.query_pre_attn_scalar == 12
    if kind == "granite":
        assert config.attention_multiplier == pytest.approx(load_causal(base)[0].config.attention_multiplier * 8 / 12)


@pytest.mark.parametrize("wrong", [{"hidden_size": 20}, {"hidden_size": 34}, {"kv_heads": 3}])
def test_sizes_that_no_model_has_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    size: dict[str, Any] = {"layers": 2, "hidden_size": 32, "heads": 4, "kv_heads": 2, "intermediate_size": 40}
    with pytest.raises(StillhouseError, match="no llama model has these sizes"):
        decoder_from_config(teacher(tmp_path / "teacher"), seed=0, **size | wrong)


def test_random_weights_in_another_size_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    base = teacher(tmp_path / "teacher", "qwen3")
    size: dict[str, Any] = {"layers": 3, "hidden_size": 32, "heads": 4, "kv_heads": 2, "intermediate_size": 40}
    before = torch.get_rng_state()
    students = [decoder_from_config(base, seed=seed, **size)[0] for seed in (0, 0, 1)]
    assert before.equal(torch.get_rng_state())
    first, same, other = (student.model.layers[1].mlp.up_proj.weight for student in students)
    assert first.equal(same) and not first.equal(other) and first.shape == (40, 32)
    save_causal(students[0], load_causal(base)[1], tmp_path / "student")
    assert written(load_causal(tmp_path / "student")[0], use_cache=True)


@pytest.mark.parametrize(
    ("kept", "told"), [([], "not layers"), ([1, 1], "not layers"), ([4, 2], "rising"), ([0, 6], "from 0 to 5")]
)
def test_layers_that_there_are_not_are_refused(tmp_path: Path, kept: list[int], told: str) -> None:
    base = teacher(tmp_path / "teacher")
    with pytest.raises(StillhouseError, match=told):
        keep_decoder_layers(base, kept)
    with pytest.raises(StillhouseError, match=told):
        check_decoder(base, kept)
    check_decoder(base, 6)
    with pytest.raises(StillhouseError, match="between 1 and 6"):
        check_decoder(base, 7)


def test_an_unknown_architecture_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba", "num_hidden_layers": 4}')
    with pytest.raises(StillhouseError, match="mamba"):
        check_decoder(tmp_path, 2)
    with pytest.raises(StillhouseError, match="mamba"):
        check_resizable(tmp_path)


def test_what_cannot_be_resized_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_layer": 4}')
    check_decoder(tmp_path, 2)
    with pytest.raises(StillhouseError, match="type gpt2"):
        check_resizable(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 4}')
    check_resizable(tmp_path)


def test_a_student_taught_to_stop_stops_with_the_settings_that_are_saved(tmp_path: Path) -> None:
    words = language_tokenizer()
    model = tiny_models.decoder("llama", vocab_size=len(words), **{**SIZES, "num_hidden_layers": 2})
    model.requires_grad_()
    model.generation_config.eos_token_id = 0  # what the base stopped at; the turn ends with another token
    rows, end = torch.tensor([[3, 6, 9, 2, 2], [4, 7, 8, 2, 2], [5, 6, 7, 2, 2], [3, 8, 4, 2, 2]]), 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        model(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    save_causal(model, words, tmp_path / "student", ends=[end])
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    made = again.generate(rows[:1, :3], max_new_tokens=15, do_sample=False)
    assert made[0].tolist() == [3, 6, 9, 2]


def test_what_is_no_model_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(StillhouseError, match="cannot be read"):
        load_causal(tmp_path)
    base = teacher(tmp_path / "teacher")
    from safetensors.torch import load_file, save_file

    file = base / "model.safetensors"
    weights = load_file(file)
    weights.pop("model.norm.weight")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(StillhouseError, match=r"model\.norm\.weight"):
        load_causal(base)


def test_a_class_of_ones_own_is_not_saved(tmp_path: Path) -> None:
    model = tiny_models.decoder("llama", vocab_size=30, **SIZES)
    wrapped = type("Mine", (type(model),), {})(model.config)
    with pytest.raises(StillhouseError, match="stock"):
        save_causal(wrapped, language_tokenizer(), tmp_path / "student")


def test_low_rank_updates_move_the_student_and_are_merged_into_a_stock_model(tmp_path: Path) -> None:
    base = teacher(tmp_path / "teacher")
    whole, words = load_causal(base)
    ids = torch.tensor(sequences()[-1:])
    before = whole(ids).logits.detach().clone()
    state = torch.get_rng_state()
    adapted = with_lora(whole, rank=2, alpha=4.0, targets=("q_proj", "v_proj"), seed=1)
    assert state.equal(torch.get_rng_state())
    trained = [name for name, one in adapted.named_parameters() if one.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    assert adapted(input_ids=ids).logits.equal(before)  # an update starts at nothing
    optimizer = torch.optim.SGD([one for one in adapted.parameters() if one.requires_grad], lr=1.0)
    for _ in range(3):
        adapted(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    after = adapted(input_ids=ids).logits.detach()
    stock = merged(adapted)
    save_causal(stock, words, tmp_path / "student")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert torch.allclose(again(ids).logits, after, atol=1e-4) and not torch.allclose(after, before, atol=1e-2)
    assert not list((tmp_path / "student").glob("adapter*"))
    with pytest.raises(StillhouseError, match="fit nowhere"):
        with_lora(load_causal(base)[0], rank=2, alpha=4.0, targets=("nothing",), seed=1)
