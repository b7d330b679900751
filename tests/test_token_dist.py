"""Stored distributions are right on average, sum to one, depend on no batch, and are refused where not theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import tiny_models
from read_token_dist import read as read_by_the_page
from stillhouse.errors import StillhouseError
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.ferment.sampling import sparse_rows, top_k_rows, uniforms
from stillhouse.signals import Distribution, Header, TokenDist, TokenDistWriter
from stillhouse.signals.rows import SHARES, Layout, SparseRows, decode, encode
from stillhouse.signals.token_dist import encode_dense

VOCABULARIES = (300, 49_152, 152_064)
HEADER = Header(teacher="t", tokenizer="k", template="c", vocabulary=300, precision="float32", m=12, always=(2, 7))


def _logits(rows: int, vocabulary: int, seed: int = 0) -> np.ndarray:
    """Peaked and flat rows, with the steep fall of a language model's."""
    random = np.random.default_rng([seed, vocabulary])
    fall = np.log(random.permutation(vocabulary) + 1.0)
    steep = np.linspace(0.3, 3.0, rows)[:, None]
    return (random.normal(size=(rows, vocabulary)) - steep * fall).astype(np.float32)


def _gold(rows: int, vocabulary: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 1]).integers(0, vocabulary, rows)


def _probs(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).double().softmax(-1).numpy()


def _sparse(logits: Any, gold: np.ndarray, layout: Layout, *, draw: int = 0, document: str = "d") -> SparseRows:
    numbers = uniforms(seed=0, draw=draw, document=document, length=len(gold), layout=layout)
    return sparse_rows(logits, gold, numbers, layout)


def _kept(logits: Any, gold: np.ndarray, layout: Layout, *, draw: int = 0) -> Distribution:
    return decode([encode(_sparse(logits, gold, layout, draw=draw), layout)], [gold], layout)[0]


# --- what is stored ---


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize(("k", "m"), [(1, 30), (8, 8), (12, 0), (0, 3), (40, 30)])
def test_a_reader_written_from_the_page_finds_the_same(tmp_path: Path, vocabulary: int, k: int, m: int) -> None:
    form = "sparse" if m else "top-k"
    header = replace(HEADER, vocabulary=vocabulary, k=k, m=m, form=form, always=(2, vocabulary - 1))
    logits, gold = _logits(7, vocabulary), _gold(7, vocabulary)
    gold[2] = 2  # the token that follows is one of those that are always exact
    ids = [5, *gold.tolist()]
    with TokenDistWriter(tmp_path, header) as writer:
        writer.add("d", ids, 1, encode(_sparse(logits, gold, header.layout), header.layout))
    found = TokenDist.open(tmp_path).read("d", ids)
    np.testing.assert_allclose(found.dense(vocabulary), read_by_the_page(tmp_path, "d", ids), atol=1e-6)
    np.testing.assert_allclose(found.probs.sum(axis=1), 1 if m else 1 - found.tail, atol=1e-6)


def test_the_mean_over_draws_is_the_teacher() -> None:
    """4,000 draws along 64 random directions, each |z| below 4.5: chance would fail this once in 2,300 tries."""
    layout, draws = HEADER.layout, 4000
    logits, gold = _logits(5, 300), _gold(5, 300)
    repeated = np.repeat(logits[None], draws, axis=0).reshape(-1, 300)
    numbers = np.concatenate([uniforms(seed=0, draw=n, document="d", length=5, layout=layout) for n in range(draws)])
    rows = sparse_rows(repeated, np.tile(gold, draws), numbers, layout)
    (kept,) = decode([encode(rows, layout)], [np.tile(gold, draws)], layout)
    errors = (kept.dense(300) - np.tile(_probs(logits), (draws, 1))).reshape(draws, -1)
    directions = np.random.default_rng(0).choice([-1.0, 1.0], size=(errors.shape[1], 64))
    along = errors @ directions
    z = along.mean(axis=0) / (along.std(axis=0, ddof=1) / np.sqrt(draws))
    assert np.abs(z).max() < 4.5
    assert 0.5 < (z**2).mean() < 1.7


