"""Addresses: what they say, what they resolve to, and what is refused. The package index is a real local server."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stillhouse.addresses import Files, HubAddress, LocalAddress, PackageAddress, parse, peek, resolve
from stillhouse.addresses.match import pattern_regex
from stillhouse.addresses.pip_config import parse_pip_settings, read_pip_settings
from stillhouse.addresses.pypi import read_license
from stillhouse.addresses.unpack import Limits, copy_out, extract, open_archive
from stillhouse.errors import StillhouseError

METADATA = "Metadata-Version: 2.4\nName: tiny-model\nVersion: 1.0\nLicense-Expression: MIT\n"
WHEEL = {
    "tiny_model/model/config.json": b"{}",
    "tiny_model/model/weights.bin": b"\x01\x02",
    "tiny_model/model/pooling/config.json": b"{}",
    "tiny_model-1.0.dist-info/METADATA": METADATA.encode(),
    "tiny_model-1.0.dist-info/licenses/LICENSE": b"the license text",
}


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes], mode: str = "w:gz", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return buffer.getvalue()


INNER = tar_of({"old/rows.txt": b"row", "old/notes.txt": b"note"})
SDIST = {
    "tiny_model-1.0/PKG-INFO": METADATA.encode(),
    "tiny_model-1.0/LICENSE.txt": b"the license text",
    "tiny_model-1.0/setup.py": b"raise SystemExit('a setup script must never run')",
    "tiny_model-1.0/data/only_in_sdist.csv": b"a,b\n",
    "tiny_model-1.0/data/old.tar.gz": INNER,
    "tiny_model-1.0/tiny_model/model/config.json": b"{}",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def names(files: Files) -> list[str]:
    return [path.relative_to(files.root).as_posix() for path in files.files]


# --- what an address says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("data/rows.csv", LocalAddress("data/rows.csv")),
        ("C:\\data\\rows.csv", LocalAddress("C:\\data\\rows.csv")),
        ("./odd:name.csv", LocalAddress("./odd:name.csv")),
        ("hf:org/name@main", HubAddress("hf:org/name@main", "model", "org/name", "main", "**")),
        (
            "hf:datasets/org/name@v1#data/*.parquet",
            HubAddress("hf:datasets/org/name@v1#data/*.parquet", "dataset", "org/name", "v1", "data/*.parquet"),
        ),
        ("pypi:a.b==1!2.0+x#d/*", PackageAddress("pypi:a.b==1!2.0+x#d/*", "a.b", "1!2.0+x", ("d/*",))),
        (
            "pypi:a==1#x.tar.gz!y/[!z]*",
            PackageAddress("pypi:a==1#x.tar.gz!y/[!z]*", "a", "1", ("x.tar.gz", "y/[!z]*")),
        ),
    ],
)
def test_parse_reads_every_kind(text: str, parsed: object) -> None:
    assert parse(text) == parsed


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("", "write a path"),
        ("a\nb", "write a path"),
        ("s3:bucket/key", "use hf:, pypi:, s3://, gs:// or az://"),
        ("hf:org/name", "pin it: hf:org/name@"),
        ("hf:a/b/c@main", "write hf:org/name@revision"),
        ("pypi:name", "pin it: pypi:name==1.2.3"),
        ("pypi:name>=1.0#d/*", "pin it: pypi:name==1.2.3#d/*"),
        ("pypi:name==1.*#d/*", "pin it: pypi:name==1.2.3#d/*"),
        ("pypi:name[extra]==1.0#d/*", "pin it: pypi:name==1.2.3#d/*"),
        ("pypi:==1.0#d/*", "write pypi:"),
        ("pypi:name==1.0", "name them: pypi:name==1.0#"),
        ("pypi:name==1.0#../x", "write a relative path"),
        ("pypi:name==1.0#/x", "write a relative path"),
        ("pypi:name==1.0#a!", "write a relative path"),
        ("pypi:name==1.0#[z-a]", "mend the set"),
        ("hf:org/name@main#", "write a relative path"),
    ],
)
def test_parse_refuses_with_a_cure(text: str, cure: str) -> None:
    with pytest.raises(StillhouseError) as caught:
        parse(text)
    assert cure in caught.value.problems[0].fix


@pytest.mark.parametrize(
    "pattern",
    ["*", "**", "a/*", "a/**", "**/*.txt", "a/**/c.txt", "**/**/c.txt", "?.txt", "[ab].txt", "[!a].txt", "a*", ".h/*",
     "**/.x", "a/b/*", "[a-c]/*", "x[y.txt", "*.*", "a/**/b/**"],
)  # fmt: skip
def test_wildcards_mean_what_the_standard_glob_means(tmp_path: Path, pattern: str) -> None:
    listed = ["a.txt", "b.txt", "ab.txt", "x[y.txt", "a/c.txt", "a/b/c.txt", "a/b/d/c.txt", ".h/a.txt", "a/.x", "c/z"]
    root = tree(tmp_path, dict.fromkeys(listed, ""))
    found = {Path(name).as_posix() for name in glob.glob(pattern, root_dir=root, recursive=True)}  # noqa: PTH207
    expected = sorted(name for name in found if (root / name).is_file())
    assert sorted(name for name in listed if pattern_regex(pattern).fullmatch(name)) == expected


# --- local files and digests --------------------------------------------------------------------------------------


def test_a_folder_a_glob_and_a_file(tmp_path: Path) -> None:
    base = tree(
        tmp_path / "base", {"d/a.csv": "1", "d/b.txt": "2", "d/e/c.csv": "3", "d/.hidden": "4", "x[1].csv": "5"}
    )
    cache = tmp_path / "cache"
    assert names(resolve("d", cache=cache, base=base)) == ["a.csv", "b.txt", "e/c.csv"]
    assert names(resolve("d/*.csv", cache=cache, base=base)) == ["a.csv"]
    assert names(resolve("d/**/*.csv", cache=cache, base=base)) == ["a.csv", "e/c.csv"]
    assert names(resolve("d/.hidden", cache=cache, base=base)) == [".hidden"]
    assert names(resolve("x[1].csv", cache=cache, base=base)) == ["x[1].csv"]
    assert resolve(str(base / "d"), cache=cache, base=tmp_path) == peek(str(base / "d"), cache=cache, base=base)
    assert all(path.is_absolute() for path in resolve("d", cache=cache, base=base).files)


def test_a_linked_folder_is_entered_and_a_loop_ends(tmp_path: Path) -> None:
    base = tree(tmp_path / "base", {"d/a.csv": "1"})
    tree(tmp_path / "elsewhere", {"b.csv": "2"})
    (base / "d/linked").symlink_to(tmp_path / "elsewhere")
    (base / "d/loop").symlink_to(base / "d")
    assert names(resolve("d", cache=tmp_path, base=base)) == ["a.csv", "linked/b.csv"]


@pytest.mark.parametrize(("text", "says"), [("d/a.cvs", "did you mean a.csv"), ("d/*.json", "no file is there")])
def test_a_missing_local_path_is_an_error_also_for_peek(tmp_path: Path, text: str, says: str) -> None:
    base = tree(tmp_path, {"d/a.csv": "1"})
    for door in (peek, resolve):
        with pytest.raises(StillhouseError, match=says):
            door(text, cache=tmp_path / "cache", base=base)


def test_the_digest_is_that_of_content_and_names_not_of_the_place(tmp_path: Path) -> None:
    files = {"a.csv": "1", "e/c.csv": "3"}
    one, two = tree(tmp_path / "one/d", files), tree(tmp_path / "two/deeper/d", dict(reversed(files.items())))

    def digest(root: Path, pattern: str = "**/*.csv") -> str:
        return resolve(f"{root}/{pattern}", cache=tmp_path / "cache", base=tmp_path).digest

    before = digest(one)
    assert digest(two) == before
    tree(two, {"unmatched.txt": "anything"})
    assert digest(two) == before
    tree(two, {"a.csv": "2"})  # the same size
    assert digest(two) != before
    (one / "a.csv").rename(one / "renamed.csv")
    assert digest(one) != before


def test_a_remembered_digest_is_used_until_the_file_changes(tmp_path: Path) -> None:
    path, memory = tmp_path / "a.csv", tmp_path / "cache/digests.json"
    tree(tmp_path, {"a.csv": "1"})
    os.utime(path, (1, 1))  # long settled

    def digest() -> str:
        return resolve("a.csv", cache=memory.parent, base=tmp_path).digest

    honest = digest()
    forged = json.loads(memory.read_text("utf-8"))
    forged["files"][str(path)][3] = "0" * 64
    memory.write_text(json.dumps(forged), "utf-8")
    assert digest() != honest, "the memory was not asked"
    os.utime(path, (2, 2))
    assert digest() == honest
    for garbage in ("", "{", '{"schema_version": 99}', '{"files": {"a": 1}}'):
        memory.write_text(garbage, "utf-8")
        assert digest() == honest


def test_a_fresh_file_is_not_remembered(tmp_path: Path) -> None:
    tree(tmp_path, {"a.csv": "1"})
    resolve("a.csv", cache=tmp_path / "cache", base=tmp_path)
    assert not (tmp_path / "cache/digests.json").exists()


# --- archives from outside ----------------------------------------------------------------------------------------


def unpack(tmp_path: Path, content: bytes, *patterns: str, limits: Limits | None = None) -> list[str]:
    path, target = tmp_path / "archive", tmp_path / "room/target"
    path.write_bytes(content)
    target.parent.mkdir(exist_ok=True)
    with open_archive(path, where="here") as archive:
        return list(extract(archive, patterns, target, where="here", limits=limits).files)


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize("evil", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:/evil"])
def test_a_path_that_leaves_the_archive_is_refused(
    tmp_path: Path, make: Callable[[dict[str, bytes]], bytes], evil: str
) -> None:
    # even when the evil member is not asked for
    with pytest.raises(StillhouseError, match="refused"):
        unpack(tmp_path, make({"good": b"1", evil: b"2"}), "good")
    assert not list(tmp_path.rglob("evil"))
    assert not list(tmp_path.rglob("good"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_never_unpacked(tmp_path: Path, kind: bytes) -> None:
    odd = tarfile.TarInfo("odd")
    odd.type, odd.linkname = kind, "/etc/hostname"
    content = tar_of({"good": b"1"}, extra=(odd,))
    assert unpack(tmp_path, content, "good") == ["good"]
    with pytest.raises(StillhouseError, match="link or a device"):
        unpack(tmp_path, content, "*")


def test_a_link_in_a_zip_is_never_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/hostname")
    with pytest.raises(StillhouseError, match="link or a device"):
        unpack(tmp_path, buffer.getvalue(), "link")


@pytest.mark.parametrize("limits", [Limits(member=9, total=1000), Limits(member=10, total=19)])
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_too_large_is_refused_before_a_byte_is_written(
    tmp_path: Path, make: Callable[[dict[str, bytes]], bytes], limits: Limits
) -> None:
    content = make({"a": b"0" * 10, "b": b"0" * 10})
    with pytest.raises(StillhouseError, match="would unpack to"):
        unpack(tmp_path, content, "*", limits=limits)
    assert not (tmp_path / "room/target").exists()
    assert unpack(tmp_path, content, "*", limits=Limits(10, 20)) == ["a", "b"]


def test_a_member_larger_than_its_header_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(zip_of({"a": b"0" * 10}))
    with open_archive(tmp_path / "archive", where="here") as archive:
        lying = [type(member)(member.path, member.full, 5, True, member.open) for member in archive.members]
        with pytest.raises(StillhouseError, match="larger than the archive says"):
            copy_out(lying, tmp_path / "target", where="here")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_round_trip_through_every_kind_of_archive_and_a_nested_one(tmp_path: Path, mode: str) -> None:
    files = {"d/a": b"1", "d/e/b": b"2"}
    content = zip_of({"x/inner": tar_of(files, mode), "other": b""})
    assert unpack(tmp_path, content, "x/*", "d/**") == ["d/a", "d/e/b"]
    target = tmp_path / "room/target"
    assert {name: (target / name).read_bytes() for name in files} == files
    assert [path.name for path in (tmp_path / "room").iterdir()] == ["target"], "nothing else is left"


def test_what_is_no_archive_or_a_torn_one_says_so(tmp_path: Path) -> None:
    for content in (b"plain text", b"", tar_of({"a": os.urandom(5000)})[:2000]):
        with pytest.raises(StillhouseError, match="no archive that can be read"):
            unpack(tmp_path, content, "*")
    with pytest.raises(StillhouseError, match="2 archives match"):
        unpack(tmp_path, zip_of({"a.tar": b"", "b.tar": b""}), "*.tar", "x")


# --- packages, from a real index on this machine ------------------------------------------------------------------


class Index:
    """A PEP 503 index of one package, served for real; ``asked`` lists the paths that were requested."""

    def __init__(self, server: HTTPServer, archives: dict[str, bytes]) -> None:
        self.server, self.archives, self.bad_hash, self.hashes = server, dict(archives), False, True
        self.failures: list[Response] = []
        self.secret: tuple[str, str] | None = None
        server.expect_request("/simple/tiny-model/").respond_with_handler(self._page)
        for name in archives:
            server.expect_request(f"/files/{name}").respond_with_handler(self._file)

    @property
    def asked(self) -> list[str]:
        return [request.path for request, _ in self.server.log]

    def _page(self, request: Request) -> Response:
        if self.failures:
            return self.failures.pop()
        given = request.authorization
        if self.secret and (given is None or (given.username, given.password) != self.secret):
            return Response("who are you?", status=401)
        links = []
        for name, content in self.archives.items():
            digest = "0" * 64 if self.bad_hash else hashlib.sha256(content).hexdigest()
            mark = f"#sha256={digest}" if self.hashes else ""
            links.append(f'<a href="/files/{name}{mark}" data-requires-python="&lt;3">{name}</a>')
        return Response("<html><body>" + "\n".join(links) + "</body></html>", mimetype="text/html")

    def _file(self, request: Request) -> Response:
        return Response(self.archives[request.path.rpartition("/")[2]], mimetype="application/octet-stream")


@pytest.fixture
def index(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Index:
    for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", httpserver.url_for("/simple"))
    monkeypatch.setattr("stillhouse.addresses.download._PAUSES", (0.0, 0.0))
    return Index(httpserver, {"tiny_model-1.0-py3-none-any.whl": zip_of(WHEEL), "tiny_model-1.0.tar.gz": tar_of(SDIST)})


def get(tmp_path: Path, pattern: str, version: str = "1.0") -> Files:
    return resolve(f"pypi:tiny-model=={version}#{pattern}", cache=tmp_path / "cache", base=tmp_path)


def look(tmp_path: Path, pattern: str) -> Files | None:
    return peek(f"pypi:tiny-model==1.0#{pattern}", cache=tmp_path / "cache", base=tmp_path)


def test_members_of_a_wheel_with_what_the_package_says_of_itself(tmp_path: Path, index: Index) -> None:
    progress: list[tuple[str, int, int | None]] = []
    address = "pypi:tiny-model==1.0#tiny_model/model/*"
    assert peek(address, cache=tmp_path / "cache", base=tmp_path) is None
    files = resolve(address, cache=tmp_path / "cache", base=tmp_path, progress=lambda *step: progress.append(step))
    wheel = index.archives["tiny_model-1.0-py3-none-any.whl"]
    assert names(files) == ["tiny_model/model/config.json", "tiny_model/model/weights.bin"]
    assert [path.read_bytes() for path in files.files] == [b"{}", b"\x01\x02"]
    assert files.facts == {
        "name": "tiny-model",
        "version": "1.0",
        "archive": "tiny_model-1.0-py3-none-any.whl",
        "archive_sha256": hashlib.sha256(wheel).hexdigest(),
        "license": "MIT",
    }
    assert files.origin is not None
    assert (files.origin / "tiny_model-1.0.dist-info/licenses/LICENSE").read_text("utf-8") == "the license text"
    assert progress[-1] == ("tiny_model-1.0-py3-none-any.whl", len(wheel), len(wheel))
    assert peek(address, cache=tmp_path / "cache", base=tmp_path) == files
    # the same files in a plain folder are the same thing
    copied = shutil.copytree(files.root, tmp_path / "copied")
    assert resolve(str(copied), cache=tmp_path / "cache", base=tmp_path).digest == files.digest


def test_the_source_distribution_is_looked_at_when_no_wheel_matches(tmp_path: Path, index: Index) -> None:
    plain = get(tmp_path, "data/*.csv")
    assert names(plain) == ["data/only_in_sdist.csv"]
    assert plain.facts["archive"] == "tiny_model-1.0.tar.gz"
    assert plain.facts["license"] == "MIT"
    assert plain.origin is not None
    assert sorted(path.name for path in plain.origin.iterdir()) == ["LICENSE.txt", "PKG-INFO"]
    rooted = get(tmp_path, "tiny_model-1.0/data/*.csv")
    assert (names(rooted), rooted.digest) == (names(plain), plain.digest)


def test_a_nested_archive(tmp_path: Path, index: Index) -> None:
    files = get(tmp_path, "data/old.tar.gz!old/rows.txt")
    assert names(files) == ["old/rows.txt"]
    assert files.files[0].read_bytes() == b"row"
    with pytest.raises(StillhouseError, match=r"matches data/old\.tar\.gz!nothing") as caught:
        get(tmp_path, "data/old.tar.gz!nothing")
    assert "data/old.tar.gz!old/notes.txt" in caught.value.problems[0].fix


def test_star_does_not_cross_folders_and_no_match_lists_what_is_there(tmp_path: Path, index: Index) -> None:
    assert "tiny_model/model/pooling/config.json" in names(get(tmp_path, "tiny_model/**"))
    with pytest.raises(StillhouseError, match=r"matches tiny_model/model\n") as caught:
        get(tmp_path, "tiny_model/model")
    fix = caught.value.problems[0].fix
    assert "tiny_model/model/weights.bin" in fix
    assert "data/only_in_sdist.csv" in fix
    assert not (list((tmp_path / "cache/pypi").glob(".*"))), "nothing half-done is left"


def test_a_second_look_asks_nobody(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    first = get(tmp_path, "data/*.csv")
    asked = len(index.asked)
    assert sorted(set(index.asked)) == [
        "/files/tiny_model-1.0-py3-none-any.whl", "/files/tiny_model-1.0.tar.gz", "/simple/tiny-model/"
    ]  # fmt: skip

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("unearth.PackageFinder.find_all_packages", forbidden)
    monkeypatch.setattr("unearth.PackageFinder.download", forbidden)
    monkeypatch.setattr("subprocess.run", forbidden)
    assert get(tmp_path, "data/*.csv") == first
    assert look(tmp_path, "tiny_model/model/*") is None, "peek unpacks nothing"
    # another pattern on archives that are already here
    assert get(tmp_path, "tiny_model/model/*").facts["archive"].endswith(".whl")
    assert get(tmp_path, "setup.py").facts["archive"].endswith(".tar.gz")
    with pytest.raises(AssertionError):
        get(tmp_path, "tiny_model/model/*", version="1.1")
    assert len(index.asked) == asked


def damage_member(entry: Path) -> None:
    (entry / "members/tiny_model/model/config.json").write_text("[]", "utf-8")  # the same size


def lose_member(entry: Path) -> None:
    (entry / "members/tiny_model/model/config.json").unlink()


def damage_origin(entry: Path) -> None:
    next((entry / "origin").rglob("LICENSE")).write_text("another license", "utf-8")


def tear_facts(entry: Path) -> None:
    facts = entry / "facts.json"
    facts.write_bytes(facts.read_bytes()[:-20])


def lose_facts(entry: Path) -> None:
    (entry / "facts.json").unlink()


def empty_facts(entry: Path) -> None:
    facts = json.loads((entry / "facts.json").read_text("utf-8"))
    (entry / "facts.json").write_text(json.dumps(facts | {"members": {}}), "utf-8")


@pytest.mark.parametrize("damage", [damage_member, lose_member, damage_origin, tear_facts, lose_facts, empty_facts])
def test_a_torn_or_changed_cache_entry_is_a_miss_and_is_mended(
    tmp_path: Path, index: Index, damage: Callable[[Path], None]
) -> None:
    before = get(tmp_path, "tiny_model/**")
    damage(before.root.parent)
    assert look(tmp_path, "tiny_model/**") is None
    assert get(tmp_path, "tiny_model/**") == before
    assert look(tmp_path, "tiny_model/**") == before


def test_a_damaged_archive_in_the_cache_is_fetched_again(tmp_path: Path, index: Index) -> None:
    get(tmp_path, "data/*.csv")
    wheel = next((tmp_path / "cache/pypi/archives").rglob("*.whl"))
    wheel.write_bytes(b"damaged")
    asked = len(index.asked)
    # the damaged wheel comes first: the sound source distribution after it must not be taken in its place
    assert get(tmp_path, "tiny_model/model/*").facts["archive"].endswith(".whl")
    assert index.asked[asked:] == ["/simple/tiny-model/", "/files/tiny_model-1.0-py3-none-any.whl"]


def test_an_archive_that_is_not_what_the_index_says_is_refused(tmp_path: Path, index: Index) -> None:
    index.bad_hash = True
    with pytest.raises(StillhouseError, match="the hash differs"):
        get(tmp_path, "tiny_model/model/*")
    assert look(tmp_path, "tiny_model/model/*") is None
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_an_evil_package_is_refused_and_leaves_nothing(tmp_path: Path, index: Index) -> None:
    index.archives["tiny_model-1.0-py3-none-any.whl"] = zip_of({**WHEEL, "../../evil": b"1"})
    with pytest.raises(StillhouseError, match="refused"):
        get(tmp_path, "tiny_model/model/*")
    assert look(tmp_path, "tiny_model/model/*") is None
    assert not list(tmp_path.rglob("evil"))


def test_errors_never_tell_where_the_index_is_nor_its_credentials(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    index.secret = ("user", "opensesame")
    host = f"{index.server.host}:{index.server.port}"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://user:opensesame@{host}/simple")
    assert names(get(tmp_path, "tiny_model/model/config.json")) == ["tiny_model/model/config.json"]

    told = []
    for password in ("wrongword", "opensesame"):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://user:{password}@{host}/simple")
        with pytest.raises(StillhouseError) as caught:
            get(tmp_path, "x", version="9.9" if password == "opensesame" else "1.1")
        told.append(str(caught.value))
        assert caught.value.__cause__ is None
    assert "Client Error(401)" in told[0]
    assert "versions that are there: 1.0" in told[1]
    everything = "".join(told) + "".join(capfd.readouterr())
    for secret in ("wrongword", "opensesame", host, index.server.host):
        assert secret not in everything


def test_a_dead_index_is_an_error_with_a_cure(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(StillhouseError, match=r"no archive .* was found \(connect error\)") as caught:
        get(tmp_path, "x")
    assert "pip's own configuration" in caught.value.problems[0].fix
    # another source that has it is enough
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.server.url_for("/simple"))
    assert get(tmp_path, "tiny_model/model/config.json").facts["name"] == "tiny-model"


def test_a_failure_that_passes_is_waited_out(tmp_path: Path, index: Index) -> None:
    index.failures = [Response("busy", status=503), Response("busy", status=429)]
    assert names(get(tmp_path, "tiny_model/model/config.json")) == ["tiny_model/model/config.json"]
    index.failures = [Response("busy", status=503) for _ in range(3)]
    with pytest.raises(StillhouseError, match=r"Server Error\(503\)"):
        get(tmp_path, "x", version="1.1")


def test_half_a_download_is_never_taken_for_the_whole(tmp_path: Path, index: Index) -> None:
    index.hashes = False  # nothing but the length tells that it is half
    whole = index.archives["tiny_model-1.0-py3-none-any.whl"]
    cut_off = [True, False]

    def flaky(request: Request) -> Response:
        answer = Response(iter([whole[:100]] if cut_off.pop(0) else [whole]), mimetype="application/octet-stream")
        answer.headers["Content-Length"] = str(len(whole))
        return answer

    index.server.clear()
    index.server.expect_request("/simple/tiny-model/").respond_with_handler(index._page)
    index.server.expect_request("/files/tiny_model-1.0-py3-none-any.whl").respond_with_handler(flaky)
    files = get(tmp_path, "tiny_model/model/*")
    assert files.facts["archive_sha256"] == hashlib.sha256(whole).hexdigest()
    assert cut_off == []


def test_find_links_alone_serve_too(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for name, content in index.archives.items():
        (links / name).write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{links} {tmp_path / 'missing'}")
    assert names(get(tmp_path, "data/*.csv")) == ["data/only_in_sdist.csv"]
    assert names(get(tmp_path, "tiny_model/model/*.bin")) == ["tiny_model/model/weights.bin"]
    assert index.asked == []
    with pytest.raises(StillhouseError, match="find-links path of pip's configuration is missing"):
        get(tmp_path, "x", version="2.0")
    assert all((links / name).read_bytes() == content for name, content in index.archives.items())


def test_what_a_killed_download_left_is_removed_when_it_is_old(tmp_path: Path, index: Index) -> None:
    shelf = tmp_path / "cache/pypi"
    old, young = tree(shelf / ".part-old", {"half": ""}), tree(shelf / ".part-young", {"half": ""})
    os.utime(old, (time.time() - 90000,) * 2)
    get(tmp_path, "tiny_model/model/*")
    assert (old.exists(), young.exists()) == (False, True)


def test_pip_settings_follow_the_precedence_of_pip() -> None:
    settings = parse_pip_settings(
        "WARNING: something\n"
        "global.index-url='https://one/simple'\n"
        "global.extra-index-url='https://two/simple\\nhttps://three/simple'\n"
        "global.timeout='60'\n"
        "list.index-url='https://not-for-us/simple'\n"
        "install.find-links='/links'\n"
        ":env:.index-url='https://user:secret@four/simple'\n"
        ":env:.default-timeout='180'\n"
        ":env:.trusted-host='five six:8080'\n"
        ":env:.no-index='false'\n"
    )
    assert settings.index_url == "https://user:secret@four/simple"
    assert settings.extra_index_urls == ("https://two/simple", "https://three/simple")
    assert settings.trusted_hosts == ("five", "six:8080")
    assert settings.timeout == 180
    assert [kind for kind, _ in settings.sources()] == ["index", "index", "index", "find_links"]
    assert "secret" not in repr(settings)
    assert len(parse_pip_settings("").sources()) == 1, "the default index"
    assert parse_pip_settings(":env:.no-index='1'").sources() == []


def test_a_file_called_pip_in_the_working_folder_is_not_run(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, {"pip.py": "raise SystemExit(3)"})
    monkeypatch.chdir(tmp_path)
    assert read_pip_settings().index_url == index.server.url_for("/simple")


@pytest.mark.parametrize(
    ("fields", "license_id"),
    [
        ([("License-Expression", "Apache-2.0"), ("License", "MIT")], "Apache-2.0"),
        ([("License", "MIT"), ("Classifier", "License :: OSI Approved :: BSD License")], "MIT"),
        ([("License", "a whole text " * 20), ("Classifier", "License :: OSI Approved :: BSD License")], "BSD License"),
        ([("License", "UNKNOWN"), ("Classifier", "Topic :: Text")], None),
    ],
)
def test_the_license_a_package_names(fields: list[tuple[str, str]], license_id: str | None) -> None:
    metadata = Message()
    for key, value in fields:
        metadata[key] = value
    assert read_license(metadata) == license_id


# --- the Hub, played by a local server ----------------------------------------------------------------------------

HUB_SCRIPT = """
import json, sys
from pathlib import Path
from stillhouse.addresses import peek, resolve
from stillhouse.errors import StillhouseError
door, address, cache = sys.argv[1:]
try:
    files = {"peek": peek, "resolve": resolve}[door](address, cache=Path(cache), base=Path("."))
