"""Language models on disk: stock files that others load, that stop, split texts and answer as what was saved."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

import tiny_chat
import tiny_models
from stillhouse.causal import chunked_logits, load_causal, save_causal
from stillhouse.errors import StillhouseError

WORDS = tiny_chat.tokenizer()
TEXTS = (
    "say fine",
    "Ünïcode, 漢字 and 🙂",
    "  two  spaces\n\n",
    "<|im_start|>user\nsay<|im_end|>",
    "1, 20 and 300!",
    "",
)


@pytest.fixture
def model() -> Any:
    return tiny_chat.model(WORDS)


def test_the_tokenizer_and_the_template_come_back_as_they_were(model: Any, tmp_path: Path) -> None:
    tiny_chat.save(model, WORDS, tmp_path / "base")
    words = AutoTokenizer.from_pretrained(tmp_path / "base")
    words(list(TEXTS), padding=True, truncation=True, max_length=5)  # leaves both in the tokenizer
    save_causal(model, words, tmp_path / "student")
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "student" / name).read_bytes() == (tmp_path / "base" / name).read_bytes()
    again = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert [again(text)["input_ids"] for text in TEXTS] == [WORDS(text)["input_ids"] for text in TEXTS]


def test_the_folder_holds_the_student_and_nothing_else(model: Any, tmp_path: Path) -> None:
    save_causal(model, WORDS, tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict()) - {"lm_head.weight"}
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    assert not [one for one in tmp_path.iterdir() if one.suffix not in {".json", ".safetensors", ".jinja"}]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("flag", [True, False])
def test_the_flag_of_a_tied_head_is_what_the_weights_are(model: Any, tmp_path: Path, shared: bool, flag: bool) -> None:
    if not shared:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 0.1)
    model.config.tie_word_embeddings = flag
    save_causal(model, WORDS, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is shared
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert ("lm_head.weight" in file.keys()) is not shared  # noqa: SIM118
    again, ids = AutoModelForCausalLM.from_pretrained(tmp_path), torch.tensor([[5, 9, 8]])
    assert again(ids).logits.equal(model(ids).logits)


def test_weights_that_skip_memory_are_saved(model: Any, tmp_path: Path) -> None:
    weight = model.model.layers[0].mlp.up_proj.weight
    weight.data = torch.randn(weight.shape[1], 2 * weight.shape[0])[:, ::2].t()
    kept = weight.detach().clone()
    save_causal(model, WORDS, tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).model.layers[0].mlp.up_proj.weight.equal(kept)


@pytest.mark.parametrize(
    "told",
    [{"min_p": 0.1}, {"typical_p": 0.5}, {"temperature": 0.6, "top_p": 0.9, "top_k": 20}, {"early_stopping": True}],
)
def test_settings_of_a_teacher_that_contradict_each_other_do_not_stop_the_saving(
    model: Any, tmp_path: Path, told: dict[str, Any]
) -> None:
    for name, value in told.items():
        setattr(model.generation_config, name, value)
    save_causal(model, WORDS, tmp_path)
    assert not AutoModelForCausalLM.from_pretrained(tmp_path).generation_config.do_sample


def test_settings_that_mean_something_are_kept(model: Any, tmp_path: Path) -> None:
    for name, value in {"do_sample": True, "temperature": 0.6, "min_p": 0.1, "max_new_tokens": 77}.items():
        setattr(model.generation_config, name, value)
    save_causal(model, WORDS, tmp_path, ends=[5])
    kept = AutoModelForCausalLM.from_pretrained(tmp_path).generation_config
    assert (kept.do_sample, kept.temperature, kept.min_p, kept.max_new_tokens) == (True, 0.6, 0.1, 77)
    assert kept.eos_token_id == [1, 5] and kept.pad_token_id == 1


def test_a_token_without_a_row_is_refused(model: Any, tmp_path: Path) -> None:
    model.resize_token_embeddings(len(WORDS) - 1)
    with pytest.raises(StillhouseError, match="has a token 299"):
        save_causal(model, WORDS, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_that_is_no_number_is_refused_though_no_token_uses_it(tmp_path: Path, value: float) -> None:
    padded = tiny_chat.model(WORDS, padded=8)
    save_causal(padded, WORDS, tmp_path / "whole")
    again, _ = load_causal(tmp_path / "whole")
    assert len(again.get_input_embeddings().weight) == len(WORDS) + 8  # nobody asked to cut the padding off
    padded.get_input_embeddings().weight.data[-1] = value
    with pytest.raises(StillhouseError, match="NaN or infinite"):
        save_causal(padded, WORDS, tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


def test_an_added_token_that_no_text_needs_may_lie_beyond_the_rows(model: Any, tmp_path: Path) -> None:
    words = tiny_chat.tokenizer()
    words.add_tokens(["<image>"], special_tokens=True)  # gemma-3-1b's 262144 with 262144 rows
    save_causal(model, words, tmp_path / "student")
    assert load_causal(tmp_path / "student")[1].convert_tokens_to_ids("<image>") == len(WORDS)
    with pytest.raises(StillhouseError, match="has a token 300"):
        save_causal(model, words, tmp_path / "ends", ends=[len(WORDS)])


def test_nothing_is_called_that_transformers_gives_up(model: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_causal(model, WORDS, tmp_path)
        chunked_logits(load_causal(tmp_path)[0])


def test_logits_capped_behind_the_head_are_the_models_own_whatever_the_first_row_is() -> None:
    capped = tiny_models.decoder(
        "gemma2", vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False,
    )  # fmt: skip
    capped.get_input_embeddings().weight[0] = 0  # padding: its logits are zero, capped or not
    capped.lm_head.weight *= 20
    ids = [3, 4, 5, 6]
    found = chunked_logits(capped)[0]([ids])(range(4))
    assert torch.allclose(found, capped(torch.tensor([ids])).logits[0], atol=1e-5)


def test_a_model_that_says_something_else_with_a_cache_is_refused(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_causal(model, WORDS, tmp_path / "right")
    whole = LlamaForCausalLM.forward

    def forgetful(self: Any, **given: Any) -> Any:
        return whole(self, **{name: value for name, value in given.items() if name != "cache"})

    monkeypatch.setattr(LlamaForCausalLM, "forward", forgetful)
    with pytest.raises(StillhouseError, match="with a cache"):
        save_causal(model, WORDS, tmp_path / "wrong")


def test_another_precision_comes_back_bit_for_bit(model: Any, tmp_path: Path) -> None:
    save_causal(model, WORDS, tmp_path / "whole")
    half, words = load_causal(tmp_path / "whole", dtype="bfloat16")
    save_causal(half, words, tmp_path / "half")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "half")
    assert half.dtype == again.dtype == torch.bfloat16
    assert all(one.equal(two) for one, two in zip(half.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("where", ["", "ferment.teacher.model: models/x"])
def test_a_folder_that_lacks_weights_is_refused_not_filled_at_random(model: Any, tmp_path: Path, where: str) -> None:
    folder = tiny_chat.save(model, WORDS, tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "mlp" in name)
    save_file(
        {name: one for name, one in weights.items() if name != lost}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(StillhouseError, match="weights are missing") as caught:
        load_causal(folder, where=where)
    assert caught.value.problems[0].where == (where or str(folder)) and lost in caught.value.problems[0].what
