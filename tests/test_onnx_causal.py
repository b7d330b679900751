"""An exported model that writes is the student: with a cache and without, alone or not, in one call or in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoConfig

import gguf_material as material
import small_bottle
import tiny_chat
from stillhouse.causal import load_causal, save_causal
from stillhouse.errors import StillhouseError
from stillhouse.finish.bottle import seal_bottle, verify_bottle
from stillhouse.finish.export import graph as saved
from stillhouse.finish.export.agreement import Floors
from stillhouse.finish.export.bottled import Bottled, bottle, parity
from stillhouse.finish.export.onnx_causal import FLOORS, KINDS, OnnxWriter, check_onnx, compare_onnx, export_onnx, write
from stillhouse.finish.export.onnx_causal.blocks import BLOCK, quantize_rows_in_blocks
from stillhouse.finish.generation.decoding import parameters

WORDS = tiny_chat.tokenizer()
# turned positions and a tied head; learned positions and products with a bias; a window in one layer of two
MADE: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": {"n_positions": 128, "num_hidden_layers": 1},
    "qwen2": {"num_hidden_layers": 2, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
}
ROWS = [[(7 * place * place + 3 + row) % 250 + 5 for place in range(size)] for row, size in enumerate((19, 4, 11))]
MORE = [[11, 12, 13], [14], [15, 16]]
_NEAR = 2e-4  # of a logit; these are of the size of ten


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a student and its files; the Llama was taught to answer and to stop."""
    found = {}
    for kind in MADE:
        folder = tmp_path_factory.mktemp(kind)
        if kind == "llama":
            made = tiny_chat.model(WORDS, padded=4, layers=1, noise=0.05)
            tiny_chat.teach(made, WORDS, [(f"say {word}", word) for word in tiny_chat.WORDS], steps=60, rate=1e-2)
            save_causal(made, WORDS, folder)
        else:
            material.student(folder, kind, WORDS, padded=3, **MADE[kind])
        export_onnx(folder, folder / "onnx", KINDS)
        found[kind] = folder
    return found


def writer(folder: Path, kind: str = "fp32") -> OnnxWriter:
    return OnnxWriter(folder / "onnx" / write.FILES[kind], folder, threads=1)  # type: ignore[index]


def by_torch(folder: Path, ids: Sequence[int]) -> Any:
    """Logits (S, V), without a cache and without padding."""
    with torch.no_grad():
        return load_causal(folder)[0](input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].numpy()


def near(found: Any, wanted: Any) -> bool:
    return bool(np.abs(found - wanted).max() <= _NEAR * max(1.0, np.abs(wanted).max()))


# ------------------------------------------------------------------------------------------- laws of the cache


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("form", KINDS)
def test_in_however_many_calls_a_prompt_is_read_it_is_the_same(kind: str, form: str, students: dict[str, Path]) -> None:
    ids = ROWS[0]
    opened = writer(students[kind], form)
    whole = opened.begin([ids]).of(0)
    if form == "fp32":
        assert near(whole, by_torch(students[kind], ids))
    for parts in ([ids[:1], ids[1:]], [ids[:12], ids[12:]], [[one] for one in ids]):
        step = opened.begin([parts[0]])
        read = [step.of(0)]
        for part in parts[1:]:
            step = opened.go_on(step, [part])
            read.append(step.of(0))
        assert near(np.concatenate(read), whole)
        assert step.past[0].shape[2] == len(ids)


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("form", KINDS)
def test_batch_mates_do_not_matter_in_the_first_turn_and_in_the_second(
    kind: str, form: str, students: dict[str, Path]
) -> None:
    opened = writer(students[kind], form)
    together = opened.begin(ROWS)
    second = opened.go_on(together, MORE)
    for row, (ids, more) in enumerate(zip(ROWS, MORE, strict=True)):
        alone = opened.begin([ids])
        assert near(together.of(row), alone.of(0))
        assert near(second.of(row), opened.go_on(alone, [more]).of(0))
        assert near(second.of(row), opened.begin([[*ids, *more]]).of(0)[len(ids) :])


def test_padding_and_windows_would_be_seen(students: dict[str, Path]) -> None:
    """The laws above can fail: the row that is padded, read as if it were not, gives other logits."""
    opened = writer(students["qwen2"])
    alone, unmasked = opened.begin([ROWS[1]]), opened.begin([[0] * 9 + ROWS[1]])
    assert not near(unmasked.of(0)[9:], alone.of(0))
    first = by_torch(students["qwen2"], ROWS[0])
    assert not near(by_torch(students["qwen2"], [99, *ROWS[0][1:]])[-1], first[-1])  # a window is not all there is


