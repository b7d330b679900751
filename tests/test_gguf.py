"""A GGUF file is the student: every tensor, every id, its template and its ends; what cannot be said so is refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
from transformers import AutoConfig

import gguf_material as material
import tiny_chat
import tiny_models
from examples import examples
from llama_server import INSTALLED, MISSING
from stillhouse.causal import load_causal, save_causal
from stillhouse.distill.students.decoders import keep_decoder_layers
from stillhouse.distill.students.lora import merged, with_lora
from stillhouse.distill.students.trim_vocabulary import trim_vocabulary
from stillhouse.errors import StillhouseError
from stillhouse.finish.export.agreement import Floors, partial_divergence
from stillhouse.finish.export.gguf import FLOORS, KINDS, check_gguf, compare_gguf, export_gguf, write
from stillhouse.finish.export.gguf.architectures import ARCHITECTURES
from stillhouse.finish.export.gguf.runtime import Runtime
from stillhouse.finish.export.probes import DECOMPOSED, TEXTS

runs = pytest.mark.skipif(not INSTALLED, reason=MISSING)
IDS = [(7 * place * place + 3) % 250 + 5 for place in range(60)]  # longer than the windows and the scaled positions
SPECIAL = ("<|im_start|>user\nhi<|im_end|>\n", "a<own>b <own> c", "x<|im_end|>  y", " <|im_start|> z")
CHAT = [{"role": "user", "content": "say fine"}]


@pytest.fixture(scope="module")
def words() -> Any:
    return tiny_chat.tokenizer()


@pytest.fixture(scope="module")
def taught(words: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that answers and stops, whose head is padded and tied."""
    made = tiny_chat.model(words, padded=4, noise=0.05)
    tiny_chat.teach(made, words, [(f"say {word}", word) for word in tiny_chat.WORDS], steps=60, rate=1e-2)
    folder = tmp_path_factory.mktemp("taught")
    save_causal(made, words, folder)
    return folder