def test_over_all_offsets_every_id_is_drawn_as_often_as_it_should() -> None:
    """Not by chance: the offsets are a grid, so that each frequency is exact to two steps of it."""
    layout, grid = Layout(300, 1, 12, ()), 2000
    logits = _logits(1, 300)
    numbers = uniforms(seed=0, draw=0, document="d", length=grid, layout=layout)
    numbers[:, 0] = (np.arange(grid) + 0.5) / grid
    rows = sparse_rows(np.repeat(logits, grid, axis=0), np.full(grid, 4), numbers, layout)
    (number,) = set(rows.draws.tolist())
    often = np.bincount(rows.draw_ids[:, :number].reshape(-1), minlength=300) / grid
    exact = {4, *rows.exact_ids[0, : rows.exact[0]].tolist()}
    probs = _probs(logits)[0]
    tail = 1 - probs[list(exact)].sum()
    expected = np.array([0 if token in exact else p * number / tail for token, p in enumerate(probs)])
    np.testing.assert_allclose(often, expected, atol=2 / grid)
    assert number == round(12 * tail)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_likely_tokens_and_those_that_are_always_asked_about_are_exact(vocabulary: int) -> None:
    layout = Layout(vocabulary, 3, 20, (2, 7))
    logits, gold = _logits(9, vocabulary), _gold(9, vocabulary)
    kept, probs = _kept(logits, gold, layout), _probs(logits)
    np.testing.assert_array_equal(kept.ids[:, 0], gold)
    np.testing.assert_array_equal(kept.ids[:, 1:3], np.tile([2, 7], (9, 1)))
    for row in range(9):
        exact = kept.ids[row, : kept.exact[row]]
        assert len(set(exact.tolist())) == len(exact)
        assert {*np.flatnonzero(probs[row] >= 1 / 20), *np.argsort(-probs[row])[:3]} <= set(exact.tolist())
        true, found = probs[row, exact], kept.probs[row, : kept.exact[row]]
        np.testing.assert_allclose(found, true, rtol=0.3, atol=2e-7)
        np.testing.assert_allclose(found[true > 0.1], true[true > 0.1], rtol=0.08)
        drawn = kept.ids[row, kept.exact[row] :][kept.probs[row, kept.exact[row] :] > 0]
        assert not set(drawn.tolist()) & set(exact.tolist())
        np.testing.assert_allclose(found.sum() + kept.tail[row], 1, atol=1e-6)


def test_shares_rise_and_have_both_ends() -> None:
    assert (np.diff(SHARES) > 0).all()
    assert (SHARES[0], SHARES[-1]) == (0, 1)
    np.testing.assert_allclose(SHARES + SHARES[::-1], 1)


def test_chunks_batches_and_libraries_do_not_change_a_byte() -> None:
    layout = HEADER.layout
    logits, gold = _logits(11, 300), _gold(11, 300)
    numbers = uniforms(seed=0, draw=0, document="d", length=11, layout=layout)
    whole = encode(sparse_rows(logits, gold, numbers, layout), layout)
    for size in (1, 4, 11):
        parts = [slice(at, at + size) for at in range(0, 11, size)]
        rows = [sparse_rows(torch.from_numpy(logits[part]), gold[part], numbers[part], layout) for part in parts]
        assert encode(SparseRows.joined(rows), layout) == whole
    order = np.random.default_rng(0).permutation(11)
    back = np.argsort(order)
    mixed = sparse_rows(logits[order], gold[order], numbers[order], layout)
    assert encode(SparseRows(*(field[back] for field in vars(mixed).values())), layout) == whole


def test_logits_are_left_alone_unless_told_otherwise() -> None:
    logits = torch.from_numpy(_logits(3, 512))
    before = logits.clone()
    first = _kept(logits, _gold(3, 512), Layout(512, 1, 12, ()))
    assert torch.equal(logits, before)
    numbers = uniforms(seed=0, draw=0, document="d", length=3, layout=Layout(512, 1, 12, ()))
    rows = sparse_rows(logits, _gold(3, 512), numbers, Layout(512, 1, 12, ()), overwrite=True)
    (second,) = decode([encode(rows, Layout(512, 1, 12, ()))], [_gold(3, 512)], Layout(512, 1, 12, ()))
    np.testing.assert_array_equal(first.probs, second.probs)