@pytest.mark.parametrize("kind", MADE)
def test_greedy_answers_are_those_of_transformers(kind: str, students: dict[str, Path]) -> None:
    model, tokenizer = load_causal(students[kind])
    tokenizer.padding_side = "left"
    padded = tokenizer.pad({"input_ids": ROWS}, return_tensors="pt")
    wanted = model.generate(
        **padded, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0, renormalize_logits=False
    )[:, padded["input_ids"].shape[1] :]
    opened = OnnxWriter(students[kind] / "onnx" / "model.onnx", students[kind], threads=1, ends=())
    assert [list(one.ids) for one in opened.answers(ROWS, 12)] == wanted.tolist()
    assert all(one.end is None for one in opened.answers(ROWS, 2))


# ------------------------------------------------------------------------------------------- the file


def test_a_tied_head_is_stored_once(students: dict[str, Path]) -> None:
    folder = students["llama"]
    model, _ = load_causal(folder)
    table = {(len(WORDS) + 4, 32), (32, len(WORDS) + 4)}
    graph = onnx.load(folder / "onnx" / "model.onnx").graph
    assert len([one for one in graph.initializer if tuple(one.dims) in table]) == 1
    weights = sum(int(np.prod(one.dims)) for one in graph.initializer)
    assert weights <= 1.01 * parameters(model)
    small = onnx.load(folder / "onnx" / "model_int8.onnx").graph
    matrices = [one for one in small.initializer if len(one.dims) == 2 and not one.name.endswith("_scale")]
    assert len([one for one in matrices if tuple(one.dims) in table]) == 1
    assert {one.data_type for one in matrices} == {onnx.TensorProto.INT8}


def test_names_are_those_that_others_read(students: dict[str, Path]) -> None:
    graph = onnx.load(students["qwen2"] / "onnx" / "model_int8.onnx").graph
    past = [f"past_key_values.{layer}.{part}" for layer in range(2) for part in ("key", "value")]
    assert [one.name for one in graph.input] == ["input_ids", "attention_mask", "position_ids", *past]
    present = [name.replace("past_key_values", "present") for name in past]
    assert [one.name for one in graph.output] == ["logits", *present]
    axes = {one.name: [axis.dim_param for axis in one.type.tensor_type.shape.dim] for one in graph.input}
    assert axes["attention_mask"] == ["batch_size", "total_sequence_length"]
    assert {node.domain for node in graph.node} == {""}  # standard operators alone


def test_the_same_folder_gives_the_same_bytes(students: dict[str, Path], tmp_path: Path) -> None:
    folder = students["gpt2"]
    again = export_onnx(folder, tmp_path, ("int8",))
    assert list(again) == ["int8"]
    assert [path.name for path in tmp_path.iterdir()] == ["model_int8.onnx"]  # float32 was not asked for
    written = again["int8"].read_bytes()
    assert written == (folder / "onnx" / "model_int8.onnx").read_bytes()
    assert str(Path(write.__file__).parents[4]).encode() not in written