@pytest.fixture(scope="module")
def files(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return export_gguf(taught, tmp_path_factory.mktemp("gguf"), KINDS, name="taught", license="mit")


def fields_of(path: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


def tensors_of(path: Path) -> dict[str, Any]:
    return {one.name: one for one in gguf.GGUFReader(path).tensors}


def opened(path: Path) -> Any:
    return Runtime.open(path, context=128, threads=1, exact=True)


# ------------------------------------------------------------------------------------------- weights


def test_no_architecture_is_listed_that_is_not_tried() -> None:
    assert {kind for kind, _ in material.MODELS.values()} == set(ARCHITECTURES)


@runs
@pytest.mark.parametrize("name", material.MODELS)
def test_the_runtime_gives_the_probabilities_of_torch(name: str, words: Any, tmp_path: Path) -> None:
    kind, given_settings = material.MODELS[name]
    folder = material.student(tmp_path / "student", kind, words, padded=3, **given_settings)
    made, _ = load_causal(folder)
    expected = material.log_probs(made, IDS)
    with opened(export_gguf(folder, tmp_path, ("f16",))["f16"]) as runtime:
        ids, found = runtime.next_log_probs(IDS, top=10**6)
    assert list(ids) == list(range(len(words) + 3))
    divergence, rest = partial_divergence(expected, ids, found)
    assert rest == 0
    assert abs(divergence) < 1e-3  # nats; activations are rounded to 11 bits, a layout that is wrong gives 0.1 and more


@runs
@pytest.mark.parametrize("broken", ["rotary", "one setting"])
def test_a_wrong_layout_or_setting_would_be_seen(
    broken: str, words: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The law above can fail: neither a file without its permutation nor one with a wrong scale comes near."""
    folder = material.student(tmp_path / "student", "granite", words, **material.MODELS["granite"][1])
    if broken == "rotary":
        monkeypatch.setattr(write, "changed", lambda array, place, config: array)
    else:
        monkeypatch.setattr(
            write,
            "_add",
            lambda writer, key, value, add=write._add: add(writer, key, 1.0 if "residual" in key else value),
        )
    made, _ = load_causal(folder)
    with opened(export_gguf(folder, tmp_path, ("f16",))["f16"]) as runtime:
        divergence, _ = partial_divergence(material.log_probs(made, IDS), *runtime.next_log_probs(IDS, top=10**6))
    assert divergence > 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_comes_back_within_half_a_step(kind: Any, taught: Path, files: Any) -> None:
    made, _ = load_causal(taught)
    found = tensors_of(files[kind])
    state = {name: one for name, one in made.state_dict().items() if name != "lm_head.weight"}
    assert len(found) == len(state)  # a tied head is stored once
    for name, tensor in state.items():
        place = ARCHITECTURES["llama"].place(name)
        assert place is not None
        stored = found.pop(place.name)
        values = gguf.dequantize(stored.data, stored.tensor_type).reshape(tensor.shape)
        if place.change.startswith("rotary"):
            heads = 4 if place.change == "rotary" else 2
            neighbours = values.reshape(heads, -1, 2, tensor.shape[1])
            values = np.concatenate([neighbours[:, :, 0], neighbours[:, :, 1]], 1).reshape(tensor.shape)
        source = tensor.numpy()
        blocks = np.abs(source).reshape(-1, min(32, source.shape[-1])).max(1) if source.ndim > 1 else np.abs(source)
        steps = {"F32": 0.0, "F16": 2.0**-10, "Q8_0": 1 / 127, "Q4_0": 2 / 8}[stored.tensor_type.name]
        error = np.abs(values - source).reshape(len(blocks), -1).max(1)
        # half a step, and the rounding of the scale to float16; the far end of 4 bits is cut by half a step more
        assert (error <= blocks * (steps / 2 + 1e-3 * (steps > 0)) + 1e-7 * (steps > 0)).all(), (name, kind)
    assert not found


def test_the_same_folder_gives_the_same_bytes(taught: Path, files: Any, tmp_path: Path) -> None:
    again = export_gguf(taught, tmp_path, KINDS, name="taught", license="mit")
    assert [path.read_bytes() for path in again.values()] == [path.read_bytes() for path in files.values()]
    assert str(tmp_path).encode() not in again["f16"].read_bytes()


@runs
def test_merged_adapters_are_in_the_file(words: Any, tmp_path: Path) -> None:
    adapted = with_lora(tiny_chat.model(words), rank=2, alpha=4.0, targets=(), seed=0)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            weights.data += 0.3
    made = merged(adapted)
    save_causal(made, words, tmp_path / "student")
    with opened(export_gguf(tmp_path / "student", tmp_path, ("f16",))["f16"]) as runtime:
        ids, found = runtime.next_log_probs(IDS, top=10**6)
    assert partial_divergence(material.log_probs(made, IDS), ids, found)[0] < 1e-3
    assert partial_divergence(material.log_probs(tiny_chat.model(words), IDS), ids, found)[0] > 0.02


# ------------------------------------------------------------------------------------------- shorter and smaller


@runs
@pytest.mark.parametrize("kind", ["gemma2", "gemma3_text"])
def test_a_cut_model_has_lists_of_its_own_length(kind: str, words: Any, tmp_path: Path) -> None:
    sizes = {**material.MODELS[kind][1], "num_hidden_layers": 7}
    base = material.student(tmp_path / "base", kind, words, **sizes)
    made, words_again = keep_decoder_layers(base, [0, 1, 5, 6])
    save_causal(made, words_again, tmp_path / "student")
    path = export_gguf(tmp_path / "student", tmp_path, ("f16",))["f16"]
    fields, arch = fields_of(path), ARCHITECTURES[kind].name
    assert fields[f"{arch}.block_count"] == 4
    lists = [value for name, value in fields.items() if name.startswith(arch) and isinstance(value, list)]
    assert [len(one) for one in lists] == [4]
    assert lists[0] == [layer == "sliding_attention" for layer in made.config.layer_types]
    with opened(path) as runtime:
        divergence, _ = partial_divergence(material.log_probs(made, IDS), *runtime.next_log_probs(IDS, top=10**6))
    assert abs(divergence) < 1e-3


@runs
def test_a_trimmed_vocabulary_keeps_its_ids_ends_and_template(words: Any, tmp_path: Path) -> None:
    wide = tiny_chat.tokenizer(size=340)
    base = tiny_chat.model(wide, padded=6)
    trimmed = trim_vocabulary(
        base, wide, used=[one for row in wide(["say fine", "user dull"])["input_ids"] for one in row]
    )
    assert len(trimmed.teacher_ids) < len(wide)
    save_causal(trimmed.model, trimmed.tokenizer, tmp_path / "student")
    path = export_gguf(tmp_path / "student", tmp_path, ("f16",))["f16"]
    fields = fields_of(path)
    assert len(fields["tokenizer.ggml.tokens"]) == len(trimmed.teacher_ids) == fields["llama.vocab_size"]
    assert fields["tokenizer.ggml.eos_token_id"] == trimmed.tokenizer.eos_token_id
    with opened(path) as runtime:
        for text in (*TEXTS, *SPECIAL):
            ids = trimmed.tokenizer(text)["input_ids"]
            assert runtime.tokens(text) == ids
            assert runtime.text(ids) == trimmed.tokenizer.decode(ids)
        divergence, _ = partial_divergence(
            material.log_probs(trimmed.model, IDS), *runtime.next_log_probs(IDS, top=9999)
        )
    assert abs(divergence) < 1e-3


@runs
@pytest.mark.parametrize(
    ("width", "inner", "kept"),
    [
        (96, 160, ()),
        (64, 172, ("ffn_down",)),
        (172, 96, ("attn_q", "attn_output", "ffn_up", "token_embd")),
    ],
)
def test_a_width_without_whole_blocks_is_named_and_loads(
    width: int, inner: int, kept: tuple[str, ...], words: Any, tmp_path: Path
) -> None:
    sizes = {"hidden_size": width, "intermediate_size": inner, "num_attention_heads": 2, "num_hidden_layers": 2}
    folder = material.student(tmp_path / "student", "llama", words, **sizes)
    made, again = load_causal(folder)
    plan = check_gguf(made.config, again, ("f16", "q8_0", "q4_0"), ends=[1])
    assert not plan.problems
    assert plan.kept["f16"] == ()
    files = export_gguf(folder, tmp_path, ("q8_0", "q4_0"))
    for kind in ("q8_0", "q4_0"):
        stored = {name: one for name, one in tensors_of(files[kind]).items() if one.tensor_type.name == "F16"}
        assert set(stored) == set(plan.kept[kind])  # said before, and so written
        assert all(int(one.shape[0]) % 32 for one in stored.values())
        assert all(any(part in name for name in stored) for part in kept)
        assert bool(stored) == bool(kept)
        assert all(any(f"{part}.weight (" in note and kind in note for note in plan.notes) for part in kept)
        with opened(files[kind]) as runtime:
            assert len(runtime.next_log_probs(IDS, top=10**6)[0]) == len(words)


def test_what_no_block_fits_is_refused_for_quantized_kinds_alone(words: Any) -> None:
    config = material.model("llama", words, hidden_size=172, intermediate_size=172, num_attention_heads=2).config
    assert not check_gguf(config, words, ("f16",), ends=[1]).problems
    (problem,) = check_gguf(config, words, ("f16", "q8_0"), ends=[1]).problems
    assert "q8_0" in problem.what
    assert "32" in problem.what


# ------------------------------------------------------------------------------------------- texts


@runs
@pytest.mark.parametrize("name", material.TOKENIZERS)
def test_texts_are_split_alike(name: str, tmp_path: Path) -> None:
    own = material.TOKENIZERS[name]()
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 32}
    folder = material.student(tmp_path / "student", "llama", own, padded=2, **sizes)
    path = export_gguf(folder, tmp_path, ("f16",))["f16"]
    assert fields_of(path)["tokenizer.ggml.pre"] == name.partition(",")[0]
    composes = own.backend_tokenizer.normalizer is not None and "NFC" in repr(own.backend_tokenizer.normalizer)
    with opened(path) as runtime:
        for text in (*TEXTS, *SPECIAL, *(() if composes else DECOMPOSED)):
            assert runtime.tokens(text) == own(text)["input_ids"], text
        begin = own.bos_token or ""
        rendered = own.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
        # the server takes off what the tokenizer will put there again: exactly one beginning
        assert begin + runtime.template(CHAT) == rendered
        assert runtime.tokens(runtime.template(CHAT)) == own(rendered, add_special_tokens=False)["input_ids"]
    assert len(TEXTS) >= 50


def test_ways_of_splitting_differ_on_these_texts() -> None:
    """Were two kinds alike on all texts, naming the wrong one would go unseen."""
    byte_level = ["gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2"]
    made = {name: material.TOKENIZERS[name]() for name in byte_level}
    ids = {name: [own(text)["input_ids"] for text in TEXTS] for name, own in made.items()}
    for place, name in enumerate(byte_level):
        for other in byte_level[:place]:
            alike = ids[name] == ids[other]
            assert not alike, (name, other)


@pytest.mark.parametrize("name", ["template", "tokens", "kinds"])
def test_what_the_tokenizer_says_is_in_the_file(name: str, taught: Path, files: Any) -> None:
    _, own = load_causal(taught)
    fields = fields_of(files["q8_0"])
    if name == "template":
        assert fields["tokenizer.chat_template"] == own.chat_template
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert tokens[: len(own)] == own.convert_ids_to_tokens(list(range(len(own))))
    assert len(tokens) == len(set(tokens)) == len(own) + 4  # rows of a padded head have names that no text has
    assert kinds[len(own) :] == [5] * 4
    assert [tokens[place] for place, one in enumerate(kinds) if one == 3] == ["<|im_start|>", "<|im_end|>"]


def odd_tokenizers() -> Iterator[tuple[str, Callable[[], Any], str]]:
    def stripped() -> Any:
        made = tiny_chat.tokenizer()
        made.add_tokens([AddedToken("<wide>", lstrip=True)])
        return made

    def changed(change: Callable[[dict[str, Any]], None]) -> Any:
        made = tiny_chat.tokenizer()
        rules = json.loads(made.backend_tokenizer.to_str())
        change(rules)
        made._tokenizer = Tokenizer.from_str(json.dumps(rules))
        return made

    def lose_a_byte(rules: dict[str, Any]) -> None:
        words = rules["model"]["vocab"]
        words["lost"] = words.pop("q")

    def ended_twice() -> Any:
        made = tiny_chat.tokenizer()
        made._tokenizer.post_processor = pre_tokenizers_template("$A <|im_end|> <|im_end|>")
        return made

    def pre_tokenizers_template(single: str) -> Any:
        from tokenizers import processors

        return processors.TemplateProcessing(single=single, special_tokens=[("<|im_end|>", 1)])

    marks = r"[^\r\n\p{L}\p{N}]?\p{Lu}*\p{Ll}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    metaspace = pre_tokenizers.Metaspace(material.SPACE, "first", False)
    yield "an unknown pattern", lambda: material.byte_level(material.split_by(marks)), "no name for this way"
    yield "a known pattern with skipped merges", lambda: material.byte_level(material.BYTES, whole=True), "no name for"
    yield "a space before bytes", lambda: material.byte_level(pre_tokenizers.ByteLevel()), "with a space before"
    yield "lower case", lambda: material.byte_level(material.BYTES, before=normalizers.Lowercase()), "Lowercase"
    yield "words", tiny_models.tokenizer, "WordLevel"
    yield "a space before the first word", lambda: material.pieces(None, metaspace), "Metaspace"
    yield "pairs that are not listed", lambda: material.pieces(material.REPLACED, whole=False), "llama.cpp would"
    yield "tokens that swallow spaces", stripped, "'<wide>'"
    yield "a byte without a token", lambda: changed(lose_a_byte), "1 bytes of ordinary text"
    yield "two ends", ended_twice, "one beginning and one end"


@pytest.mark.parametrize(
    ("made", "why"), [one[1:] for one in odd_tokenizers()], ids=[one[0] for one in odd_tokenizers()]
)
def test_what_the_runtime_would_split_otherwise_is_refused(made: Callable[[], Any], why: str, tmp_path: Path) -> None:
    own = made()
    config = AutoConfig.for_model("llama", vocab_size=len(own), hidden_size=32, num_attention_heads=2)
    plan = check_gguf(config, own, KINDS, ends=[1])
    assert any(why in problem.what for problem in plan.problems), plan.problems
    assert plan.vocabulary is None


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    own = material.byte_level(pre_tokenizers.ByteLevel())
    folder = material.student(tmp_path / "student", "llama", own, num_hidden_layers=1)
    assert check_gguf(AutoConfig.from_pretrained(folder), folder, ("f16",), ends=[1]).problems  # a folder does as well
    with pytest.raises(StillhouseError, match="with a space before"):
        export_gguf(folder, tmp_path / "gguf", ("f16",))
    assert not (tmp_path / "gguf").exists()


# ------------------------------------------------------------------------------------------- refusals of models


@pytest.mark.parametrize(
    ("kind", "given_settings", "why"),
    [
        ("gpt_neox", {}, "models of type gpt_neox"),
        ("llama", {"architectures": ["LlamaForCausalLMWithCuts"]}, "LlamaForCausalLMWithCuts"),
        ("llama", {"auto_map": {"AutoModelForCausalLM": "code.Mine"}}, "not transformers' own"),
        ("llama", {"hidden_act": "relu"}, "relu"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "dynamic"),
        ("mistral", {"sliding_window": 16}, "a window of 16"),
        ("qwen3", {"attention_bias": True}, "attention_bias"),
        ("gemma2", {"query_pre_attn_scalar": 100, "head_dim": 32}, "query_pre_attn_scalar"),
        ("gemma2", {"query_pre_attn_scalar": 32, "head_dim": 32, "final_logit_softcapping": None}, "capped"),
        ("gemma2", {"query_pre_attn_scalar": 32, "head_dim": 32, "tie_word_embeddings": False}, "not tied"),
        ("smollm3", {"no_rope_layers": [1, 0, 1, 1]}, "without positions"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ],
)
def test_what_the_runtime_would_ignore_is_refused(kind: str, given_settings: Any, why: str, words: Any) -> None:
    size = {"num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 128, "pad_token_id": 1}
    config = AutoConfig.for_model(kind, vocab_size=len(words), **{"hidden_size": 64, **size, **given_settings})
    plan = check_gguf(config, words, ("f16",), ends=[1])
    assert any(why in problem.what for problem in plan.problems), plan.problems
    assert all(problem.fix for problem in plan.problems)


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_numbers_that_float16_does_not_hold_are_refused(value: float, words: Any, tmp_path: Path) -> None:
    made = tiny_chat.model(words, padded=2)
    made.get_input_embeddings().weight.data[-1, 3] = value
    tiny_chat.save(made, words, tmp_path / "student")
    with pytest.raises(StillhouseError, match=r"token_embd\.weight"):
        export_gguf(tmp_path / "student", tmp_path / "gguf", ("f16",))
    assert not (tmp_path / "gguf").exists()


def test_a_file_is_there_whole_or_not_at_all(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = export_gguf(taught, tmp_path, ("f16",))["f16"].read_bytes()
    calls: list[str] = []

    def full(array: Any, place: Any, config: Any) -> Any:
        calls.append(place.name)
        if len(calls) > 30:  # in the second file
            raise OSError("no space left on device")
        return array

    monkeypatch.setattr(write, "changed", full)
    with pytest.raises(OSError, match="no space left"):
        export_gguf(taught, tmp_path, ("f16", "q8_0"))
    assert [path.name for path in tmp_path.iterdir()] == ["model-f16.gguf"]
    assert (tmp_path / "model-f16.gguf").read_bytes() == whole


# ------------------------------------------------------------------------------------------- comparing


@runs
@pytest.mark.parametrize("kind", KINDS)
def test_a_taught_student_answers_and_stops_as_a_file(kind: Any, taught: Path, files: Any) -> None:
    prompts = [[{"role": "user", "content": f"say {word}"}] for word in tiny_chat.WORDS]
    found = compare_gguf(
        taught, files[kind], prompts=prompts, texts=TEXTS[11:14], floors=FLOORS[kind], most=20, positions=12, threads=1
    )
    assert found.passed, found.reasons
    assert found.wrong_ids == ()
    assert found.by_shape["given"] >= (0.7 if kind == "q4_0" else 1.0)
    assert {"short", "accented", "emoji"} <= set(found.by_shape)
    assert found.stops == 1.0
    assert found.ended > 0.5
    assert found.left_out > 0  # the long prompt has no room in this model's 192 tokens, which is said
    assert found.top == len(load_causal(taught)[1]) + 4
    assert found.outside == 0
    assert found.positions == 12
    with opened(files[kind]) as runtime:
        assert runtime.chat(CHAT, 20) == ("fine", "stop")


@runs
def test_a_file_of_another_student_does_not_pass(words: Any, taught: Path, files: Any, tmp_path: Path) -> None:
    other = tiny_chat.save(tiny_chat.model(words, padded=4, seed=5, noise=0.05), words, tmp_path / "other")
    found = compare_gguf(
        other, files["f16"], prompts=[CHAT], texts=TEXTS[11:13], floors=FLOORS["f16"], most=8, positions=4, threads=1
    )
    assert not found.passed
    assert found.agreeing < 0.5
    assert found.kl > 0.1
    assert found.divergences[0].after == 0
    assert found.divergences[0].margin > 0
    assert "answers agree" in found.reasons[0]
    assert "nats apart" in found.reasons[1]


@runs
def test_a_file_that_writes_an_end_and_goes_on_does_not_pass(taught: Path, files: Any, tmp_path: Path) -> None:
    """Every token agrees, the end among them, and still the file would never stop there."""
    made, own = load_causal(taught)
    end = own("fine", add_special_tokens=False)["input_ids"][0]
    save_causal(made, own, tmp_path / "student", ends=[end])
    found = compare_gguf(
        tmp_path / "student",
        files["f16"],
        prompts=[CHAT],
        texts=TEXTS[11:12],
        floors=Floors(),
        most=8,
        positions=2,
        threads=1,
        shapes=(),
    )
    assert found.stops == 0.5  # the end of the turn comes later, and is one for both
    assert found.agreeing == 0
    assert [(one.after, one.margin) for one in found.divergences] == [(0, 0.0)]
    assert not found.passed


@runs
def test_several_ends_are_all_ends(words: Any, taught: Path, tmp_path: Path) -> None:
    """A base's end of text and the template's end of turn: whichever comes, the answer is over."""
    made, own = load_causal(taught)
    letter = own.convert_tokens_to_ids("e")
    save_causal(made, own, tmp_path / "student", ends=[letter])  # "fine" has an e; merges aside, it is written alone
    assert write.ends_of(load_causal(tmp_path / "student")[0]) == sorted([own.eos_token_id, letter])
    fields = fields_of(export_gguf(tmp_path / "student", tmp_path, ("f16",))["f16"])
    assert fields["tokenizer.ggml.eos_token_id"] == own.eos_token_id
    assert fields["tokenizer.ggml.eot_token_id"] == letter
    with opened(tmp_path / "model-f16.gguf") as runtime:
        forced = runtime._call("/completion", {"prompt": IDS, "n_predict": 4, "logit_bias": [[letter, 1000.0]]})
    assert (forced["stop_type"], forced["tokens_predicted"]) == ("eos", 1)


@runs
def test_the_runtime_opens_no_port_and_ends_with_its_block(files: Any) -> None:
    with opened(files["f16"]) as runtime:
        child = psutil.Process(runtime._process.pid)
        assert not [one for one in child.net_connections(kind="inet") if one.status == psutil.CONN_LISTEN]
        assert runtime.tokens("a")
    assert not psutil.pid_exists(child.pid) or child.status() == psutil.STATUS_ZOMBIE


@runs
def test_a_runtime_that_dies_is_an_error_and_not_the_end(files: Any, tmp_path: Path) -> None:
    with opened(files["f16"]) as runtime, pytest.raises(StillhouseError, match="ended with -9"):
        os.kill(runtime._process.pid, signal.SIGKILL)
        runtime.tokens("a")
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(files["f16"].read_bytes()[:5000])
    with pytest.raises(StillhouseError, match=r"torn\.gguf cannot be loaded"), opened(torn):
        pass


@examples(0.6)
@given(st.integers(2, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_a_partial_divergence_is_never_more_than_the_whole(size: int, top: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    p, q = (torch.tensor(3 * random.standard_normal(size)).log_softmax(-1).numpy() for _ in range(2))
    whole = float((np.exp(p) * (p - q)).sum())
    chosen = np.sort(np.argsort(-q)[:top])
    part, rest = partial_divergence(p, chosen, q[chosen])
    assert -1e-9 <= part <= whole + 1e-9
    if top >= size:
        assert part == pytest.approx(whole)
        assert rest == 0
    else:
        assert rest == pytest.approx(1 - np.exp(p[chosen]).sum())


@runs
def test_a_missing_runtime_says_what_to_install(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillhouse.finish.export.gguf.runtime.PACKAGE", "no_such_package")
    with pytest.raises(StillhouseError, match="no_such_package is missing"), opened(files["f16"]):
        pass
