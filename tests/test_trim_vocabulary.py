"""A trimmed vocabulary: any text decodes to itself, used texts are split as before, and the model says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

import tiny_chat
from examples import examples
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
@examples(1.5)
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


def test_numbers_that_are_no_ids_are_kept() -> None:
    model = tiny_chat.model(WORDS, seed=2)
    told = {"max_new_tokens": 299, "min_new_tokens": 2, "num_assistant_tokens": 20, "top_k": 50}
    for name, value in told.items():
        setattr(model.generation_config, name, value)
    kept = trim_vocabulary(model, WORDS, used=WORDS(TEXTS[0])["input_ids"]).model.generation_config
    assert {name: getattr(kept, name) for name in told} == told


@pytest.mark.parametrize("kind", ["template", "roberta", "sequence"])
def test_tokens_around_a_text_get_their_new_ids(kind: str) -> None:
    words = tiny_chat.tokenizer(size=330)
    words.add_tokens(["<s>"], special_tokens=True)  # behind all others, so that its id changes
    begin, end = ("<s>", len(words) - 1), ("<|im_end|>", words.eos_token_id)
    template = processors.TemplateProcessing(single="<s> $A <|im_end|>", special_tokens=[begin, end])
    words.backend_tokenizer.post_processor = {
        "template": template,
        "roberta": processors.RobertaProcessing(end, begin),
        "sequence": processors.Sequence([processors.ByteLevel(trim_offsets=False), template]),
    }[kind]
    small = trim_vocabulary(tiny_chat.model(words), words, used=words(TEXTS[0])["input_ids"])
    before, after = words(TEXTS[0])["input_ids"], small.tokenizer(TEXTS[0])["input_ids"]
    assert before[0] == begin[1] > len(small.teacher_ids) > after[0]
    assert [small.teacher_ids[one] for one in after] == before


def test_bytes_stand_in_for_what_a_sentencepiece_vocabulary_lacks() -> None:
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False)
    core.train_from_iterator([text for text in TEXTS for _ in range(3)] + ["other words", "that are not used"], trainer)
    rules = json.loads(core.to_str())
    rules["added_tokens"] = [one for one in rules["added_tokens"] if not one["content"].startswith("<0x")]
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(rules)),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
    )
    small = trim_vocabulary(tiny_chat.model(words), words, used=words(TEXTS[0])["input_ids"])
    assert len(small.teacher_ids) < len(words)
    assert [small.teacher_ids[one] for one in small.tokenizer(TEXTS[0])["input_ids"]] == words(TEXTS[0])["input_ids"]
    for text in (*TEXTS, "Ünïcode, 漢字 and 🙂", "other words"):
        assert small.tokenizer.decode(small.tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_words_that_merges_do_not_reach_are_kept_where_the_tokenizer_ignores_merges() -> None:
    rules = json.loads(WORDS.backend_tokenizer.to_str())
    word = max((one for one in rules["model"]["vocab"] if not one.startswith("<")), key=len)
    rules["model"]["ignore_merges"] = True
    rules["model"]["merges"] = [one for one in rules["model"]["merges"] if "".join(one) != word]
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(rules)), eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    text = word.replace("Ġ", " ")
    assert len(words(text)["input_ids"]) == 1
    small = trim_vocabulary(tiny_chat.model(words), words, used=words(text)["input_ids"])
    assert [small.teacher_ids[one] for one in small.tokenizer(text)["input_ids"]] == words(text)["input_ids"]


def test_a_token_that_the_model_has_no_row_for_is_refused() -> None:
    words = tiny_chat.tokenizer(size=330)
    model = tiny_chat.model(words)
    words.add_tokens(["<s>"], special_tokens=True)
    with pytest.raises(StillhouseError, match="no row"):
        trim_vocabulary(model, words, used=[0])


def test_tokens_that_mark_the_ends_of_words_are_refused() -> None:
    core = Tokenizer(models.BPE({"a": 0, "b</w>": 1, "ab</w>": 2}, [("a", "b</w>")], end_of_word_suffix="</w>"))
    words = PreTrainedTokenizerFast(tokenizer_object=core)
    with pytest.raises(StillhouseError, match="ends of words"):
        trim_vocabulary(tiny_chat.model(WORDS), words, used=[0])


def test_an_end_that_is_an_ordinary_token_stays_the_end() -> None:
    model = tiny_chat.model(WORDS, seed=2)
    last = len(WORDS) - 1
    model.config.eos_token_id = last  # no text uses it, and the tokenizer does not call it special
    model.generation_config.eos_token_id = [WORDS.eos_token_id, last]
    small = trim_vocabulary(model, WORDS, used=WORDS(TEXTS[0])["input_ids"])
    place = small.teacher_ids.index(last)
    assert small.model.config.eos_token_id == place
    assert small.model.generation_config.eos_token_id == [small.tokenizer.eos_token_id, place]


def test_merges_that_lead_nowhere_are_gone_and_the_others_keep_their_order() -> None:
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
