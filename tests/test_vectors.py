"""Vectors come back within the stated error, by id, and are refused when they are not what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stillhouse.errors import StillhouseError
from stillhouse.signals import Vectors

HEADER = {"teacher": "t", "pooling": "mean"}
IDS = ("b", "a", "c", "d")


def _vectors() -> Vectors:
    values = np.random.default_rng(0).normal(size=(4, 33)).astype(np.float32)
    values *= np.array([[1e-6], [1.0], [300.0], [0.0]], dtype=np.float32)
    return Vectors(IDS, tuple("wxyz"), values, HEADER)


def _file(folder: Path) -> Path:
    return folder / "signals" / "vectors.arrow"


def test_what_is_written_in_8_bits_is_read_to_half_a_step(tmp_path: Path) -> None:
    given = _vectors()
    given.write(tmp_path, "int8")
    found = Vectors.read(tmp_path, expect=HEADER)
    assert (found.ids, found.asked, dict(found.header)) == (tuple("abcd"), tuple("xwyz"), HEADER)
    error = np.abs(found.values_for(IDS) - given.values)
    assert (error <= np.abs(given.values).max(axis=1, keepdims=True) / 253).all()


def test_what_is_written_in_float16_is_read_to_its_precision(tmp_path: Path) -> None:
    given = _vectors()
    given.write(tmp_path, "float16")
    found = Vectors.read(tmp_path).values_for(IDS)
    np.testing.assert_array_equal(found, given.values.astype(np.float16).astype(np.float32))


def test_bytes_a_row(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2000, 384)).astype(np.float32)
    ids = tuple(f"{row:032x}" for row in range(2000))
    sizes = {}
    for precision in ("float16", "int8"):
        Vectors(ids, ids, values, HEADER).write(tmp_path, precision)
        sizes[precision] = _file(tmp_path).stat().st_size / 2000
    assert sizes["int8"] < 384 + 80
    assert sizes["float16"] < 2 * 384 + 80


def test_no_vectors_are_vectors_too(tmp_path: Path) -> None:
    Vectors((), (), np.zeros((0, 5), np.float32), HEADER).write(tmp_path, "int8")
    assert Vectors.read(tmp_path).values_for([]).shape == (0, 5)


@pytest.mark.parametrize(("bad", "precision"), [(np.nan, "int8"), (np.inf, "float16"), (1e6, "float16")])
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, bad: float, precision: str) -> None:
    values = np.ones((2, 3), np.float32)
    values[1, 2] = bad
    with pytest.raises(StillhouseError, match="document q"):
        Vectors(("p", "q"), ("", ""), values, HEADER).write(tmp_path, precision)  # type: ignore[arg-type]
    assert not _file(tmp_path).exists()


def test_another_header_or_a_missing_document_is_refused(tmp_path: Path) -> None:
    _vectors().write(tmp_path, "int8")
    with pytest.raises(StillhouseError, match="teacher 't', not 'u'"):
        Vectors.read(tmp_path, expect={"teacher": "u"})
    with pytest.raises(StillhouseError, match="1 documents have no vector, the first is e"):
        Vectors.read(tmp_path).values_for(["a", "e"])
    with pytest.raises(StillhouseError, match="cannot be read"):
        Vectors.read(tmp_path / "elsewhere")


def test_no_changed_byte_changes_an_answer_unseen(tmp_path: Path) -> None:
    _vectors().write(tmp_path, "int8")
    good, expected = _file(tmp_path).read_bytes(), Vectors.read(tmp_path)
    refused = 0
    for place in range(0, len(good), 5):
        _file(tmp_path).write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            found = Vectors.read(tmp_path, expect=HEADER)
            assert (found.ids, found.asked) == (expected.ids, expected.asked)
            np.testing.assert_array_equal(found.values, expected.values)
        except StillhouseError:
            refused += 1
    assert refused > len(good) / 5 / 4
