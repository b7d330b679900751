"""Rights: the lattice, the statement, and where the license of a subject is read."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stillhouse
from stillhouse.addresses import resolve
from stillhouse.rights import (
    Claim,
    Declared,
    Judgement,
    Role,
    Service,
    Subject,
    Table,
    Touch,
    Use,
    Verdict,
    gather,
    judge,
    lift,
    refusals,
    worst,
    would_change,
)
from stillhouse.rights.texts import hash_of, recognise

TABLE = Table.load()
APACHE = (Path(__file__).parents[1] / "LICENSE").read_text("utf-8")
TERMS = APACHE[: APACHE.index("END OF TERMS")]  # without the appendix


@dataclass(frozen=True)
class Said:
    who: str = "the desk"
    covers: tuple[str, ...] = ("data",)


# ---------------------------------------------------------------- the lattice

LICENSES = st.sampled_from(
    ["CC0-1.0", "MIT", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "C-UDA-1.0", "nobody knows", None]
)
USES = st.builds(
    Use,
    student=st.sampled_from(["classifier", "embedder", "extractor", "generative"]),
    release=st.sampled_from(["internal", "served", "distributed"]),
    commercial=st.booleans(),
    regions=st.sampled_from([(), ("EU",), ("US",)]),
)


def subjects_of(ids: list[str | None]) -> list[Subject]:
    return [
        Subject("data", f"s{place}", "a", ("data",), (Claim(one, "recipe"),) if one else ())
        for place, one in enumerate(ids)
    ]


def judged(ids: list[str | None], use: Use) -> list[Judgement]:
    return [judge(subject, use, table=TABLE) for subject in subjects_of(ids)]


@given(st.lists(LICENSES, min_size=1, max_size=6), USES, st.integers())
def test_the_worst_wins_in_any_order_and_another_source_never_improves(
    ids: list[str | None], use: Use, seed: int
) -> None:
    before = judged(ids, use)
    mixed = list(before)
    random.Random(seed).shuffle(mixed)
    assert worst(mixed) == worst(before) == max(one.verdict for one in before)
    assert worst(before) >= worst(before[:-1])
    assert bool(refusals(before)) == (worst(before) > Verdict.ALLOW_WITH_DUTIES)


@given(st.lists(LICENSES.filter(bool), min_size=1, max_size=4), USES)
def test_another_claim_on_one_subject_never_improves_it(ids: list[str], use: Use) -> None:
    claims = tuple(Claim(one, "recipe") for one in ids)
    whole = judge(Subject("data", "s", "a", ("data",), claims), use, table=TABLE)
    fewer = judge(Subject("data", "s", "a", ("data",), claims[:1]), use, table=TABLE)
    assert whole.verdict >= fewer.verdict
    assert set(fewer.duties) <= set(whole.duties)
    assert whole.verdict is max(one.verdict for one in judged(list(ids), use))


@given(st.lists(LICENSES, min_size=1, max_size=6), USES)
def test_a_statement_lifts_permission_and_unknown_and_never_a_ban(ids: list[str | None], use: Use) -> None:
    before = judged(ids, use)
    for old, new in zip(before, lift(before, Said()), strict=True):
        if old.verdict in (Verdict.UNKNOWN, Verdict.NEEDS_PERMISSION):
            assert new.verdict is Verdict.ALLOW_WITH_DUTIES
            assert (new.lifted_by, new.lifted_from) == ("the desk", old.verdict)
            assert new.duties == old.duties
        else:
            assert new == old
    assert lift(before, Said(covers=("teacher",))) == before
    assert lift(before, None) == before
    # one name covers one subject
    assert sum(one.lifted_by is not None for one in lift(before, Said(covers=("s0",)))) <= 1


@given(USES, st.sampled_from([family.patterns[0].replace("*", "x") for family in TABLE.families]))
def test_what_would_change_a_verdict_does(use: Use, name: str) -> None:
    claims = tuple(Claim(terms, "name") for family in TABLE.by_name(name) for terms in family.terms)
    subject = Subject("teacher", "t", name, ("outputs",), claims)
    now = judge(subject, use, table=TABLE)
    for other in would_change(now, use, table=TABLE):
        assert judge(subject, other, table=TABLE).verdict <= Verdict.ALLOW_WITH_DUTIES
        assert other != use


def test_internal_classifiers_are_named_as_the_way_out() -> None:
    subject = Subject(
        "teacher", "t", "openai:gpt-5", ("outputs",), (Claim("LicenseRef-openai-services-agreement", ""),)
    )
    use = Use("generative", "internal", True)
    others = would_change(judge(subject, use, table=TABLE), use, table=TABLE)
    assert Use("classifier", "internal", True) in others


@given(USES)
def test_a_ban_on_other_models_spares_students_of_the_same_family(use: Use) -> None:
    llama = "LicenseRef-llama-3"
    subject = Subject("teacher", "t", "llama", ("logits", "outputs"), (Claim(llama, "name"),))
    assert judge(subject, use, table=TABLE, base_terms=[llama]).verdict <= Verdict.ALLOW_WITH_DUTIES
    for bases in ((), ["Apache-2.0"], [llama, "Apache-2.0"]):
        assert judge(subject, use, table=TABLE, base_terms=bases).verdict > Verdict.ALLOW_WITH_DUTIES


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("MIT OR CC-BY-NC-4.0", Verdict.ALLOW),
        ("CC-BY-NC-4.0 OR MIT", Verdict.ALLOW),
        ("MIT AND CC-BY-NC-4.0", Verdict.FORBID),
        ("(MIT OR CC-BY-NC-4.0) AND CC0-1.0", Verdict.ALLOW),
        ("(MIT AND CC-BY-NC-4.0) OR CC0-1.0", Verdict.ALLOW),
        ("CC0-1.0 AND nobody-knows", Verdict.UNKNOWN),
        ("Apache-2.0 WITH LLVM-exception", Verdict.ALLOW),
        ("Apache-2.0 WITH no-training-exception", Verdict.UNKNOWN),
        ("mit or cc-by-nc-4.0", Verdict.ALLOW),
    ],
)
def test_license_expressions(expression: str, verdict: Verdict) -> None:
    (one,) = judged([expression], Use())
    assert one.verdict is verdict


def test_a_region_that_is_not_stated_counts_as_everywhere() -> None:
    subject = Subject("base", "b", "b", ("init",), (Claim("LicenseRef-tencent-hunyuan", "name"),))
    verdicts = {
        regions: judge(subject, Use(regions=regions), table=TABLE).verdict
        for regions in ((), ("EU",), ("de",), ("EEA",), ("GB",), ("US",), ("US", "FR"))
    }
    assert [regions for regions, verdict in verdicts.items() if verdict is Verdict.ALLOW] == [("US",)]
    assert set(verdicts.values()) == {Verdict.ALLOW, Verdict.FORBID}


# ---------------------------------------------------------------- texts

KNOWN = [(name, text) for entry in TABLE.terms for name, texts in entry.texts.items() for text in texts]


@given(st.integers(min_value=20, max_value=200), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_license_is_recognised_in_any_layout(width: int, newline: str, titled: bool) -> None:
    import textwrap

    body = newline.join(textwrap.wrap(TERMS.upper(), width, break_long_words=False)).replace('"', "“")
    notice = f"Our License{newline}{newline}Copyright (c) 2020-2026 Some Company, Inc.{newline}{newline}"
    found = recognise(notice + body if titled else body, KNOWN)
    assert (found.match, found.terms) == ("same", "Apache-2.0")


@given(st.integers(min_value=0, max_value=10_000), st.sampled_from(["drop", "change"]))
def test_one_word_changed_is_another_license(place: int, how: str) -> None:
    words = TERMS.split()
    place = 12 + place % (len(words) - 12)  # behind the words by which it is found
    changed = [*words[:place], *([] if how == "drop" else ["hardly"]), *words[place + 1 :]]
    assert recognise(" ".join(changed), KNOWN).match == "altered"


def test_a_condition_added_to_a_license_makes_it_another() -> None:
    more = "Our only modification: products with more than 100 million users display the model's name."
    assert recognise(f"{TERMS}\n\n{more}", KNOWN).match == "altered"
    assert recognise(f"{APACHE}\n\n{more}", KNOWN).match == "altered"
    assert recognise(more, KNOWN).match == "none"


# ---------------------------------------------------------------- where it is read


def look(folder: Path, *, role: Role = "teacher", use: Use | None = None, **said: object) -> Judgement:
    touches: tuple[Touch, ...] = ("data",) if role == "data" else ("logits", "outputs")
    files = resolve(str(folder), cache=folder.parent / "cache", base=folder.parent)
    declared = Declared(**said)  # type: ignore[arg-type]
    subject = gather(role, role, str(folder), table=TABLE, files=files, touches=touches, declared=declared)
    return judge(subject, use or Use(), table=TABLE)


def model(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", "utf-8")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, "utf-8")
    return folder


def test_a_renamed_folder_is_judged_by_its_text(tmp_path: Path) -> None:
    # a permissive text under a name that is forbidden
    apache = look(model(tmp_path / "EXAONE-3.5-7.8B", LICENSE=APACHE))
    assert (apache.license, apache.verdict) == ("Apache-2.0", Verdict.ALLOW)
    # a text that begins like a restrictive one under a permissive name
    llama = "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version Release Date: July 23, 2024\n and so on"
    hidden = look(model(tmp_path / "SmolLM2-135M-Instruct", LICENSE=llama))
    assert hidden.verdict is Verdict.UNKNOWN and "llama-3.1" in hidden.reason
    # a word changed in a text that forbids does not make it one that may be lifted
    exaone = "EXAONE AI Model License Agreement 1.1 - NC\n\nwith other words than before"
    assert look(model(tmp_path / "ours", LICENSE=exaone)).verdict is Verdict.FORBID
    # nor does a text that nobody knows hide the card, what it was made from, or the name
    card = "---\nlicense: mit\nbase_model: LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct\n---\n"
    assert look(model(tmp_path / "mine", LICENSE="Our own words.", README__md=card)).verdict is Verdict.FORBID
    assert look(model(tmp_path / "c" / "EXAONE-3.5", LICENSE="Our own words.")).verdict is Verdict.FORBID
    # without a text, the name is what there is
    assert look(model(tmp_path / "a" / "EXAONE-3.5-7.8B")).verdict is Verdict.FORBID
    assert look(model(tmp_path / "b" / "SmolLM2-135M-Instruct")).license == "Apache-2.0"


def test_the_exact_text_of_a_restrictive_license_wins_over_a_permissive_name(tmp_path: Path) -> None:
    text = "House License. No model may be trained on what this one says."
    own = tmp_path / "own.toml"
    own.write_text(
        '[[terms]]\nids = ["LicenseRef-house"]\ntitle = "House License"\nread = 2026-11-01\ntrust = "primary"\n'
        'says = "No training on outputs."\nrules = [{verdict = "forbid", clause = "1"}]\n[terms.texts]\n'
        f'"LicenseRef-house" = [{{start = "house license no model", sha256 = "{hash_of(text)}"}}]\n',
        "utf-8",
    )
    folder = model(tmp_path / "SmolLM2-135M", LICENSE__md=text.upper(), README__md="---\nlicense: apache-2.0\n---\n")
    files = resolve(str(folder), cache=tmp_path / "cache", base=tmp_path)
    table = Table.load(own)
    subject = gather("teacher", "teacher", str(folder), table=table, files=files, touches=("outputs",))
    judgement = judge(subject, Use(), table=table)
    assert (judgement.license, judgement.verdict) == ("LicenseRef-house", Verdict.FORBID)


def test_words_that_only_this_program_uses_are_no_licenses(tmp_path: Path) -> None:
    for word in ("owned", "by row"):
        assert look(model(tmp_path / word, README__md=f"---\nlicense: {word}\n---\n")).verdict is Verdict.UNKNOWN
        assert judged([word], Use())[0].verdict is Verdict.UNKNOWN


def test_what_it_was_made_from_counts_where_no_license_is_stated(tmp_path: Path) -> None:
    card = "---\nbase_model: huggingfacetb/SmolLM2-135M\n---\n"
    assert look(model(tmp_path / "a", README__md=card)).verdict is Verdict.UNKNOWN
    card = "---\nbase_model: LGAI-EXAONE/EXAONE-3.5\n---\n"
    assert look(model(tmp_path / "b", README__md=card)).verdict is Verdict.FORBID


def test_a_license_beside_a_single_file_is_read(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", LICENSE=APACHE)
    shutil.move(gguf_model(tmp_path / "g" / "m.gguf", "cc-by-nc-4.0"), folder / "m.gguf")
    assert look(folder / "m.gguf").license == "Apache-2.0"
    # of data a folder's license says nothing: it may be the project's
    rows = folder / "rows.jsonl"
    rows.write_text("{}\n", "utf-8")
    assert look(rows, role="data").verdict is Verdict.UNKNOWN


def test_a_text_for_a_document_of_which_none_was_read(tmp_path: Path) -> None:
    folder = model(tmp_path / "Meta-Llama-3-8B")
    text = tmp_path / "llama3.txt"
    text.write_text("the text of that license", "utf-8")
    said = look(folder, license="llama3", license_texts=(text,), use=Use(student="classifier"))
    assert said.license == "LicenseRef-llama-3"
    assert look(folder, license_texts=(text,)).verdict is Verdict.UNKNOWN
    text.write_text(" ", "utf-8")
    assert look(folder, license="llama3", license_texts=(text,)).verdict is Verdict.UNKNOWN


def test_data_that_a_model_wrote_comes_under_its_terms(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n", "utf-8")
    use = Use(student="generative")
    assert look(rows, role="data", license="MIT", use=use).verdict is Verdict.ALLOW
    for name, verdict in (("openai:gpt-5", Verdict.FORBID), ("nobody/knows", Verdict.UNKNOWN)):
        assert look(rows, role="data", license="MIT", generated_by=(name,), use=use).verdict is verdict
    assert look(rows, role="data", license="MIT", generated_by=("deepseek-ai/DeepSeek-R1",)).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("provider", "host", "model_name", "said", "verdict"),
    [
        ("deepseek", "api.x.ai", "grok-5", {}, Verdict.FORBID),
        ("self", "api.x.ai", "grok-5", {"owner": "us"}, Verdict.FORBID),
        ("self", "127.0.0.1", "ours-7b", {"owner": "us"}, Verdict.ALLOW),
        ("self", "127.0.0.1", "ours-7b", {}, Verdict.UNKNOWN),
        ("self", "127.0.0.1", "LGAI-EXAONE/EXAONE-3.5", {"owner": "us"}, Verdict.FORBID),
        (None, "my-proxy.example", "gpt-5", {"license": "MIT"}, Verdict.UNKNOWN),
        (None, "my-proxy.example", "gpt-5", {"owner": "us"}, Verdict.UNKNOWN),
        ("openai", "my-proxy.example", "gpt-5", {}, Verdict.ALLOW),
    ],
)
def test_no_provider_name_improves_on_the_endpoints_host(
    provider: str | None, host: str, model_name: str, said: dict[str, str], verdict: Verdict
) -> None:
    subject = gather(
        "teacher",
        "teacher",
        host,
        table=TABLE,
        touches=("outputs",),
        declared=Declared(**said),  # type: ignore[arg-type]
        service=Service(provider, host, model_name),
    )
    assert judge(subject, Use(), table=TABLE).verdict is verdict


def test_a_restriction_beside_the_copyright_notice_is_not_overlooked() -> None:
    mine = "Copyright (c) 2026 Some Company. Outputs of it may not train other models.\n\n"
    assert recognise(mine + TERMS, KNOWN).match != "same"
    assert recognise("You may not train models with this.\n\n" + TERMS, KNOWN).match != "same"
    assert recognise("Copyright (c) 2026 Some Company, Inc. All rights reserved.\n\n" + TERMS, KNOWN).match == "same"


def test_the_model_card_comes_before_the_name(tmp_path: Path) -> None:
    card = look(model(tmp_path / "SmolLM2", README__md="---\nlicense: llama3.1\n---\nA model."))
    assert card.license == "LicenseRef-scancode-llama-3.1-license-2024"
    other = look(model(tmp_path / "mine", README__md="---\nlicense: other\nlicense_name: gemma\n---\n"))
    assert other.license == "LicenseRef-scancode-gemma-tou-2025-03-24"
    vague = look(model(tmp_path / "vague", README__md="---\nlicense: other\n---\n"))
    assert vague.verdict is Verdict.UNKNOWN
    broken = look(model(tmp_path / "broken", README__md="---\nlicense: [\n---\n"))
    assert broken.verdict is Verdict.UNKNOWN


def test_what_a_model_was_made_from_comes_with_it(tmp_path: Path) -> None:
    card = "---\nlicense: mit\nbase_model: meta-llama/Llama-3.1-8B\n---\n"
    judgement = look(model(tmp_path / "tune", README__md=card), use=Use(release="distributed"))
    assert judgement.license == "MIT and LicenseRef-scancode-llama-3.1-license-2024"
    assert "name-prefix" in {duty.duty.kind for duty in judgement.duties}


def gguf_model(path: Path, license_id: str | None, base: str | None = None) -> Path:
    path.parent.mkdir(parents=True)
    writer = gguf.GGUFWriter(path, "llama")
    if license_id:
        writer.add_license(license_id)
    if base:
        writer.add_base_model_count(1)
        writer.add_base_model_repo_url(0, base)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_header_is_read(tmp_path: Path) -> None:
    plain = look(gguf_model(tmp_path / "a" / "m.gguf", "apache-2.0"))
    assert (plain.license, plain.deciding.evidence) == ("Apache-2.0", "GGUF header")
    tuned = look(gguf_model(tmp_path / "b" / "m.gguf", "mit", "https://huggingface.co/meta-llama/Llama-3.2-1B"))
    assert "llama-3.2" in tuned.license
    assert look(gguf_model(tmp_path / "c" / "m.gguf", None)).verdict is Verdict.UNKNOWN


def test_a_declaration_can_worsen_a_verdict_and_not_improve_it(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", LICENSE=APACHE)
    assert look(folder).verdict is Verdict.ALLOW
    assert look(folder, license="CC-BY-NC-4.0").verdict is Verdict.FORBID
    exaone = model(tmp_path / "EXAONE-3.5")
    assert look(exaone, license="MIT").verdict is Verdict.FORBID
    text = resolve(str(folder / "LICENSE"), cache=tmp_path / "cache", base=tmp_path)
    assert look(exaone, license_texts=text.files).verdict is Verdict.FORBID
    nameless = model(tmp_path / "nameless")
    assert look(nameless).verdict is Verdict.UNKNOWN
    assert look(nameless, license_texts=text.files).license == "Apache-2.0"
    assert look(nameless, license="MIT").verdict is Verdict.ALLOW


def test_ones_own_passes_with_one_line_and_what_lies_in_it_still_counts(tmp_path: Path) -> None:
    own = look(model(tmp_path / "ours"), owner="the search team")
    assert own.verdict is Verdict.ALLOW and "the search team" in own.reason
    tuned = model(tmp_path / "tuned", README__md="---\nlicense: llama3.1\n---\n")
    assert look(tuned, owner="the search team", use=Use(release="distributed")).duties


def test_a_package_speaks_for_its_model_and_not_for_the_texts_in_it(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    files = resolve(str(folder), cache=tmp_path / "cache", base=tmp_path)
    files.facts["license"] = "MIT"
    verdicts = {}
    for role, touches in (("teacher", ("outputs",)), ("data", ("data",))):
        subject = gather(role, role, "m", table=TABLE, files=files, touches=touches)  # type: ignore[arg-type]
        verdicts[role] = judge(subject, Use(), table=TABLE).verdict
    assert verdicts == {"teacher": Verdict.ALLOW, "data": Verdict.UNKNOWN}


def test_what_is_not_here_yet_is_judged_by_name_and_not_for_good() -> None:
    def by_name(address: str) -> Judgement:
        return judge(
            gather("teacher", "teacher", address, table=TABLE, files=None, touches=("outputs",)), Use(), table=TABLE
        )

    unknown, forbidden = by_name("hf:nobody/model@main"), by_name("hf:LGAI-EXAONE/EXAONE-3.5-2.4B@main")
    assert unknown.verdict is Verdict.UNKNOWN and not unknown.final
    assert forbidden.verdict is Verdict.FORBID and forbidden.final


def test_the_public_name_explains_and_names_the_way_out() -> None:
    allowed, lines = stillhouse.explain_rights("openai:gpt-5", student="generative")
    assert not allowed
    assert "as an internal commercial classifier this would be allowed" in "\n".join(lines)
    assert lines[-1] == "This is not legal advice."
    assert stillhouse.explain_rights("deepseek-ai/DeepSeek-R1", student="generative")[0]
