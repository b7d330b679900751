"""Stage 1 as a whole: what comes in leaves as a document or as a cut with its reason, however the work is cut up."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from raw_material import FILLER, WORDS, distil_nothing, jsonl, mapping, of_rows, sentence, source
from ray_here import if_ray_starts
from stillhouse.errors import StillhouseError
from stillhouse.raw import dedup, prepare, stage
from stillhouse.raw.stage import weighted


def labelled(texts: list[str], label: str | None = "good") -> list[dict[str, object]]:
    return [{"text": text, "label": label} for text in texts]


# -- B: copies


def test_short_texts_are_equal_only_to_themselves(tmp_path: Path) -> None:
    intents = [f"book {word} today" for word in WORDS[:10]]
    made = of_rows(tmp_path, labelled(["cat", "dog", "cat", "yes", "no", *intents]))
    assert [row["origin"] for row in made.cut("exact copy")] == ["rows:3"]
    assert made.report["cuts"] == {"head": {}, "tail": {"exact copy": 1}}


def test_texts_of_no_words_are_compared_exactly(tmp_path: Path) -> None:
    rows = labelled(["", "   ", "!!!", "\N{SHEEP}", "?!", "!!!", sentence(1)])
    made = of_rows(tmp_path, rows, clean={"profile": "none"})
    assert {"!!!", "\N{SHEEP}", "?!"} <= set(made.texts())
    assert len(made.cut("no text")) == 2
    assert [row["origin"] for row in made.cut("exact copy")] == ["rows:6"]


@pytest.mark.parametrize("near", [True, False])
def test_exactly_one_of_equal_texts_stays(tmp_path: Path, near: bool) -> None:
    same = sentence(2)
    made = of_rows(
        tmp_path, labelled([same, same.upper(), f"  {same} ", sentence(3), sentence(4)]), duplicates={"near": near}
    )
    assert made.texts() == sorted([same, sentence(3), sentence(4), *(row["text"] for row in FILLER)])
    kept = next(row for row in made.documents() if row["text"] == same)
    assert {(row["origin"], row["matched_id"]) for row in made.cut("exact copy")} == {
        ("rows:2", kept["id"]),
        ("rows:3", kept["id"]),
    }


def test_a_near_copy_names_the_row_it_matched_and_how_similar_it_is(tmp_path: Path) -> None:
    whole = sentence(5, 60)
    edited = whole.rsplit(" ", 1)[0] + " ending"
    made = of_rows(tmp_path, labelled([whole, edited]))
    (row,) = made.cut("near copy")
    kept = next(one for one in made.documents() if one["text"] == whole)
    assert (row["origin"], row["matched_id"], row["threshold"]) == ("rows:2", kept["id"], 0.7)
    assert 0.7 <= row["score"] < 1
    assert made.report["straddling_pairs"] == 0


def framed(words: int) -> list[dict[str, object]]:
    """200 rows of one frame of 300 words, each with so many words of its own."""
    frame = sentence(6, 300)
    return [
        {"text": f"{frame} {sentence(100 + number, words)}", "label": ("good", "bad")[number % 2]}
        for number in range(200)
    ]


def test_rows_of_one_long_frame_stay_when_they_say_something_of_their_own(tmp_path: Path) -> None:
    made = of_rows(tmp_path, framed(10), split={"test": 60, "validation": 20})
    assert not made.cut("near copy")
    assert made.report["near_copies_with_a_passage_of_their_own"] > 0


def test_a_reply_stays_and_a_bare_quotation_of_it_leaves(tmp_path: Path) -> None:
    mail, reply = sentence(20, 120), sentence(21, 20)
    rows = labelled([mail, f"{mail} {reply}", f"{mail} thanks a lot"])
    made = of_rows(tmp_path, rows, clean={"profile": "none"})
    assert [row["origin"] for row in made.cut("near copy")] == ["rows:3"]
    # whichever comes first: what says nothing of its own is the copy
    turned = of_rows(tmp_path / "turned", labelled([f"{mail} {reply}", mail]))
    assert [row["origin"] for row in turned.cut("near copy")] == ["rows:2"]


def test_near_copies_never_take_much_of_a_source_without_an_alarm(tmp_path: Path) -> None:
    made = of_rows(tmp_path, framed(4), split={"test": 6, "validation": 2})
    assert len(made.cut("near copy")) > 100
    assert any("near copies took" in alarm and "source rows" in alarm for alarm in made.report["alarms"])
    frame = sentence(6, 300)
    # the part that differs, compared by itself
    rows = [{"body": f"{frame} | {sentence(100 + number, 10)}", "label": "good"} for number in range(200)]
    rows += [{"body": f"{frame} | {row['text']}", "label": row["label"]} for row in FILLER]
    path = jsonl(tmp_path / "framed.jsonl", rows)
    columns = {"text": "split(body, ' | ')[1]", "label": "label"}
    own = distil_nothing(
        tmp_path / "own", mapping([source(path, columns=columns)], split={"test": 60, "validation": 2})
    )
    assert not own.cuts()


def test_near_copies_with_another_label_stay_on_one_side(tmp_path: Path) -> None:
    whole = sentence(7, 60)
    turned = f"not {whole}"
    made = of_rows(tmp_path, [{"text": whole, "label": "good"}, {"text": turned, "label": "bad"}])
    assert {whole, turned} <= set(made.texts())
    assert made.report["near_copies_with_another_label"] == 1
    assert len({row["split"] for row in made.documents() if row["text"] in (whole, turned)}) == 1


def test_chinese_near_copies_are_found(tmp_path: Path) -> None:
    text = "今天下午我们一起去河边散步看见许多白色的水鸟停在石头上面休息阳光照着水面非常安静孩子们在草地放风筝很快乐"
    other = text.replace("下午", "上午").replace("快乐", "开心")
    made = of_rows(tmp_path, labelled([text, other]))
    assert [row["origin"] for row in made.cut("near copy")] == ["rows:2"]


def test_an_earlier_set_wins_and_is_named(tmp_path: Path) -> None:
    old, fresh = sentence(8, 50), sentence(9, 50)
    earlier = jsonl(tmp_path / "old.jsonl", [{"body": old}, {"body": "seen before"}])
    made = of_rows(
        tmp_path / "new",
        labelled([old, f"{old} more", "Seen  before", fresh]),
        duplicates={"against": [{"name": "last-year", "data": str(earlier), "text": "body"}]},
    )
    told = {row["origin"]: (row["reason"], row["detail"]) for row in made.cuts()}
    assert told == {
        "rows:1": ("exact copy", "of last-year:1"),
        "rows:2": ("near copy", "of last-year:1"),
        "rows:3": ("exact copy", "of last-year:2"),
    }
    assert fresh in made.texts()
    assert old not in made.texts()


def test_every_row_of_an_earlier_set_keeps_its_copies_out(tmp_path: Path) -> None:
    # the second earlier row is a near copy of the first; the new row is one of the second alone
    first = sentence(30, 60)
    words = first.split()
    second = " ".join(["changed", "words", "here", "now", *words[4:]])
    third = " ".join([*second.split()[:-4], "and", "there", "at", "last"])
    earlier = jsonl(tmp_path / "old.jsonl", [{"text": first}, {"text": second}])
    made = of_rows(
        tmp_path / "new",
        labelled([third]),
        duplicates={"against": [{"name": "old", "data": str(earlier)}]},
    )
    assert [row["detail"] for row in made.cut("near copy")] == ["of old:2"]


# -- C: splits, leakage, labels


def test_no_copy_pair_straddles_the_split(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for number in range(80):
        text, label = sentence(1000 + number, 40), ("good", "bad")[number % 2]
        rows.append({"text": text, "label": label})
        if number < 20:
            rows.append({"text": f"{text} again", "label": ("good", "bad")[(number + 1) % 2]})
    made = of_rows(tmp_path, rows, split={"test": 30, "validation": 20}, decontaminate={"own_splits": False})
    side = {row["text"]: row["split"] for row in made.documents()}
    pairs = [(text, f"{text} again") for text in side if f"{text} again" in side]
    assert len(pairs) == 20
    assert all(side[one] == side[other] for one, other in pairs)
    assert made.report["straddling_pairs"] == 0


@pytest.mark.parametrize(
    ("rule", "labels", "kept", "gold"),
    [
        ("ask-teacher", ["good", "good", "bad"], 1, None),
        ("vote", ["good", "good", "bad"], 1, "good"),
        ("vote", ["good", "bad"], 1, None),
        ("drop", ["good", "good", "bad"], 0, None),
        ("drop", ["good", "good", "good"], 1, "good"),
    ],
)
def test_copies_that_disagree_on_the_label(
    tmp_path: Path, rule: str, labels: list[str], kept: int, gold: str | None
) -> None:
    text = sentence(10)
    made = of_rows(tmp_path, [{"text": text, "label": label} for label in labels], duplicates={"conflicts": rule})
    found = [row for row in made.documents() if row["text"] == text]
    assert len(found) == kept
    assert [row["label"] for row in found] == [gold] * kept
    assert made.report["conflicting_labels"] == (len(set(labels)) > 1)
    assert len(made.cut("conflicting labels")) == (1 - kept)


def test_a_benchmark_item_leaves_and_a_quotation_stays(tmp_path: Path) -> None:
    question = sentence(11, 20)
    passage = sentence(12, 400)
    bench = jsonl(tmp_path / "bench.jsonl", [{"q": question, "a": "forty two"}, {"q": passage, "a": "yes"}])
    quoting = f"{sentence(13, 80)} {' '.join(passage.split()[:15])} {sentence(14, 80)}"
    holding = f"{sentence(15, 40)} {question.upper()} forty two"
    made = of_rows(
        tmp_path / "run",
        labelled([holding, quoting, sentence(16)]),
        decontaminate={"benchmarks": [{"name": "quiz", "data": str(bench), "question": "q", "answer": "a"}]},
    )
    (row,) = made.cut("contamination")
    assert row["origin"] == "rows:1"
    assert "quiz:1" in row["detail"]
    assert row["content"] == holding
    assert quoting in made.texts()
    assert [one["origin"] for one in made.report["doubtful"]] == ["rows:2"]


def test_what_is_held_out_is_in_no_other_document(tmp_path: Path) -> None:
    held = [sentence(2000 + number, 20) for number in range(12)]
    rows: list[dict[str, object]] = [
        {"text": text, "label": ("good", "bad")[number % 2]} for number, text in enumerate(held)
    ]
    # no near copies of any of them, but each holds one whole
    rows += [
        {"text": f"{sentence(3000 + number, 50)} {text} {sentence(4000 + number, 50)}", "label": None}
        for number, text in enumerate(held)
    ]
    made = of_rows(tmp_path, rows, split={"test": 8, "validation": 4})
    rest = [row["text"] for row in made.documents() if row["split"] == "train"]
    for row in made.documents():
        if row["split"] != "train":
            assert not any(row["text"] in other for other in rest)
    leaks = made.cut("contamination")
    assert leaks
    assert all(row["matched_id"] for row in leaks)
    off = of_rows(tmp_path / "off", rows, split={"test": 8, "validation": 4}, decontaminate={"own_splits": False})
    assert not off.cut("contamination")


def test_authors_stay_together(tmp_path: Path) -> None:
    rows = [
        {"text": sentence(5000 + number), "label": ("good", "bad")[number % 2], "author": f"a{number // 4}"}
        for number in range(80)
    ]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    columns = {"label": "label", "groups": {"author": "author"}}
    made = distil_nothing(
        tmp_path / "run",
        mapping([source(path, columns=columns)], split={"test": 20, "validation": 12, "together": ["author"]}),
    )
    sides: dict[str, set[str]] = {}
    for row in made.documents():
        sides.setdefault(row["group_author"], set()).add(row["split"])
    assert all(len(found) == 1 for found in sides.values())
    assert made.report["splits"] == {"train": 48, "validation": 12, "test": 20}


# -- cleaning, through the recipe


def test_cleaning_says_what_it_did_and_can_be_turned_off(tmp_path: Path) -> None:
    broken = "the caf\u00c3\u00a9 on the corner serves the best soup in town"
    mail = "please write to jo.miller@bluewharf.net about the garden"
    rows = labelled([broken, mail])
    made = of_rows(tmp_path / "on", rows)
    by_origin = {row["origin"]: row for row in made.documents()}
    assert by_origin["rows:1"]["text"] == "the café on the corner serves the best soup in town"
    assert by_origin["rows:1"]["notes"] == ["repaired"]
    assert "jo.miller" not in by_origin["rows:2"]["text"]
    assert made.report["changes"] == {"repaired": 1, "personal data redacted": 1}
    off = of_rows(tmp_path / "off", rows, clean={"repair": False, "personal": "keep"})
    assert {broken, mail} <= set(off.texts())
    assert off.report["changes"] == {}
    flagged = of_rows(tmp_path / "flag", rows, clean={"personal": "flag"})
    assert mail in flagged.texts()
    assert flagged.report["changes"]["personal data kept"] == 1
    rejected = of_rows(tmp_path / "reject", rows, clean={"personal": "reject"})
    (row,) = rejected.cut("personal data")
    assert (row["origin"], row["cut"]) == ("rows:2", "head")
    assert "jo.miller" not in json.dumps(rejected.cuts())


def test_languages_that_are_not_wanted_leave(tmp_path: Path) -> None:
    german = "Der Zug kam pünktlich an und der Schaffner war sehr freundlich zu allen Kindern."
    made = of_rows(tmp_path, labelled([german, "ok"]), clean={"languages": ["en", "und"]})
    (row,) = made.cut("another language")
    assert (row["origin"], row["cut"]) == ("rows:1", "tail")
    assert "ok" in made.texts()
    assert {row["language"] for row in made.documents()} <= {"en", "und"}


def test_rules_for_web_pages_are_off_unless_asked_for(tmp_path: Path) -> None:
    rows = labelled(["ok thx", "reset pwd pls", "where is my order"])
    assert not of_rows(tmp_path / "short", rows).cuts()
    assert not of_rows(tmp_path / "chat", rows, clean={"profile": "chat"}).cuts()
    with pytest.raises(StillhouseError, match="no row is left"):
        of_rows(tmp_path / "web", rows, clean={"profile": "web"})


def test_html_becomes_its_text(tmp_path: Path) -> None:
    page = "<html><body><nav>Home</nav><article><h1>Soup</h1><p>{}</p></article></body></html>"
    rows = [
        {"text": page.format(sentence(6000 + number)), "label": ("good", "bad")[number % 2]} for number in range(20)
    ]
    path = jsonl(tmp_path / "pages.jsonl", rows)
    made = distil_nothing(tmp_path / "run", mapping([source(path, html=True)]))
    assert all("<" not in text for text in made.texts())
    assert all(sentence(6000 + number) in " ".join(made.texts()) for number in range(20))


# -- sources


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": "Noted."}]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (lambda text: {"text": text}, "{}"),
        (lambda text: {"text": text, "text_pair": "and more"}, "{} and more"),
        (lambda text: {"prompt": text, "completion": "Yes."}, "{} Yes."),
        (lambda text: {"instruction": "Judge.", "input": text, "output": "Fine."}, "Judge. {} Fine."),
        (lambda text: {"instruction": text, "output": "Fine."}, "{} Fine."),
        (lambda text: {"messages": chat(text)}, "user: {} assistant: Noted."),
        (lambda text: {"messages": json.dumps(chat(text))}, "user: {} assistant: Noted."),
        (
            lambda text: {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "Noted."}]},
            "user: {} assistant: Noted.",
        ),
    ],
)
def test_every_layout_gives_its_text(tmp_path: Path, row: Any, wanted: str) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [{**row(one["text"]), "label": one["label"]} for one in FILLER])
    made = distil_nothing(tmp_path / "run", mapping([source(path)]))
    assert made.texts() == sorted(wanted.format(one["text"]) for one in FILLER)


def test_a_row_of_another_layout_is_kept_in_the_ledger(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"messages": chat(one["text"]), "label": one["label"]} for one in FILLER]
    rows += [{"messages": "not json", "label": "good"}, {"messages": [{"content": "no role"}], "label": "good"}]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    made = distil_nothing(tmp_path / "run", mapping([source(path)]))
    assert [row["origin"] for row in made.cut("not of the source's layout")] == ["rows:13", "rows:14"]


def test_no_text_column_is_told_from_an_empty_text(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [{"content": row["text"], "label": row["label"]} for row in FILLER])
    with pytest.raises(StillhouseError, match=r"no column is known to hold the text; the file has content, label"):
        distil_nothing(tmp_path / "run", mapping([source(path)]))
    made = of_rows(tmp_path / "empty", labelled([""]))
    assert len(made.cut("no text")) == 1


def test_words_for_nothing_are_labels_like_any_other(tmp_path: Path) -> None:
    classes = ["NA", "None", "null", "nan", "yes"]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["text", "label"])
    for number in range(40):
        writer.writerow([sentence(7000 + number), classes[number % 5]])
    (tmp_path / "rows.csv").write_text(buffer.getvalue(), "utf-8")
    recipe = mapping([source(tmp_path / "rows.csv")], split={"test": 10, "validation": 5})
    recipe["labels"] = classes
    made = distil_nothing(tmp_path / "run", recipe)
    assert Counter(row["label"] for row in made.documents()) == dict.fromkeys(classes, 8)


def test_sources_are_mixed_by_weight(tmp_path: Path) -> None:
    names = ("web", "mail", "chat")
    paths = [
        jsonl(
            tmp_path / f"{name}.jsonl",
            [{"text": sentence(8000 + 100 * at + n), "label": ("good", "bad")[n % 2]} for n in range(60)],
        )
        for at, name in enumerate(names)
    ]
    weights = (2.0, 1.0, 1.0)
    sources = [source(path, name, weight=weight) for path, name, weight in zip(paths, names, weights, strict=True)]
    made = distil_nothing(tmp_path / "run", mapping(sources, split={"test": 20, "validation": 10, "train": 60}))
    train = Counter(row["source"] for row in made.documents() if row["split"] == "train")
    assert train == {"web": 30, "mail": 15, "chat": 15}
    assert made.report["rows_in"] == made.report["kept"] + made.report["cut"]


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    st.dictionaries(st.sampled_from("abc"), st.floats(0.1, 10), min_size=3, max_size=3),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_the_mix_keeps_its_shares(sources: list[str], weights: dict[str, float], limit: int | None) -> None:
    kept = weighted(sources, weights, limit)
    assert len(set(kept.tolist())) == len(kept)
    counts = Counter(sources[at] for at in kept)
    total = sum(weights[name] for name in set(sources))
    size = sum(counts.values())
    assert limit is None or size <= limit + 2  # each source is rounded by itself
    for name in set(sources):
        assert abs(counts[name] - size * weights[name] / total) <= 2
    if limit is None:  # some source is used up
        assert any(counts[name] >= sources.count(name) - 0.5 for name in set(sources))


# -- the same, however it is cut up


def many_rows(count: int) -> list[dict[str, object]]:
    """Rows with copies, near copies, leaks, bad labels, mails and empty texts among them."""
    draw = random.Random(7)
    rows: list[dict[str, object]] = []
    for number in range(count):
        text = sentence(9000 + number, 12 + number % 40)
        match draw.randrange(12):
            case 0 if rows:
                text = str(draw.choice(rows)["text"])
            case 1 if rows:
                text = f"{draw.choice(rows)['text']} again"
            case 2 if rows:
                text = f"{text} {draw.choice(rows)['text']} {sentence(number, 30)}"
            case 3:
                text += " write to someone@bluewharf.net"
            case 4:
                text = " "
        label = ("good", "bad", "good", None, "odd")[draw.choice((0, 1, 0, 1, 3, 4))]
        rows.append({"text": text, "label": label, "author": f"a{draw.randrange(60)}"})
    return rows


def run_over(
    folder: Path, rows: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch, piece: int, ranges: int, **engine: Any
) -> Any:
    monkeypatch.setattr(stage, "PIECE_ROWS", piece)
    monkeypatch.setattr(dedup, "ROWS_IN_A_RANGE", max(1, len(rows) // ranges))
    folder.mkdir()
    cut = len(rows) // 3
    paths = [jsonl(folder / f"part-{at}.jsonl", rows[at * cut : (at + 1) * cut]) for at in range(3)]
    columns = {"label": "label", "groups": {"author": "author"}}
    recipe = mapping(
        [source(paths[0].parent / "part-*.jsonl", columns=columns)],
        split={"test": 60, "validation": 30, "together": ["author"]},
        engine=engine,
    )
    return distil_nothing(folder / "run", recipe)


@pytest.mark.parametrize(
    ("piece", "ranges", "engine"),
    [
        (97, 1, {"kind": "here", "workers": 1}),
        (150, 5, {"kind": "here", "workers": 2}),
        (10_000, 3, {"kind": "here", "workers": 2}),
        (150, 2, {"kind": "ray", "workers": 2}),
    ],
)
def test_the_same_rows_and_cuts_however_the_work_is_cut_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, ranges: int, engine: dict[str, Any]
) -> None:
    rows = many_rows(600)
    straight = run_over(tmp_path / "straight", rows, monkeypatch, 10_000, 1, kind="here", workers=1)
    with if_ray_starts():
        other = run_over(tmp_path / "other", rows, monkeypatch, piece, ranges, **engine)
    assert len(straight.cuts()) > 100
    assert len({row["reason"] for row in straight.cuts()}) >= 5
    for name, table in straight.tables().items():
        assert other.tables()[name].equals(table), name
    assert other.report == straight.report


def test_finished_pieces_are_not_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PIECE_ROWS", 5)
    path = jsonl(tmp_path / "rows.jsonl", FILLER)
    made: list[int] = []
    original = prepare.prepare_rows

    def counted(rows: Any, *rest: Any) -> Any:
        if len(made) == 2 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        made.append(1)
        return original(rows, *rest)

    monkeypatch.setattr(prepare, "prepare_rows", counted)
    with pytest.raises(KeyboardInterrupt):
        distil_nothing(tmp_path / "run", mapping([source(path)]))
    gone_on = distil_nothing(tmp_path / "run", mapping([source(path)]))
    assert len(made) == 3  # twelve rows in pieces of five
    straight = distil_nothing(tmp_path / "other", mapping([source(path)]))
    assert gone_on.tables() == straight.tables()


def test_compressed_and_cut_files_give_the_same_documents(tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "rows.jsonl", FILLER)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    one = distil_nothing(tmp_path / "one", mapping([source(plain)]))
    other = distil_nothing(tmp_path / "other", mapping([source(tmp_path / "rows.jsonl.gz")]))
    assert one.texts() == other.texts()


# -- nothing crashes, nothing is lost


LINE = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.fixed_dictionaries(
        {"text": st.one_of(st.none(), st.text(max_size=80), st.integers(), st.lists(st.text(max_size=5)))},
        optional={"label": st.sampled_from(["good", "bad", "odd", None, 3])},
    ).map(lambda row: json.dumps(row).encode()),
)


@examples(0.4)
@given(st.lists(LINE, max_size=8), st.sampled_from(["rows.jsonl", "rows.csv"]), st.booleans())
def test_any_bytes_become_documents_or_reasons(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], name: str, torn: bool
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    if name.endswith("csv"):
        head = b"text,label\n" + b"".join(f"{row['text'].replace(',', '')},{row['label']}\n".encode() for row in FILLER)
    else:
        head = b"".join(json.dumps(row).encode() + b"\n" for row in FILLER)
    (folder / name).write_bytes(head + b"\n".join(lines) + (b"" if torn else b"\n"))
    try:
        made = distil_nothing(folder / "run", mapping([source(folder / name)]))
    except StillhouseError as error:
        assert all(problem.where and problem.fix for problem in error.problems)
        return
    report = made.report
    assert report["rows_in"] == report["kept"] + report["cut"]
    assert len(made.documents()) == report["kept"]
    ledger = made.cuts()
    assert len(ledger) == report["cut"]
    assert all(row["reason"] and row["origin"] for row in ledger)
    assert all(row["content"] for row in ledger if row["reason"] != "no text")
    origins = [row["origin"] for row in [*made.documents(), *ledger]]
    assert len(set(origins)) == len(origins)
