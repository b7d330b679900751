"""Reading loses no row and invents none."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples import examples
from stillhouse.errors import StillhouseError
from stillhouse.raw.sources import Row, Unreadable, read

BOM = b"\xef\xbb\xbf"
RECORDS: list[dict[str, object]] = [
    {"text": "first", "label": "a"},
    {"text": "zwei – “drei” 🥃", "label": "b"},
    {"text": "line\u2028par\u2029next\u0085end", "label": "a"},
]
WORDS = ["NA", "None", "null", "nan", "yes"]
# each example writes its file anew
quick = settings(
    examples(1.5), suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture]
)


def rows_of(path: Path, **options: Any) -> list[Row | Unreadable]:
    return list(read([path], name="s", **options))


def values_of(path: Path, **options: Any) -> list[dict[str, object]]:
    found = rows_of(path, **options)
    assert all(isinstance(row, Row) for row in found), found
    return [row.values for row in found if isinstance(row, Row)]


def put(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return path


def jsonl(records: Iterable[object]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode("utf-8")


def array(records: Sequence[object]) -> bytes:
    return json.dumps(records, ensure_ascii=False).encode("utf-8")


def table(records: Sequence[dict[str, object]], delimiter: str = ",", end: str = "\r\n") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(records[0]), delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode("utf-8")


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


def reason(row: Row | Unreadable) -> str:
    assert isinstance(row, Unreadable), row
    return row.reason


# --- the same rows, however they are wrapped ---------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv"])
@pytest.mark.parametrize("wrap", [bytes, lambda data: BOM + data, gzip.compress, zstd, lambda data: zstd(BOM + data)])
def test_wrapping_changes_no_row(tmp_path: Path, ending: str, wrap: Any) -> None:
    plain = {
        "jsonl": jsonl(RECORDS),
        "json": array(RECORDS),
        "csv": table(RECORDS),
        "tsv": table(RECORDS, "\t"),
    }[ending]
    # the name says nothing of the compression: the first bytes do
    assert values_of(put(tmp_path / f"rows.{ending}", wrap(plain))) == RECORDS
    assert values_of(put(tmp_path / f"rows.{ending}.gz", wrap(plain))) == RECORDS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_encoding_changes_no_row(tmp_path: Path, encoding: str, ending: str) -> None:
    records: list[dict[str, object]] = [*RECORDS, {"text": "\u0a0a and \u0a00 hold a line feed's bytes", "label": "a"}]
    plain = {"jsonl": jsonl(records), "json": array(records), "csv": table(records)}[ending]
    path = put(tmp_path / f"rows.{ending}", plain.decode("utf-8").encode(encoding))
    assert values_of(path, encoding=encoding) == records


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_line_feed_ends_a_line(tmp_path: Path, end: str) -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1eg\rh"
    assert values_of(put(tmp_path / "a.txt", f"{text}{end}{end} \t{end}last")) == [{"text": text}, {"text": "last"}]
    assert [row.origin for row in rows_of(tmp_path / "a.txt")] == ["s:1", "s:4"]


def test_the_locale_changes_no_row(tmp_path: Path) -> None:
    put(tmp_path / "rows.csv", table(RECORDS))
    code = (
        "import sys; from pathlib import Path; from stillhouse.raw.sources import read\n"
        "print(ascii([row.values for row in read([Path(sys.argv[1])], name='s')]))"
    )
    environment = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(tmp_path / "rows.csv")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii(RECORDS)


# --- cells stay what they are ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("quoting", [True, False])
def test_words_that_look_missing_stay_words(tmp_path: Path, ending: str, quoting: bool) -> None:
    mark = "," if ending == "csv" else "\t"
    lines = [f"text{mark}label", *(f"{word}{mark}{word}" for word in WORDS), f"kept{mark}", f"{mark}"]
    found = values_of(put(tmp_path / f"a.{ending}", "\n".join(lines)), quoting=quoting)
    assert [row["label"] for row in found] == [*WORDS, None, None]
    assert [row["text"] for row in found] == [*WORDS, "kept", None]


def test_columns_are_mixed_or_null_for_long_without_a_schema(tmp_path: Path) -> None:
    records = [{"system": None if i < 15_000 else "text", "n": i if i % 2 else str(i)} for i in range(20_000)]
    assert values_of(put(tmp_path / "a.jsonl", jsonl(records))) == records


def test_a_quoted_line_end_belongs_to_its_cell(tmp_path: Path) -> None:
    records: list[dict[str, object]] = [
        {"text": 'one\r\ntwo\n"three"\rfour', "label": "a"},
        {"text": "next", "label": "b"},
    ]
    for end in ("\n", "\r\n"):
        path = put(tmp_path / "a.csv", table(records, end=end))
        assert values_of(path) == records
        assert [row.origin for row in rows_of(path)] == ["s:2", "s:5"]


def test_without_quoting_a_quotation_mark_is_text(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", '"Great" film\t1\r\n5" nail\t2\n"open\t3\n')
    found = values_of(path, fields=["text", "label"], quoting=False)
    assert [row["text"] for row in found] == ['"Great" film', '5" nail', '"open']


def test_huge_cells_are_read(tmp_path: Path) -> None:
    text = "x" * 300_000
    assert values_of(put(tmp_path / "a.csv", f'text\n"{text}"\n{text}')) == [{"text": text}] * 2


def test_header_names_are_clean(tmp_path: Path) -> None:
    assert values_of(put(tmp_path / "a.csv", BOM + b",text, label\n0,fine,yes\n")) == [
        {"column_1": "0", "text": "fine", "label": "yes"}
    ]


# --- what cannot be read is a row with a reason ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"text": "cut of', "not JSON"),
        (b'["a"]', "array"),
        (b'"a"', "string"),
        (b"12", "number"),
        (b"null", "null"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"t": [{"\\uDC00": 1}]}', "surrogate"),
        (b'{"text": "a", "text": "b"}', "twice"),
        (b'{"text": "\xff"}', "at byte 26"),
        (b'{"n": ' + b"1" * 5000 + b"}", "digits"),
        (b"[" * 100_000, "deep"),
        ("\u2028".encode(), "not JSON"),
    ],
)
@pytest.mark.parametrize("last", [b"", b"\n", b'\n{"text": "after"}\n'])
def test_one_bad_json_line_costs_one_row(tmp_path: Path, line: bytes, why: str, last: bytes) -> None:
    first, bad, *rest = rows_of(put(tmp_path / "a.jsonl", b'{"text": "bef"}\n' + line + last))
    assert isinstance(first, Row)
    assert why in reason(bad) and bad.origin == "s:2" and len(getattr(bad, "raw", "")) <= 500
    assert [row.values for row in rest if isinstance(row, Row)] == ([{"text": "after"}] if len(last) > 1 else [])


def test_a_paired_surrogate_escape_is_a_character(tmp_path: Path) -> None:
    assert values_of(put(tmp_path / "a.jsonl", '{"text": "\\ud83e\\udd43 \\\\ud800"}')) == [{"text": "🥃 \\ud800"}]


def test_wrong_cell_counts_are_named(tmp_path: Path) -> None:
    found = rows_of(put(tmp_path / "a.csv", "a,b\n1,2\n1,2,3\n1\n3,4"))
    assert [reason(row) for row in found[1:3]] == ["3 cells for 2 columns", "1 cell for 2 columns"]
    assert [row.origin for row in found] == ["s:2", "s:3", "s:4", "s:5"]


@pytest.mark.parametrize("stray", ['"never closed,1', '"He said "hi",1', '"a" b,1', "lone\rreturn,1"])
def test_a_stray_mark_costs_its_own_line(tmp_path: Path, stray: str) -> None:
    good = [f"row {i},{i}" for i in range(50)]
    found = rows_of(put(tmp_path / "a.csv", "\n".join(["text,n", *good[:20], stray, *good[20:]])))
    assert [row.origin for row in found if isinstance(row, Unreadable)] == ["s:22"]
    assert [row.values["text"] for row in found if isinstance(row, Row)] == [f"row {i}" for i in range(50)]


def test_the_rest_of_a_broken_record_is_not_taken_for_a_row(tmp_path: Path) -> None:
    found = rows_of(put(tmp_path / "a.csv", 'text,n\n"He said "hi"\nand left",1\nfine,2\n'))
    assert [type(row) for row in found] == [Unreadable, Unreadable, Row]


def test_undecodable_lines_are_named_by_byte(tmp_path: Path) -> None:
    found = rows_of(put(tmp_path / "a.csv", b"text,n\nfine,1\ncaf\xe9,2\nfine,3\n"))
    assert [type(row) for row in found] == [Row, Unreadable, Row]
    assert reason(found[1]) == "not valid utf-8 at byte 17"
    assert values_of(tmp_path / "a.csv", encoding="cp1252")[1] == {"text": "café", "n": "2"}


# --- a file at fault stops the reading ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.jsonl", b"", "empty"),
        ("a.parquet", b"", "empty"),
        ("a.arrow", b"", "empty"),
        ("a.jsonl", b"\n \n\r\n", "no row"),
        ("a.csv", b"text,label\n", "no row"),
        ("a.csv", b"\n", "header"),
        ("a.csv", b"text,text\n1,2\n", "'text'"),
        ("a.csv", b'"text\n1,2\n', "header"),
        ("a.csv", b"caf\xe9,b\n1,2\n", "header"),
        ("a.jsonl", b'{"a": 1}\n\0\0\0\0', "binary"),
        ("a.jsonl", b'{"a": 1}\n' * 20_000 + b"\0\0\0\0", "zero bytes"),
        ("a.csv", bytes(range(128, 256)) * 30, "binary"),
        ("a.csv", b"na\xefve caf\xe9,1\n" * 30, "most lines"),
        ("a.csv", "text,n\né,1\n".encode("utf-16"), "UTF-16"),
        ("a.csv.gz", gzip.compress(b"text\n" + bytes(range(32, 127)) * 50)[:-12], "cannot be read"),
        ("a.csv.zst", zstd(b"text\n" + b"abc\n" * 50)[:-3], "cannot be read"),
        ("a.json", b'[{"a": 1}, {"a": ]', "element 2"),
        ("a.json", b'[{"a": 1} {"a": 2}]', "element 1"),
        ("a.json", b'[{"a": 1}] {}', "end of the array"),
        ("a.json", b'[{"a": 1}, {"a": "x', "element 2"),
        ("a.json", b"[]", "no row"),
        ("a.json", b'{\n  "a": 1\n}', "over many lines"),
        ("a.parquet", b"PAR1 but torn", "Parquet"),
        ("a.arrow", b"ARROW1 but torn", "Arrow"),
        ("a.arrow", b"not arrow at all", "Arrow"),
        ("a.feather", b"FEA1....", "version 1"),
        ("a.dat", b"text", "'.dat'"),
    ],
)
def test_a_file_at_fault_is_an_error_with_a_cure(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    with pytest.raises(StillhouseError, match=what) as raised:
        rows_of(put(tmp_path / name, data))
    problem = raised.value.problems[0]
    assert str(tmp_path / name) in problem.where and problem.fix


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.parquet", "a.arrow", "a"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(StillhouseError, match="cannot be read"):
        rows_of(tmp_path / name)


@pytest.mark.parametrize("encoding", ["no-such", "hex", "rot13", "\0"])
def test_an_unknown_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(StillhouseError, match="text encoding"):
        rows_of(put(tmp_path / "a.jsonl", b"{}"), encoding=encoding)


def test_fields_are_for_delimited_files(tmp_path: Path) -> None:
    with pytest.raises(StillhouseError, match="fields"):
        rows_of(put(tmp_path / "a.jsonl", b"{}"), fields=["a"])


def test_a_closed_reader_closes_its_file(tmp_path: Path) -> None:
    for path in (put(tmp_path / "a.jsonl", jsonl(RECORDS)), put(tmp_path / "a.csv.gz", gzip.compress(table(RECORDS)))):
        rows = read([path], name="s")
        next(rows)
        rows.close()  # type: ignore[attr-defined]
        path.unlink()


# --- JSON arrays, tables, several files --------------------------------------------------------------------------


def test_an_array_is_read_piece_by_piece(tmp_path: Path) -> None:
    records: list[object] = [{"text": "x" * (i % 3000), "n": i} for i in range(400)]
    records[7] = {"text": "y" * 300_000}
    records[300] = 12345
    for indent in (None, 2):
        path = put(tmp_path / "a.json", json.dumps(records, indent=indent))
        found = rows_of(path)
        assert [row.origin for row in found] == [f"s:{i}" for i in range(1, 401)]
        assert "number" in reason(found.pop(300))
        assert [row.values for row in found if isinstance(row, Row)] == records[:300] + records[301:]


def test_parquet_and_arrow_hold_the_same_rows(tmp_path: Path) -> None:
    records = [{"text": f"t{i}", "n": i if i % 7 else None, "more": [1.5, None], "s": {"a": True}} for i in range(2500)]
    whole = pa.Table.from_pylist(records)
    pq.write_table(whole, tmp_path / "a.parquet", row_group_size=700)
    with pa.ipc.new_stream(tmp_path / "a.arrow", whole.schema) as stream:
        stream.write_table(whole, max_chunksize=1100)
    with pa.ipc.new_file(tmp_path / "a.feather", whole.schema) as file:
        file.write_table(whole)
    pq.write_table(whole, tmp_path / "plain")
    for name in ("a.parquet", "a.arrow", "a.feather", "plain"):
        assert values_of(tmp_path / name) == records
        assert rows_of(tmp_path / name)[-1].origin == "s:2500"


def test_table_values_are_plain(tmp_path: Path) -> None:
    columns = {
        "when": pa.array([1, None], pa.timestamp("ns")),
        "zoned": pa.array([0, 1], pa.timestamp("ns", tz="Europe/Berlin")),
        "day": pa.array([0, None], pa.date32()),
        "took": pa.array([5, 6], pa.duration("ns")),
        "raw": pa.array([b"fine", b"\xff"]),
        "word": pa.array(["a", "b"]).dictionary_encode(),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    first, second = values_of(tmp_path / "a.parquet")
    assert json.loads(json.dumps([first, second])) == [first, second]
    assert first["when"] == "1970-01-01 00:00:00.000000001" and first["day"] == "1970-01-01"
    assert (first["raw"], second["raw"], second["word"], second["when"]) == ("fine", "/w==", "b", None)


def test_invalid_text_in_a_table_costs_its_row(tmp_path: Path) -> None:
    text = pa.StringArray.from_buffers(
        3, pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 1, 2, 3))), pa.py_buffer(b"a\xffb")
    )
    with pa.ipc.new_stream(tmp_path / "a.arrow", pa.schema([("text", pa.string())])) as stream:
        stream.write_batch(pa.RecordBatch.from_arrays([text], names=["text"]))
    found = rows_of(tmp_path / "a.arrow")
    assert [type(row) for row in found] == [Row, Unreadable, Row] and "'text'" in reason(found[1])


def test_a_saved_data_set_is_its_listed_files(tmp_path: Path) -> None:
    order = ("test", "train")
    for split in order:
        folder = tmp_path / "set" / split
        folder.mkdir(parents=True)
        for name in ("data-00000-of-00001.arrow", "cache-1234.arrow"):
            whole = pa.table({"text": [split + name]})
            with pa.ipc.new_stream(folder / name, whole.schema) as stream:
                stream.write_table(whole)
        (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
        (folder / "dataset_info.json").write_text("{}")
    (tmp_path / "set" / "dataset_dict.json").write_text("{}")
    every = sorted(path for path in (tmp_path / "set").rglob("*") if path.is_file())
    for files in ([tmp_path / "set"], every):
        found = list(read(files, name="s"))
        assert [row.origin for row in found] == [f"s:{split}/data-00000-of-00001.arrow:1" for split in order]


def test_origins_of_several_files_are_unique(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    files = [put(tmp_path / "a.jsonl", jsonl(RECORDS)), put(tmp_path / "b" / "a.jsonl", jsonl(RECORDS))]
    found = [row.origin for row in read(files, name="movie")]
    assert found[0] == "movie:a.jsonl:1" and found[-1] == "movie:b/a.jsonl:3" and len(set(found)) == 6


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str) -> None:
    records: list[dict[str, object]] = [{"text": f"{i} " + "x" * 1000} for i in range(20_000)]  # 20 MB
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        write: dict[str, Callable[[Any], bytes]] = {"jsonl": jsonl, "json": array, "csv": table}
        put(path, write[ending](records))
    del records
    tracemalloc.start()
    try:
        assert sum(1 for _ in read([path], name="s")) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# --- laws over arbitrary input -----------------------------------------------------------------------------------

# pieces that make broken and whole records likely, beside any bytes
_fragments = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [b"\n", b"\r\n", b"\r", b'"', b'""', b",", b"a", b'{"a":1}', b"[", b"]", b"{", b"}", b" ", BOM]
        ),
    ),
    max_size=40,
).map(b"".join)


@quick
@given(_fragments)
def test_any_bytes_as_jsonl_conserve_lines(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path / "a.jsonl", data)
    try:
        found = rows_of(path)
    except StillhouseError:
        return
    numbers = [n for n, line in enumerate(data.removeprefix(BOM).split(b"\n"), 1) if line.strip(b" \t\r")]
    assert [row.origin for row in found] == [f"s:{n}" for n in numbers]


@quick
@given(_fragments, st.booleans())
def test_any_bytes_as_csv_conserve_lines(tmp_path: Path, data: bytes, quoting: bool) -> None:
    path = put(tmp_path / "a.csv", data)
    try:
        found = rows_of(path, fields=["a", "b"], quoting=quoting)
    except StillhouseError:
        return
    starts = [int(row.origin.removeprefix("s:")) for row in found]
    assert starts == sorted(set(starts))
    if not (quoting and b'"' in data):  # only a quoted cell spans lines
        lines = data.removeprefix(BOM).split(b"\n")
        assert starts == [n for n, line in enumerate(lines, 1) if line.strip(b" \t\r")]


@quick
@given(st.binary(min_size=1), st.sampled_from(["json", "txt", "tsv", "parquet", "arrow", "csv.gz", "jsonl.zst"]))
def test_any_bytes_raise_nothing_but_our_error(tmp_path: Path, data: bytes, ending: str) -> None:
    magic = {"csv.gz": b"\x1f\x8b\x08\x00", "jsonl.zst": b"\x28\xb5\x2f\xfd", "json": b"["}.get(ending, b"")
    try:
        rows_of(put(tmp_path / f"a.{ending}", magic + data))
    except StillhouseError as error:
        assert error.problems[0].fix


_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)


@quick
@given(st.lists(st.dictionaries(_text, _value, max_size=4), min_size=1, max_size=8), st.booleans())
def test_json_round_trip(tmp_path: Path, records: list[dict[str, object]], escape: bool) -> None:
    lines = "\n".join(json.dumps(record, ensure_ascii=escape) for record in records)
    assert values_of(put(tmp_path / "a.jsonl", lines)) == records
    assert values_of(put(tmp_path / "a.json", json.dumps(records, ensure_ascii=escape))) == records


@quick
@given(
    st.lists(st.lists(_text.filter(lambda text: "\0" not in text), min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["csv", "tsv"]),
)
def test_csv_round_trip(tmp_path: Path, cells: list[list[str]], end: str, ending: str) -> None:
    records: list[dict[str, object]] = [dict(zip("abc", row, strict=True)) for row in cells]
    assert values_of(put(tmp_path / f"a.{ending}", table(records, "," if ending == "csv" else "\t", end))) == records
