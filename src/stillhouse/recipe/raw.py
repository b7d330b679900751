"""The recipe's first stage: where rows come from, how they are cleaned, deduplicated, decontaminated and split."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from stillhouse.recipe.fields import Section, execution, result
from stillhouse.recipe.licensed import Licensed, Name, Seed

Handling = Literal["redact", "reject", "flag", "keep"]
Format = Literal["auto", "jsonl", "csv", "tsv", "parquet", "text", "arrow"]


class Columns(Section):
    """Which column, or expression over columns, is what."""

    text: Annotated[
        str | None,
        result("Column or expression that gives the text; empty: text, messages, prompt and completion, … as found"),
    ] = None
    label: Annotated[str | None, result("Column or expression that gives the gold label; empty: not known")] = None
    license: Annotated[
        str | None, result("Column or expression that gives the row's own license; rows without a right are cut")
    ] = None
    groups: Annotated[
        dict[Name, str], result("Group name to column or expression, for the audit", default_factory=dict)
    ]


class Source(Licensed):
    """One set of rows. ``{kind: feints, name: …, run: …}`` is short for the tail that an earlier run left aside."""

    name: Annotated[Name, result("Short name, used in every report")]
    data: Annotated[
        str,
        result(
            "Address: a path or glob, hf:org/name@revision, pypi:name==version#member, s3://, gs:// or az://",
            address=True,
        ),
    ]
    format: Annotated[Format, result("How to read it; auto goes by the file's ending")] = "auto"
    fields: Annotated[tuple[str, ...] | None, result("Column names of a CSV or TSV file that has no header line")] = (
        None
    )
    encoding: Annotated[str, result("Character encoding of text files")] = "utf-8"
    quoting: Annotated[bool, result("Whether quotation marks in CSV or TSV group cells")] = True
    columns: Annotated[Columns, Field(default_factory=Columns, description="Column mapping")]
    where: Annotated[str | None, result("Expression; rows for which it is false are left out")] = None
    html: Annotated[bool, result("Whether the text is HTML, of which the main text is taken")] = False
    weight: Annotated[
        float | None, result("Its share among the training documents, against the other weights; empty: all", gt=0)
    ] = None
    license: Annotated[str | None, result("SPDX id of the data's license, when you know it")] = None
    license_file: Annotated[
        str | None, result("Address of its license text, where it does not lie beside it", address=True)
    ] = None
    owner: Annotated[str | None, result("Who owns it, where it is your own", min_length=1)] = None

    @model_validator(mode="before")
    @classmethod
    def _of_feints(cls, given: Any) -> Any:
        """Feints are documents already: their columns are known, and their text or turns found as in any file."""
        if not isinstance(given, dict) or given.get("kind", "files") == "files":
            return {key: value for key, value in given.items() if key != "kind"} if isinstance(given, dict) else given
        if given["kind"] != "feints" or not isinstance(given.get("run"), str):
            raise ValueError("`kind` is files or feints; feints take `run`, the folder of the run that left them")
        rest = {key: value for key, value in given.items() if key not in ("kind", "run")}
        columns = {"label": "label", "license": "license"} | dict(rest.pop("columns", {}))
        return {"data": f"{given['run']}/3-cuts/feints.parquet", "columns": columns, **rest}

    generated_by: Annotated[
        tuple[str, ...], result("Models that wrote the texts (org/model or provider:model); their terms count too")
    ] = ()


class Clean(Section):
    """What happens to each text before it becomes a document. Every step says what it did, and can be turned off."""

    repair: Annotated[bool, result("Mend wrongly decoded text (mojibake), where a text looks like it")] = True
    unicode: Annotated[Literal["NFC", "NFKC", "none"], result("Unicode normal form")] = "NFC"
    whitespace: Annotated[
        Literal["fold", "keep"], result("fold: runs of white space become one space, ends are trimmed")
    ] = "fold"
    min_characters: Annotated[PositiveInt, result("Shorter texts are cut (tail)")] = 1
    max_characters: Annotated[PositiveInt, result("Longer texts are cut (tail)")] = 50_000
    profile: Annotated[
        Literal["short", "chat", "web", "none"],
        result("Rules on length, repetition and form; those for web pages would throw away chats and short texts"),
    ] = "short"
    rules: Annotated[
        dict[str, float | None],
        result("Single thresholds of the profile, changed; null turns a rule off", default_factory=dict),
    ]
    detect_language: Annotated[bool, result("Identify each text's language; too short or unsure is `und`")] = True
    languages: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...],
        result("Only these languages stay (ISO codes; add `und` to keep the undetermined); empty: all"),
    ] = ()
    secrets: Annotated[
        Handling, result("Keys, tokens and passwords: redact them, reject the row (head), flag it, or keep")
    ] = "redact"
    personal: Annotated[
        Handling, result("E-mail, phone, card, account and identity numbers, …: redact, reject (head), flag, or keep")
    ] = "redact"

    @model_validator(mode="after")
    def _languages_are_detected(self) -> Self:
        if self.languages and not self.detect_language:
            raise ValueError("`languages` needs `detect_language`")
        return self


class Earlier(Section):
    """A set of texts whose copies must not come again."""

    name: Annotated[Name, result("Short name, used in reports")]
    data: Annotated[str, result("Address of the earlier texts", address=True)]
    text: Annotated[str, result("Column or expression that gives their text")] = "text"


class Duplicates(Section):
    """What counts as the same text, and what happens when copies disagree."""

    near: Annotated[bool, result("Also remove near copies (MinHash finds them, true Jaccard similarity decides)")] = (
        True
    )
    threshold: Annotated[float, result("Jaccard similarity from which two texts are near copies", ge=0.5, lt=1)] = 0.7
    conflicts: Annotated[
        Literal["ask-teacher", "vote", "drop"],
        result("Copies with different gold labels: label unknown, majority (a tie is unknown), or all of them cut"),
    ] = "ask-teacher"
    against: Annotated[tuple[Earlier, ...], Field(default=(), description="Earlier sets")] = ()


class Benchmark(Section):
    """A set of questions that no training document may hold."""

    name: Annotated[Name, result("Short name, used in reports")]
    data: Annotated[str, result("Address of its items", address=True)]
    question: Annotated[str, result("Column or expression that gives the question, or the whole item")] = "text"
    answer: Annotated[str | None, result("Column or expression that gives the answer")] = None


class Decontaminate(Section):
    """Keeps what is tested out of what is trained on."""

    own_splits: Annotated[bool, result("Against the run's own validation and test documents")] = True
    benchmarks: Annotated[tuple[Benchmark, ...], Field(default=(), description="Benchmark files")] = ()
    words: Annotated[int, result("Length of the word sequences that are compared", ge=5, le=50)] = 13


class Splits(Section):
    """Which documents train, validate and test. No text is in two splits, and no near copy of one."""

    seed: Annotated[Seed, result("Decides which document goes where")] = 0
    test: Annotated[PositiveInt, result("Documents held out for the test; those with a gold label only")] = 1000
    validation: Annotated[PositiveInt, result("Documents held out to choose the best checkpoint")] = 300
    train: Annotated[PositiveInt | None, result("At most so many to train on; empty: all others")] = None
    together: Annotated[
        tuple[Name, ...], result("Group columns whose equal values must lie in one split: author, conversation, …")
    ] = ()
    stratify: Annotated[bool, result("Keep the shares of the gold labels in test and validation")] = True
    strata: Annotated[
        tuple[Name, ...], result("Group columns whose shares test and validation keep, after those of the gold labels")
    ] = ()


class Here(Section):
    """Row work runs in processes of this machine."""

    kind: Annotated[Literal["here"], execution("Where row work runs")] = "here"
    workers: Annotated[PositiveInt | None, execution("Processes; empty: one for each core")] = None


class OnRay(Section):
    """Row work runs on a Ray cluster that sees the same file system."""

    kind: Annotated[Literal["ray"], execution("Where row work runs")]
    address: Annotated[str | None, execution("Address of the cluster; empty: a Ray of its own, here")] = None
    workers: Annotated[PositiveInt | None, execution("Tasks at a time; empty: as many as the cluster has cores")] = None


class Raw(Section):
    """Stage 1: what goes in."""

    engine: Annotated[Here | OnRay, Field(default_factory=Here, discriminator="kind", description="Where it runs")]
    sources: Annotated[tuple[Source, ...], Field(min_length=1, description="Where the rows come from")]
    clean: Annotated[Clean, Field(default_factory=Clean, description="Cleaning")]
    duplicates: Annotated[Duplicates, Field(default_factory=Duplicates, description="Deduplication")]
    decontaminate: Annotated[Decontaminate, Field(default_factory=Decontaminate, description="Decontamination")]
    split: Annotated[Splits, Field(default_factory=Splits, description="Splits")]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError("source names must differ from each other")
        taken = {"teacher", "base", "data"} & set(names)
        if taken:
            raise ValueError(f"a source cannot be called {', '.join(sorted(taken))}: that is a role")
        return self

    @model_validator(mode="after")
    def _weights_for_all(self) -> Self:
        without = [source.name for source in self.sources if source.weight is None]
        if without and len(without) < len(self.sources):
            raise ValueError(f"some sources have a `weight`, and {', '.join(without)} have none; give all or none")
        return self

    @model_validator(mode="after")
    def _groups_are_mapped(self) -> Self:
        known = {group for source in self.sources for group in source.columns.groups}
        for field, names in (("together", self.split.together), ("strata", self.split.strata)):
            strangers = sorted(set(names) - known)
            if strangers:
                raise ValueError(
                    f"split.{field} names {', '.join(strangers)}, which no source maps in `columns.groups`; "
                    f"mapped are: {', '.join(sorted(known)) or 'none'}"
                )
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The sources' weights, by name; empty where they have none."""
        return {source.name: source.weight for source in self.sources if source.weight is not None}
