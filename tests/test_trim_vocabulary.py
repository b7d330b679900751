"""A trimmed vocabulary: any text decodes to itself, used texts are split as before, and the model says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

import tiny_chat
from stillhouse.causal import save_causal
from stillhouse.distill.students.trim_vocabulary import Trimmed, trim_vocabulary
from stillhouse.errors import StillhouseError

TEXTS = ("say fine great", "user says dull, and then: say fine", "assistant say warm\n", "long short")
WORDS = tiny_chat.tokenizer(size=330)


def trimmed(*, tied: bool = True, padded: int = 5) -> tuple[Any, Trimmed]:
    model = tiny_chat.model(WORDS, seed=2, padded=padded)
    if not tied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.generation_config.eos_token_id = [WORDS.eos_token_id, 299]
    model.generation_config.suppress_tokens = [299, WORDS.convert_tokens_to_ids("a")]
    used = {one for text in TEXTS for one in WORDS(text)["input_ids"]}
    return model, trim_vocabulary(model, WORDS, used=used)


def test_used_texts_are_split_as_before_and_the_model_says_the_same_about_them(tmp_path: Path) -> None:
    for tied in (True, False):
        model, small = trimmed(tied=tied)
        assert len(small.teacher_ids) < len(WORDS)
        rows = torch.tensor(small.teacher_ids)
        for text in TEXTS:
            before, after = (torch.tensor([words(text)["input_ids"]]) for words in (WORDS, small.tokenizer))
            assert rows[after].equal(before)
            assert torch.allclose(small.model(after).logits, model(before).logits[..., rows], atol=1e-5)
        save_causal(small.model, small.tokenizer, tmp_path / str(tied))
        again = AutoModelForCausalLM.from_pretrained(tmp_path / str(tied))
        words = AutoTokenizer.from_pretrained(tmp_path / str(tied))
        assert again.get_input_embeddings().weight.shape[0] == len(words) == len(small.teacher_ids)
        assert words(TEXTS[0])["input_ids"] == small.tokenizer(TEXTS[0])["input_ids"]


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_decodes_to_itself(text: str) -> None:
    words = SMALL.tokenizer
    ids = words(text, add_special_tokens=False)["input_ids"]
    assert words.decode(ids) == text
    assert all(0 <= one < len(SMALL.teacher_ids) for one in ids)


_, SMALL = trimmed()


def test_every_id_in_the_settings_is_the_new_one_of_the_same_token() -> None:
    model, small = trimmed()
    new = {old: number for number, old in enumerate(small.teacher_ids)}
    assert small.tokenizer.eos_token == WORDS.eos_token == "<|im_end|>"
    end = small.tokenizer.eos_token_id
    assert end == new[WORDS.eos_token_id] == small.model.config.eos_token_id == small.tokenizer.pad_token_id
    assert small.model.config.pad_token_id == end and small.model.config.vocab_size == len(small.teacher_ids)
    kept = small.model.generation_config
    assert kept.eos_token_id == [new[one] for one in (WORDS.eos_token_id, 299) if one in new]
    assert new[WORDS.convert_tokens_to_ids("a")] in kept.suppress_tokens
    assert model.config.vocab_size == len(WORDS) + 5  # the given model stays as it was
    turns = [{"role": "user", "content": "say fine"}]
    for words in (WORDS, small.tokenizer):
        assert words.decode(words.apply_chat_template(turns, return_dict=False)) == (
            "<|im_start|>user\nsay fine<|im_end|>\n"
        )


def test_merges_that_lead_nowhere_are_gone_and_the_others_keep_their_order() -> None:
    import json

    before, after = (json.loads(one.backend_tokenizer.to_str())["model"] for one in (WORDS, SMALL.tokenizer))
    merges = [tuple(one) for one in after["merges"]]
    assert merges == [tuple(one) for one in before["merges"] if tuple(one) in set(merges)]
    assert len(merges) < len(before["merges"])
    assert all({left, right, left + right} <= set(after["vocab"]) for left, right in merges)
    assert sorted(after["vocab"].values()) == sorted(set(after["vocab"].values()))


def test_other_kinds_of_tokenizers_are_refused() -> None:
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")), unk_token="[UNK]"
    )
    with pytest.raises(StillhouseError, match="WordLevel"):
        trim_vocabulary(tiny_chat.model(WORDS), words, used=[0])