def test_a_fresh_draw_differs_and_the_same_one_does_not() -> None:
    layout, logits, gold = HEADER.layout, _logits(6, 300), _gold(6, 300)
    first, again, fresh = (_kept(logits, gold, layout, draw=draw) for draw in (0, 0, 1))
    np.testing.assert_array_equal(first.ids, again.ids)
    assert (first.exact == fresh.exact).all()
    assert first.dense(300).tolist() != fresh.dense(300).tolist()


def test_temperature_divides_the_logits() -> None:
    layout, logits, gold = Layout(300, 300, 0, ()), _logits(4, 300), _gold(4, 300)
    numbers = uniforms(seed=0, draw=0, document="d", length=4, layout=layout)
    rows = sparse_rows(logits, gold, numbers, layout, temperature=2.5)
    (kept,) = decode([encode(rows, layout)], [gold], layout)
    assert np.abs(kept.dense(300) - _probs(logits / 2.5)).max() < 0.02


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    logits = _logits(3, 300)
    logits[1, 40] = bad
    with pytest.raises(StillhouseError, match="not numbers"):
        _sparse(logits, _gold(3, 300), HEADER.layout)


def test_certain_and_impossible_tokens_are_kept_as_they_are() -> None:
    logits = np.full((2, 300), -np.inf, dtype=np.float32)
    logits[0, 9] = 0.0  # certain
    logits[1, [4, 5]] = 0.0  # either of two
    kept = _kept(logits, np.array([9, 4]), HEADER.layout).dense(300)
    assert kept[0, 9] == 1
    assert kept[1, [4, 5]].sum() == pytest.approx(1)
    assert (kept > 0).sum() <= 3