@pytest.mark.parametrize("width", [1, 31, 32, 40, 96])
def test_a_block_is_within_half_a_step(width: int) -> None:
    rows = np.random.default_rng(width).standard_normal((7, width)).astype(np.float32)
    rows[0], rows[1, 0] = 0, 1e4  # nothing at all; one that is loud drowns no other block
    stored, scale = quantize_rows_in_blocks(rows)
    wide = np.repeat(scale, BLOCK, axis=1)[:, :width]
    assert stored.shape == rows.shape and scale.shape == (7, -(-width // BLOCK))
    assert (np.abs(stored * wide - rows) <= wide * (0.5 + 1e-3)).all()
    assert (stored[0] == 0).all()


# ------------------------------------------------------------------------------------------- comparison and gate


def compared(folder: Path, file: Path, floors: Floors) -> Any:
    return compare_onnx(
        folder,
        file,
        prompts=[[{"role": "user", "content": f"say {word}"}] for word in tiny_chat.WORDS[:3]],
        texts=["say fine, and then say dull", "long and warm"],
        floors=floors,
        most=8,
        positions=12,
        threads=1,
    )


def test_a_taught_student_answers_and_stops_as_a_file(students: dict[str, Path]) -> None:
    folder = students["llama"]
    exact = compared(folder, folder / "onnx" / "model.onnx", FLOORS["fp32"])
    assert exact.passed, exact.reasons
    assert exact.agreeing == exact.stops == 1
    assert abs(exact.kl) < 1e-6 and not exact.wrong_ids
    assert {"given", "short", "accented", "emoji"} <= set(exact.by_shape)
    small = compared(folder, folder / "onnx" / "model_int8.onnx", FLOORS["int8"])
    assert small.passed, small.reasons
    assert 1e-6 < small.kl < FLOORS["int8"].kl  # 8 bits are not nothing


def test_what_does_not_agree_is_deleted_and_told_by_the_gate(students: dict[str, Path], tmp_path: Path) -> None:
    folder, files = students["llama"], {}
    for name in ("fp32", "int8"):
        made = onnx.load(folder / "onnx" / "model.onnx")
        if name == "int8":  # a layer of it is another
            weight = next(one for one in made.graph.initializer if len(one.dims) == 2 and 48 in one.dims)
            values = onnx.numpy_helper.to_array(weight)
            weight.CopyFrom(onnx.numpy_helper.from_array(-values, weight.name))
        files[name] = tmp_path / "onnx" / write.FILES[name]
        files[name].parent.mkdir(exist_ok=True)
        onnx.save(made, files[name])
    made = bottle("onnx", files, lambda kind, file: compared(folder, file, Floors(kl=1e-4)), runtime="onnxruntime")
    assert [one["passed"] for one in made.told] == [True, False]
    assert [path.name for path in (tmp_path / "onnx").iterdir()] == ["model.onnx"]
    assert {row.artifact for row in made.rows} == {"onnx-fp32", "onnx-int8"}
    gate = parity([made])
    assert gate is not None and gate.status == "failed" and "int8 is left out: distributions lie" in gate.words


def test_weights_too_large_for_one_file_are_compared_sealed_and_missed_with_their_graph(
    students: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "ONE_FILE", 0)
    bottle_folder = small_bottle.make(tmp_path / "bottle")
    files = export_onnx(students["llama"], bottle_folder / "onnx", KINDS)
    parts = [path for file in files.values() for path in saved.files_of(file)]
    assert [path.name for path in parts] == [
        "model.onnx",
        "model.onnx_data",
        "model_int8.onnx",
        "model_int8.onnx_data",
    ]
    floors = iter((FLOORS["fp32"], Floors(kl=-1)))  # the second can be reached by no file
    made = bottle("onnx", files, lambda _, file: compared(students["llama"], file, next(floors)), runtime="onnxruntime")
    assert made.agreed == ("fp32",)
    assert made.told[0]["bytes"] == sum(path.stat().st_size for path in parts[:2])
    assert sorted(path.name for path in (bottle_folder / "onnx").iterdir()) == ["model.onnx", "model.onnx_data"]
    (bottle_folder / "SHA256SUMS").unlink()
    seal_bottle(bottle_folder)
    assert verify_bottle(bottle_folder) == []
    with parts[1].open("r+b") as stream:
        stream.write(b"\x01\x02\x03")
    assert verify_bottle(bottle_folder) == ["changed: onnx/model.onnx_data"]
    parts[1].unlink()
    assert verify_bottle(bottle_folder) == ["missing: onnx/model.onnx_data"]


def test_weights_beside_their_graph_are_the_same_model(
    students: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "ONE_FILE", 0)
    beside = export_onnx(students["gpt2"], tmp_path, KINDS)
    for form, file in beside.items():
        apart = OnnxWriter(file, students["gpt2"], threads=1).begin(ROWS)
        assert np.array_equal(apart.logits, writer(students["gpt2"], form).begin(ROWS).logits)


def test_one_gate_speaks_for_all_formats() -> None:
    good = Bottled("gguf", (), (), ("f16", "q8_0"), (), "llama.cpp")
    bad = Bottled("onnx", (), (), ("fp32",), ("int8 is left out: too far",), "onnxruntime")
    assert parity([]) is None
    passed = parity([good, replace(bad, refused=())])
    assert passed is not None and passed.status == "passed"
    assert passed.words == "f16, q8_0 agree with the student in llama.cpp; fp32 agree with the student in onnxruntime"
    failed = parity([good, bad])
    assert failed is not None and failed.status == "failed"
    assert "`finish.onnx.kinds`" in failed.advice and "gguf" not in failed.advice


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("gpt_neox", {}, "models of type gpt_neox are not exported"),
        ("llama", {"architectures": ["MyModel"]}, "MyModel is not transformers' own LlamaForCausalLM"),
        ("llama", {"auto_map": {"AutoModel": "own.Model"}}, "is not transformers' own"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "'dynamic'"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "looks ahead"),
        ("gpt2", {"add_cross_attention": True}, "states of another model"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_the_training(kind: str, change: dict[str, Any], why: str) -> None:
    (problem,) = check_onnx(AutoConfig.for_model(kind, **change))
    assert why in problem.what
    assert "finish.onnx.kinds" in problem.fix or "save the student as" in problem.fix


def test_what_is_listed_and_plain_is_not_refused() -> None:
    for kind, given in material.MODELS.values():
        assert check_onnx(AutoConfig.for_model(kind, **given)) == ()


def test_a_graph_that_answers_otherwise_is_an_error(students: dict[str, Path]) -> None:
    """A model whose layers see more than the graph lets them see: a prompt longer than the window shows it."""
    folder = students["qwen2"]
    made, _ = load_causal(folder)
    write._check(made, folder, folder / "onnx" / "model.onnx")
    assert made.config.sliding_window == 8
    made.config.sliding_window = 40
    with pytest.raises(StillhouseError, match="logits lie"):
        write._check(made, folder, folder / "onnx" / "model.onnx")