except StillhouseError as error:
    print(json.dumps({"error": str(error)}))
else:
    found = files and {"files": [p.relative_to(files.root).as_posix() for p in files.files], "facts": files.facts}
    print(json.dumps({"found": found, "imported": "huggingface_hub" in sys.modules}))
"""
COMMIT = "a" * 40
HUB_FILES = {"config.json": b"{}", "sub/vocab.txt": b"a\nb\n", "weights.bin": b"123"}


def hub(door: str, address: str, tmp_path: Path, endpoint: str) -> dict[str, object]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", HUB_SCRIPT, door, address, str(tmp_path / "cache")],
        env=kept | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_hub_files_are_fetched_once_and_seen_without_the_network(tmp_path: Path, httpserver: HTTPServer) -> None:
    pytest.importorskip("huggingface_hub")

    def serve(request: Request) -> Response:
        name = request.path.rpartition(f"/resolve/{COMMIT}/")[2]
        answer = Response(HUB_FILES[name], mimetype="application/octet-stream")
        answer.headers |= {"ETag": hashlib.sha1(HUB_FILES[name]).hexdigest(), "X-Repo-Commit": COMMIT}  # noqa: S324
        return answer

    entries = [
        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}  # noqa: S324
        for name, content in HUB_FILES.items()
    ]
    info = {"id": "org/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in HUB_FILES]}
    httpserver.expect_request("/api/models/org/name/revision/main").respond_with_json(info)
    httpserver.expect_request(f"/api/models/org/name/tree/{COMMIT}").respond_with_json(entries)
    for name in HUB_FILES:
        httpserver.expect_request(f"/org/name/resolve/{COMMIT}/{name}").respond_with_handler(serve)

    endpoint, address = httpserver.url_for("").rstrip("/"), "hf:org/name@main#**/*.txt"
    got = hub("resolve", address, tmp_path, endpoint)
    facts = {"repo": "org/name", "revision": "main", "commit": COMMIT}
    assert got.get("found") == {"files": ["sub/vocab.txt"], "facts": facts}, got
    asked = len(httpserver.log)
    assert hub("peek", address, tmp_path, endpoint) == {"found": got["found"], "imported": False}
    assert hub("peek", "hf:org/name@main", tmp_path, endpoint) == {"found": None, "imported": False}
    assert len(httpserver.log) == asked
    next((tmp_path / "hf").rglob("vocab.txt")).write_bytes(b"a\nc\n")
    assert hub("peek", address, tmp_path, endpoint)["found"] is None, "a changed file is a miss"


def test_a_hub_that_cannot_be_reached_is_an_error_with_a_cure(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    said = str(hub("resolve", "hf:org/name@main", tmp_path, "http://127.0.0.1:1")["error"])
    assert "could not be reached" in said
    assert "127.0.0.1" not in said


def test_without_huggingface_hub_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillhouse.addresses.hub.find_spec", lambda name: None)
    with pytest.raises(StillhouseError, match=r"stillhouse\[hub\]"):
        resolve("hf:org/name@main", cache=tmp_path, base=tmp_path)


def test_importing_addresses_imports_nothing_heavy() -> None:
    script = "import sys, stillhouse.addresses; print([m for m in ('unearth', 'huggingface_hub') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