def test_what_an_api_lists_is_kept_with_the_mass_that_it_does_not_list() -> None:
    layout = Layout(300, 3, 0, ())
    ids = np.array([[5, 9, 2], [7, 1, 0]])
    log_probs = np.log(np.array([[0.5, 0.2, 0.1], [0.9, 0.05, 1.0]]))
    log_probs[1, 2] = -np.inf  # the API listed two only
    numbers = uniforms(seed=0, draw=0, document="d", length=2, layout=layout)
    rows = top_k_rows(ids, log_probs, [9, 30], np.log([0.2, 0.01]), numbers, layout)
    (kept,) = decode([encode(rows, layout)], [np.array([9, 30])], layout)
    dense = kept.dense(300)
    np.testing.assert_allclose(dense[0, [5, 9, 2]], [0.5, 0.2, 0.1], rtol=0.1)
    np.testing.assert_allclose(dense[1, [7, 1, 30]], [0.9, 0.05, 0.01], rtol=0.15)
    np.testing.assert_allclose(kept.tail, 1 - dense.sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(kept.tail, [0.2, 0.04], rtol=0.3)


# --- files ---


def _store(folder: Path, documents: dict[str, list[int]], header: Header = HEADER, **options: int) -> None:
    with TokenDistWriter(folder, header, **options) as writer:
        for name, ids in documents.items():
            if name not in writer:
                gold = np.array(ids[1:], dtype=np.int64)
                logits = _logits(len(gold), header.vocabulary, seed=len(name))
                rows = _sparse(logits, gold, header.layout, document=name)
                writer.add(name, ids, 1, encode(rows, header.layout))


DOCUMENTS = {"one": [1, 2, 3, 4], "two": [9], "": [], "three": [4, 2, 7, 299, 0, 0, 5], "vier ü": [3, 5]}


def test_documents_of_any_length_come_back_alone_and_together(tmp_path: Path) -> None:
    _store(tmp_path, DOCUMENTS)
    signal = TokenDist.open(tmp_path)
    assert (set(signal.ids), len(signal), signal.tokens()) == (set(DOCUMENTS), 5, 10)
    for order in (list(DOCUMENTS), list(reversed(DOCUMENTS))):
        together = signal.read_many([(name, DOCUMENTS[name]) for name in order])
        for name, rows in zip(order, together, strict=True):
            alone = signal.read(name, DOCUMENTS[name])
            assert len(rows) == len(alone) == max(0, len(DOCUMENTS[name]) - 1)
            np.testing.assert_array_equal(rows.dense(300), alone.dense(300))
            np.testing.assert_allclose(rows.dense(300), read_by_the_page(tmp_path, name, DOCUMENTS[name]), atol=1e-6)
    assert signal.read_many([]) == []


def test_a_writer_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    with pytest.raises(Killed), TokenDistWriter(tmp_path, HEADER, file_bytes=1) as writer:
        writer.add("kept", [1, 2], 1, encode(_sparse(_logits(1, 300), np.array([2]), HEADER.layout), HEADER.layout))
        raise Killed
    (tmp_path / "signals" / "token_dist" / ".00001.arrow.7.part").write_bytes(b"half a file")
    _store(tmp_path, {"kept": [8, 8, 8], **DOCUMENTS})
    signal = TokenDist.open(tmp_path)
    assert set(signal.ids) == {"kept", *DOCUMENTS}
    assert len(signal.read("kept", [1, 2])) == 1
    with TokenDistWriter(tmp_path, HEADER) as writer, pytest.raises(ValueError, match="already"):
        writer.add("kept", [1, 2], 1, b"")


def test_another_header_is_refused_by_reader_and_writer(tmp_path: Path) -> None:
    _store(tmp_path, DOCUMENTS)
    other = {"teacher": "u", "tokenizer": "x", "template": "", "vocabulary": 301, "precision": "bfloat16"}
    other |= {"k": 2, "m": 13, "always": (2,), "temperature": 2.0, "seed": 1, "draw": 1, "form": "dense"}
    assert set(other) == set(vars(HEADER))
    for name, value in other.items():
        with pytest.raises(StillhouseError, match=name):
            TokenDist.open(tmp_path, expect={name: value})
        changed = {"form": "dense", "m": 0} if name == "form" else {name: value}
        with pytest.raises(StillhouseError, match=name):
            TokenDistWriter(tmp_path, replace(HEADER, **changed))
    with pytest.raises(StillhouseError) as raised:
        TokenDist.open(tmp_path, expect=other)
    assert len(raised.value.problems) == len(other)
    TokenDist.open(tmp_path, expect=vars(HEADER))


@pytest.mark.parametrize("field", [{"m": 0}, {"form": "top-k"}, {"always": (3, 3)}, {"always": (300,)}, {"k": -1}])
def test_headers_that_make_no_sense_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(StillhouseError, match="no header"):
        replace(HEADER, **field)


def test_other_tokens_other_documents_and_other_starts_are_refused(tmp_path: Path) -> None:
    _store(tmp_path, DOCUMENTS)
    signal = TokenDist.open(tmp_path)
    for ids in ([1, 2, 3, 5], [0, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4, 5]):
        with pytest.raises(StillhouseError, match="other tokens"):
            signal.read("one", ids)
    with pytest.raises(StillhouseError, match="other tokens"):
        signal.read("one", DOCUMENTS["one"], start=2)
    with pytest.raises(StillhouseError, match="has no token distributions"):
        signal.read("five", [1, 2])
    with pytest.raises(StillhouseError, match="there are no"):
        TokenDist.open(tmp_path / "elsewhere")


def test_a_file_of_another_store_or_read_twice_is_refused(tmp_path: Path) -> None:
    _store(tmp_path, DOCUMENTS)
    folder = tmp_path / "signals" / "token_dist"
    (folder / "00001.arrow").write_bytes((folder / "00000.arrow").read_bytes())
    with pytest.raises(StillhouseError, match="twice"):
        TokenDist.open(tmp_path)
    _store(tmp_path / "other", {"six": [1, 2]}, replace(HEADER, seed=5))
    (folder / "00001.arrow").write_bytes((tmp_path / "other/signals/token_dist/00000.arrow").read_bytes())
    with pytest.raises(StillhouseError, match="seed"):
        TokenDist.open(tmp_path)


def test_no_changed_byte_changes_an_answer_unseen(tmp_path: Path) -> None:
    """One byte is changed at a time, all over the file: reading is refused, or gives what was written."""
    _store(tmp_path, DOCUMENTS)
    (path,) = (tmp_path / "signals" / "token_dist").iterdir()
    good = path.read_bytes()
    expected = {name: TokenDist.open(tmp_path).read(name, ids).dense(300) for name, ids in DOCUMENTS.items()}
    refused = 0
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            signal = TokenDist.open(tmp_path)
            for name, ids in DOCUMENTS.items():
                np.testing.assert_array_equal(signal.read(name, ids).dense(300), expected[name])
        except StillhouseError:
            refused += 1
    assert refused > len(good) / 7 / 4
    for size in (0, 5, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(StillhouseError, match="torn"):
            TokenDist.open(tmp_path)


def test_the_dense_form_is_the_softmax(tmp_path: Path) -> None:
    header, probs = replace(HEADER, form="dense", m=0), _probs(_logits(3, 300))
    with TokenDistWriter(tmp_path, header) as writer:
        writer.add("d", [1, 2, 3, 4], 1, encode_dense(probs))
    kept = TokenDist.open(tmp_path).read("d", [1, 2, 3, 4])
    np.testing.assert_array_equal(kept.dense(300), probs.astype(np.float32))
    np.testing.assert_array_equal(kept.dense(300), read_by_the_page(tmp_path, "d", [1, 2, 3, 4]))


# --- from a real model ---

_SIZE = {"vocab_size": 300, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


def _model(kind: str, **more: Any) -> Any:
    return tiny_models.decoder(kind, **_SIZE, **_HEADS, **more)


def _documents(lengths: tuple[int, ...]) -> list[tuple[str, list[int]]]:
    random = np.random.default_rng(0)
    return [(f"d{length}", random.integers(0, 300, length).tolist()) for length in lengths]


@pytest.mark.parametrize(("kind", "more"), [("llama", {}), ("gemma2", {"final_logit_softcapping": 3.0, "head_dim": 6})])
def test_what_is_captured_is_what_the_model_says(tmp_path: Path, kind: str, more: dict[str, Any]) -> None:
    model, documents = _model(kind, **more), _documents((5, 1, 0, 17, 64, 33, 16))
    with TokenDistWriter(tmp_path, replace(HEADER, form="dense", m=0)) as writer:
        captured = capture_distributions(model, documents, writer=writer, chunk=7, batch_tokens=70)
    assert (captured.documents, captured.tokens, captured.failures) == (7, 4 + 16 + 63 + 32 + 15, ())
    signal = TokenDist.open(tmp_path)
    for name, ids in documents:
        kept = signal.read(name, ids)
        assert len(kept) == max(0, len(ids) - 1)
        if len(kept):
            plain = model(input_ids=torch.tensor([ids])).logits[0, :-1].softmax(-1).numpy()
            np.testing.assert_allclose(kept.dense(300), plain, atol=2e-5)


def test_order_and_chunks_change_no_byte_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    model, documents = _model("llama"), _documents((5, 9, 17, 33))
    blobs = []
    for name, order, chunk in (("a", documents, 256), ("b", documents[::-1], 5)):
        with TokenDistWriter(tmp_path / name, HEADER) as writer:
            capture_distributions(model, order, writer=writer, chunk=chunk)
            again = capture_distributions(model, order, writer=writer)
        assert (again.documents, again.tokens) == (0, 0)
        table = pa.ipc.open_file(tmp_path / name / "signals" / "token_dist" / "00000.arrow").read_all()
        blobs.append({row["id"]: row["blob"] for row in table.to_pylist()})
    assert blobs[0] == blobs[1]


def test_a_document_that_fails_is_listed_and_the_others_are_kept(tmp_path: Path) -> None:
    model, documents = _model("llama"), _documents((5, 9, 65, 12))
    others = {*documents[0][1], *documents[3][1]}
    broken = next(token for token in documents[1][1][:-1] if token not in others)
    model.get_input_embeddings().weight.data[broken] = torch.nan
    with TokenDistWriter(tmp_path, HEADER) as writer:
        captured = capture_distributions(model, documents, writer=writer)
    reasons = dict(captured.failures)
    assert "not numbers" in reasons["d9"]
    assert "takes 64" in reasons["d65"]
    assert set(TokenDist.open(tmp_path).ids) == {"d5", "d12"}
    assert captured.documents + len(captured.failures) == len(documents)


def test_a_header_about_another_head_is_refused(tmp_path: Path) -> None:
    with (
        TokenDistWriter(tmp_path, replace(HEADER, vocabulary=301)) as writer,
        pytest.raises(StillhouseError, match="300 outputs"),
    ):
        capture_distributions(_model("llama"), [], writer=writer)
