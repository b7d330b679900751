"""Objects of a store as addresses, through pyarrow's own client from a real server on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from object_server import ObjectServer
from stillhouse.addresses import Files, ObjectAddress, parse, peek, resolve
from stillhouse.addresses.buckets import cures, open_store
from stillhouse.addresses.listing import Listed
from stillhouse.addresses.shelf import arrived
from stillhouse.errors import StillhouseError
from stillhouse.plan import make_plan
from stillhouse.recipe import parse_recipe

SECRET = "opensesame"
ANONYMOUS = "&anonymous=true"  # of the two clients of S3 the one whose patience a test can shorten
ROWS = {
    "rows/a.jsonl": b'{"text": "a"}\n',
    "rows/b.jsonl": b'{"text": "b"}\n' * 3,
    "rows/empty.jsonl": b"",
    "rows/deep/er/c.jsonl": b'{"text": "c"}\n',
    "rows/deep/notes.txt": b"notes",
    "rows/.hidden/d.jsonl": b"{}",
    "rows/.e.jsonl": b"{}",
    "rows/x[1].jsonl": b"{}\n",
    "rows/a b+c&d%20é'.jsonl": b"{}\n\n",
    "other/a.jsonl": b"{}",
}


@pytest.fixture(autouse=True)
def _someone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's credentials, and nothing else that a client would look at."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SOMEONE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr("stillhouse.addresses.buckets._ATTEMPTS", 2)


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with ObjectServer() as running:
        for key, content in ROWS.items():
            running.put(f"bucket/{key}", content)
        yield running


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """The same files in a folder."""
    return tree(tmp_path / "local", ROWS)


def tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def names(files: Files) -> list[str]:
    return [path.relative_to(files.root).as_posix() for path in files.files]


def ask(tmp_path: Path, address: str) -> Files:
    return resolve(address, cache=tmp_path / "cache", base=tmp_path, anew=True)


def look(tmp_path: Path, address: str) -> Files | None:
    return peek(address, cache=tmp_path / "cache", base=tmp_path)


def refusal(tmp_path: Path, address: str) -> str:
    with pytest.raises(StillhouseError) as caught:
        ask(tmp_path, address)
    assert caught.value.__cause__ is None
    return str(caught.value)


# --- what an address says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("s3://b", ("s3", "b", "", ())),
        ("s3://b/a/*.csv?region=x", ("s3", "b", "a/*.csv", (("region", "x"),))),
        ("s3://b/part-?.csv?region=x&scheme=http", ("s3", "b", "part-?.csv", (("region", "x"), ("scheme", "http")))),
        ("s3://b/a%20b#c?", ("s3", "b", "a%20b#c?", ())),
        ("gs://b/a/", ("gs", "b", "a/", ())),
        ("gs://anonymous@b/a", ("gs", "anonymous@b", "a", ())),
        ("az://c@acct.dfs.core.windows.net/a", ("abfs", "c@acct.dfs.core.windows.net", "a", ())),
        ("abfss://acct.blob.core.windows.net/c/a", ("abfs", "acct.blob.core.windows.net", "c/a", ())),
    ],
)  # fmt: skip
def test_parse_reads_every_store(text: str, parsed: tuple[str, str, str, tuple[tuple[str, str], ...]]) -> None:
    assert parse(text) == ObjectAddress(text, *parsed)


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("s3:///key", "write s3://bucket/key"),
        ("az://container/key", "write az://container@account"),
        ("s3://b//key", "one / between folders"),
        ("s3://b/a/../key", "one / between folders"),
        ("s3://b/[z-a]", "mend the set"),
        ("s3://b/key?regoin=x", "the options are anonymous, endpoint_override,"),
        ("s3://b/key?region=x&region=y", "the options are"),
        ("s3://b/key?anonymous=yes", "write anonymous=true"),
        ("s3://b/year=1/?x=1", "a wildcard ? before a word and = is written *"),
    ],
)
def test_parse_refuses_with_a_cure(text: str, cure: str) -> None:
    with pytest.raises(StillhouseError) as caught:
        parse(text)
    assert cure in caught.value.problems[0].fix


@pytest.mark.parametrize(
    "text",
    [
        f"s3://SOMEONE:{SECRET}@b/key",
        f"s3://{SECRET}@b/key",
        f"S3://SOMEONE:{SECRET}@b/key",
        f"s3://SOMEONE:{SECRET}@b/key\n",
        f"s3://b/key?access_key=SOMEONE&secret_key={SECRET}",
        f"s3://b/key?region=x&{SECRET}=",
        f"s3://b/key?region=x&{SECRET}",
        f"s3://b/key?session_token={SECRET}",
        f"s3://b/key?X-Amz-Signature={SECRET}&X-Amz-Expires=60",
        f"s3://b/key?endpoint_override=http://SOMEONE:{SECRET}@host",
        f"gs://SOMEONE:{SECRET}@b/key",
        f"az://c:{SECRET}@acct.dfs.core.windows.net/key",
        f"az://:{SECRET}@acct.blob.core.windows.net/c/key",
        f"az://c@acct.dfs.core.windows.net/key?sv=2026&sig={SECRET}",
        f"az://c@acct.dfs.core.windows.net/key?client_secret={SECRET}",
        f"https://bucket.host/key?X-Amz-Signature={SECRET}",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(
    tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for door in (peek, resolve):
        with pytest.raises(StillhouseError) as caught:
            door(text, cache=tmp_path, base=tmp_path)
        assert SECRET not in str(caught.value)
        if not text.startswith("https"):
            assert "your provider's environment or profile" in caught.value.problems[0].fix or text.endswith("\n")
    assert SECRET not in "".join(capfd.readouterr())


# --- the same bytes are the same thing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["rows", "rows/", "rows/*", "rows/*.jsonl", "rows/**", "rows/**/*.jsonl", "rows/*/*/c.jsonl", "*/a.jsonl", "**",
     "rows/a.jsonl", "rows/x[1].jsonl", "rows/[ab].jsonl", "rows/[!a].jsonl", "rows/?.jsonl", "rows/.hidden",
     "rows/.hidden/*", "rows/.*", "rows/.e.jsonl", "rows/deep/**/*", "rows/a b+c&d%20é'.jsonl", "rows/empty.jsonl",
     "rows/*.csv", "rows/none/*", "none", "rows/a", "rows/deep/er/c"],
)  # fmt: skip
def test_a_bucket_is_read_as_a_folder_is(tmp_path: Path, server: ObjectServer, local: Path, path: str) -> None:
    try:
        expected = resolve(path, cache=tmp_path / "cache", base=local)
    except StillhouseError:
        assert "\n" in refusal(tmp_path, server.address(f"bucket/{path}"))
        assert look(tmp_path, server.address(f"bucket/{path}")) is None
        return
    files = ask(tmp_path, server.address(f"bucket/{path}"))
    assert (names(files), files.digest) == (names(expected), expected.digest)
    assert [one.read_bytes() for one in files.files] == [one.read_bytes() for one in expected.files]
    assert all(one.is_absolute() for one in files.files)
    assert look(tmp_path, server.address(f"bucket/{path}")) == files


def test_a_whole_bucket_is_its_visible_objects(tmp_path: Path, server: ObjectServer, local: Path) -> None:
    server.put("bucket/rows/", b"")  # what consoles leave to mark a folder
    expected = resolve(".", cache=tmp_path / "cache", base=local)
    for text in ("bucket", "bucket/"):
        assert ask(tmp_path, server.address(text)).digest == expected.digest


def test_moving_data_between_a_folder_and_a_bucket_reruns_nothing(
    tmp_path: Path, server: ObjectServer, local: Path
) -> None:
    def fingerprint(data: str) -> str | None:
        mapping = {
            "name": "tiny",
            "labels": ["yes", "no"],
            "raw": {"sources": [{"name": "rows", "data": data}]},
            "ferment": {
                "teacher": {"kind": "local", "model": "hf:org/teacher@main"},
                "prompt": {"question": "{text}?", "answer": " {label}"},
            },
            "distill": {"student": {"kind": "keep-layers", "base": "hf:org/base@main", "keep": 2}},
            "paths": {"cache": str(tmp_path / "cache"), "runs": str(tmp_path / "runs")},
        }
        return make_plan(parse_recipe(mapping), base=local).step("raw").fingerprint

    address = server.address("bucket/rows/*.jsonl")
    assert fingerprint(address) is None, "nothing is here yet, and planning does not fetch"
    assert server.seen == []
    ask(tmp_path, address)
    assert fingerprint(address) == fingerprint("rows/*.jsonl") is not None


# --- what is fetched, and when ------------------------------------------------------------------------------------


def test_what_is_here_and_unchanged_is_not_fetched_again(tmp_path: Path, server: ObjectServer) -> None:
    address = server.address("bucket/rows/*.jsonl")
    first = ask(tmp_path, address)
    wanted = [key for key, content in ROWS.items() if f"bucket/{key}" in server.gets or content == b""]
    assert sorted(server.gets) == sorted(f"bucket/{key}" for key in wanted if ROWS[key]), "each once"
    assert {f"rows/{name}" for name in names(first)} <= set(wanted)
    server.gets.clear()
    server.heads.clear()
    listed = server.lists
    assert ask(tmp_path, address) == first
    assert (server.gets, server.lists > listed) == ([], True)
    assert not [key for key in server.heads if "*" not in key], "its listing says it all"
    asked = len(server.seen)
    assert look(tmp_path, address) == resolve(address, cache=tmp_path / "cache", base=tmp_path) == first
    assert len(server.seen) == asked, "who does not ask anew asks nobody"


def test_a_changed_object_is_fetched_alone_and_the_last_state_stays_readable(
    tmp_path: Path, server: ObjectServer, local: Path
) -> None:
    address = server.address("bucket/rows/*.jsonl")
    before = ask(tmp_path, address)
    read = {path: (path.read_bytes(), path.stat().st_ino) for path in before.files}
    server.gets.clear()
    changed = {"rows/a.jsonl": b'{"text": "A"}\n', "rows/new.jsonl": b"{}"}
    for key, content in changed.items():
        server.put(f"bucket/{key}", content)
    del server.objects["bucket/rows/b.jsonl"]
    assert look(tmp_path, address) == before, "peek asks nobody"
    after = ask(tmp_path, address)
    assert sorted(server.gets) == ["bucket/rows/a.jsonl", "bucket/rows/new.jsonl"]
    tree(local, changed)
    (local / "rows/b.jsonl").unlink()
    assert after.digest == resolve("rows/*.jsonl", cache=tmp_path / "cache", base=local).digest != before.digest
    assert {path: (path.read_bytes(), path.stat().st_ino) for path in before.files} == read
    assert look(tmp_path, address) == after
    # and back again
    server.put("bucket/rows/b.jsonl", ROWS["rows/b.jsonl"])
    server.put("bucket/rows/a.jsonl", ROWS["rows/a.jsonl"])
    del server.objects["bucket/rows/new.jsonl"]
    again = ask(tmp_path, address)
    assert (again.files, again.digest) == (before.files, before.digest)
    assert {path: (path.read_bytes(), path.stat().st_ino) for path in again.files} == read, "not touched since"


def test_an_object_that_changes_within_one_tick_of_its_clock_is_noticed(tmp_path: Path, server: ObjectServer) -> None:
    address, instant = server.address("bucket/rows/a.jsonl"), datetime.now(UTC).replace(microsecond=0)
    server.put("bucket/rows/a.jsonl", b"one", changed=instant)
    one = ask(tmp_path, address)
    server.gets.clear()
    assert ask(tmp_path, address) == one
    assert server.gets == [], "its tag says that it is the same"
    server.put("bucket/rows/a.jsonl", b"two", changed=instant)  # the same size and time
    assert ask(tmp_path, address).files[0].read_bytes() == b"two"


def test_progress_is_told_to_the_end(tmp_path: Path, server: ObjectServer) -> None:
    told: list[tuple[str, int, int | None]] = []
    address = server.address("bucket/rows/[ab].jsonl")
    resolve(address, cache=tmp_path, base=tmp_path, progress=lambda *step: told.append(step))
    size = len(ROWS["rows/a.jsonl"]) + len(ROWS["rows/b.jsonl"])
    assert told[-1] == ("2 objects of bucket", size, size)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_two_at_once_fetch_once(tmp_path: Path, server: ObjectServer) -> None:
    address = server.address("bucket/rows/*.jsonl")
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: ask(tmp_path, address), range(2))
    assert one == two
    assert len(server.gets) == len(set(server.gets))


def test_a_large_object_comes_in_pieces(tmp_path: Path, server: ObjectServer) -> None:
    content = os.urandom(1 << 20) * 17
    server.put("bucket/large.bin", content)
    assert ask(tmp_path, server.address("bucket/large.bin")).files[0].read_bytes() == content
    assert server.gets == ["bucket/large.bin"] * 3


def test_what_is_said_of_the_rights_comes_along_and_does_not_count(tmp_path: Path, server: ObjectServer) -> None:
    server.put("bucket/rows/LICENSE", b"the license text")
    server.put("bucket/rows/deep/NOTICE.txt", b"a notice")
    files = ask(tmp_path, server.address("bucket/rows/[ab].jsonl"))
    assert names(files) == ["a.jsonl", "b.jsonl"]
    assert (files.root / "LICENSE").read_bytes() == b"the license text"
    assert not (files.root / "deep").exists(), "not its folder"
    digest = files.digest
    server.put("bucket/rows/LICENSE", b"another license text")
    again = ask(tmp_path, server.address("bucket/rows/[ab].jsonl"))
    assert again.digest == digest
    assert (again.root / "LICENSE").read_bytes() == b"another license text"


# --- what breaks --------------------------------------------------------------------------------------------------


def test_a_body_that_breaks_off_once_is_asked_for_again(tmp_path: Path, server: ObjectServer) -> None:
    server.cut["bucket/rows/b.jsonl"] = 1
    assert ask(tmp_path, server.address("bucket/rows/b.jsonl")).files[0].read_bytes() == ROWS["rows/b.jsonl"]


def test_a_body_that_breaks_off_leaves_nothing_that_counts_and_the_next_time_mends_it(
    tmp_path: Path, server: ObjectServer, local: Path
) -> None:
    address = server.address("bucket/rows/[ab].jsonl", more=ANONYMOUS)
    server.cut["bucket/rows/b.jsonl"] = 1000
    assert "the connection broke" in refusal(tmp_path, address)
    assert look(tmp_path, address) is None
    assert not list((tmp_path / "cache").rglob("b.jsonl"))
    server.cut.clear()
    server.gets.clear()
    files = ask(tmp_path, address)
    assert files.digest == resolve("rows/[ab].jsonl", cache=tmp_path / "cache", base=local).digest
    assert server.gets == ["bucket/rows/b.jsonl"], "what had arrived whole is kept"
    assert ask(tmp_path, address) == files


def test_what_an_interrupted_fetch_brought_goes_when_it_is_no_longer_there(
    tmp_path: Path, server: ObjectServer
) -> None:
    address = server.address("bucket/new", more=ANONYMOUS)
    server.put("bucket/new/a", b"a file")
    server.put("bucket/new/deep/b", b"below a folder")
    server.put("bucket/new/z", b"never comes")
    server.cut["bucket/new/z"] = 1000
    refusal(tmp_path, address)
    server.cut.clear()
    for key in ("a", "deep/b"):
        del server.objects[f"bucket/new/{key}"]
    server.put("bucket/new/a/c", b"the file is a folder now")
    server.put("bucket/new/deep", b"and the folder a file")
    files = ask(tmp_path, address)
    assert names(files) == ["a/c", "deep", "z"]
    assert sorted(path for path in files.root.rglob("*") if path.is_file()) == list(files.files)


def test_only_a_file_of_its_own_that_has_long_settled_counts_as_arrived(tmp_path: Path) -> None:
    path, seconds = tmp_path / "draft/a", 1_700_000_000
    tree(tmp_path, {"draft/a": b"abc"})
    os.utime(path, (seconds, seconds))
    listed = Listed(3, seconds * 10**9 + 678)  # a disk may keep whole seconds only
    assert list(arrived(tmp_path / "draft", {"a": listed, "b": listed})) == ["a"]
    for other in (Listed(4, listed.changed), Listed(3, listed.changed + 10**9), Listed(3, 0)):
        assert arrived(tmp_path / "draft", {"a": other}) == {}
    os.link(path, tmp_path / "linked")  # of the last state, so it was judged there
    assert arrived(tmp_path / "draft", {"a": listed}) == {}
    now = time.time_ns()
    tree(tmp_path, {"draft/c": b"abc"})
    os.utime(tmp_path / "draft/c", ns=(now, now))
    assert arrived(tmp_path / "draft", {"c": Listed(3, now)}) == {}


def test_a_process_killed_midway_leaves_nothing_that_counts(tmp_path: Path, server: ObjectServer) -> None:
    server.put("bucket/rows/a.bin", b"a" * 1000)
    server.put("bucket/rows/b.bin", os.urandom(9 << 20))  # two pieces
    address = server.address("bucket/rows/*.bin")
    script = (
        "import sys; from pathlib import Path; from stillhouse.addresses import resolve;"
        " resolve(sys.argv[1], cache=Path(sys.argv[2]), base=Path())"
    )
    child = subprocess.Popen([sys.executable, "-c", script, address, str(tmp_path / "cache")])

    def kill_at_the_second_piece(key: str) -> None:
        if server.gets.count("bucket/rows/b.bin") == 2:
            deadline = time.monotonic() + 120
            while not list((tmp_path / "cache").rglob("a.bin")) and time.monotonic() < deadline:
                time.sleep(0.01)
            child.kill()

    server.on_get = kill_at_the_second_piece
    assert child.wait(300) == -9
    assert look(tmp_path, address) is None
    assert not list((tmp_path / "cache").rglob("b.bin"))
    server.on_get = lambda key: None
    server.gets.clear()
    files = ask(tmp_path, address)
    assert [path.read_bytes() for path in files.files] == [
        server.objects[f"bucket/rows/{name}"].content for name in ("a.bin", "b.bin")
    ]
    assert "bucket/rows/a.bin" not in server.gets
    assert not list((tmp_path / "cache").rglob("parts")), "nothing half-done is left"


@pytest.mark.parametrize("other", [b"B" * 42, b"B" * 7, b"B" * 99])
def test_an_object_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, server: ObjectServer, other: bytes
) -> None:
    def change(key: str) -> None:
        server.on_get = lambda key: None
        server.put(key, other)

    assert len(ROWS["rows/b.jsonl"]) == 42
    server.on_get = change
    assert ask(tmp_path, server.address("bucket/rows/b.jsonl")).files[0].read_bytes() == other


def test_an_object_that_never_rests_is_refused(tmp_path: Path, server: ObjectServer) -> None:
    server.on_get = lambda key: server.put(key, os.urandom(42))
    assert "b.jsonl changes while it is read" in refusal(tmp_path, server.address("bucket/rows/b.jsonl"))
    assert look(tmp_path, server.address("bucket/rows/b.jsonl")) is None


def damage(files: Files) -> None:
    files.files[0].write_bytes(b"x" * len(files.files[0].read_bytes()))


def lose(files: Files) -> None:
    files.files[0].unlink()


def tear(files: Files) -> None:
    facts = files.root.parent / "facts.json"
    facts.write_bytes(facts.read_bytes()[:-20])


@pytest.mark.parametrize(("harm", "again"), [(damage, 1), (lose, 1), (tear, 2)])
def test_a_harmed_cache_is_a_miss_and_is_mended(
    tmp_path: Path, server: ObjectServer, harm: Callable[[Files], None], again: int
) -> None:
    address = server.address("bucket/rows/[ab].jsonl")
    before = ask(tmp_path, address)
    server.gets.clear()
    harm(before)
    assert look(tmp_path, address) is None
    assert resolve(address, cache=tmp_path / "cache", base=tmp_path) == before
    assert [path.read_bytes() for path in before.files] == [ROWS["rows/a.jsonl"], ROWS["rows/b.jsonl"]]
    assert len(server.gets) == again


def test_keys_that_no_disk_can_have_are_refused(tmp_path: Path, server: ObjectServer) -> None:
    server.put("odd/a", b"1")
    server.put("odd/a/b", b"2")
    assert "'a' is an object and a folder at once" in refusal(tmp_path, server.address("odd"))
    assert names(ask(tmp_path, server.address("odd/a/*"))) == ["b"]
    server.put("evil/../../a", b"1")
    assert not list(tmp_path.rglob("cache/objects/a"))
    assert "'../../a'" in refusal(tmp_path, server.address("evil")) or not list(tmp_path.glob("**/a"))


# --- what the store says, and what we say of it -------------------------------------------------------------------


def test_every_refusal_says_what_to_do_and_no_secret(
    tmp_path: Path, server: ObjectServer, capfd: pytest.CaptureFixture[str]
) -> None:
    said = {
        "did you mean b.jsonl": refusal(tmp_path, server.address("bucket/rows/bb.jsonl")),
        "no such bucket": refusal(tmp_path, server.address("buckets/rows")),
        "no such bucket, ": refusal(tmp_path, server.address("buckets")),
        "deep/er/c.jsonl": refusal(tmp_path, server.address("bucket/rows/**/*.csv")),
        "could not be reached": refusal(
            tmp_path, server.address("bucket/x", more=ANONYMOUS).replace(server.place, "127.0.0.1:1")
        ),
    }
    server.denied.add("bucket/rows/a.jsonl")
    said["access was denied"] = refusal(tmp_path, server.address("bucket/rows/a.jsonl"))
    server.denied.add("list")
    said["AWS_PROFILE"] = refusal(tmp_path, server.address("bucket/rows/*.jsonl"))
    for words, text in said.items():
        assert words in text
    assert any(SECRET not in request and "Credential=SOMEONE" in request for request in server.seen)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert SECRET not in "".join([*said.values(), *capfd.readouterr(), kept.decode()])


def test_an_object_that_may_be_read_but_not_listed(tmp_path: Path, server: ObjectServer) -> None:
    server.denied.add("list bucket")
    assert names(ask(tmp_path, server.address("bucket/rows/a.jsonl"))) == ["a.jsonl"]


def test_the_environment_says_where_the_store_is(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.place}")
    monkeypatch.setenv("AWS_REGION", "here")
    assert names(ask(tmp_path, "s3://bucket/rows/a.jsonl")) == ["a.jsonl"]


def test_anonymous_access_signs_nothing(tmp_path: Path, server: ObjectServer) -> None:
    ask(tmp_path, server.address("bucket/rows/a.jsonl", more=ANONYMOUS))
    assert server.seen
    assert not any("SOMEONE" in request for request in server.seen)


def test_without_credentials_a_denial_says_how_to_log_in(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    server.denied |= {"list", "bucket/rows"}
    assert "there are no credentials" in refusal(tmp_path, server.address("bucket/rows"))


def test_without_the_store_one_can_go_on_with_what_is_here(tmp_path: Path, server: ObjectServer) -> None:
    address = server.address("bucket/rows/*.jsonl")
    files = ask(tmp_path, address)
    server.denied |= {"list", "bucket/rows/*.jsonl"}
    said = refusal(tmp_path, address)
    assert str(files.root) in said
    assert resolve(str(files.root), cache=tmp_path / "cache", base=tmp_path).digest == files.digest
    assert look(tmp_path, address) == files


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("When resolving region for bucket 'b': AWS Error NETWORK_CONNECTION during HeadBucket operation: curlCode: 6,"
         " Could not resolve hostname; Details: Could not resolve host: b.s3.amazonaws.com", "not be reached"),
        ("When reading information for key 'ACCESS_DENIED' in bucket 'token': AWS Error NETWORK_CONNECTION during"
         " HeadObject operation: curlCode: 7, Could not connect to server", "not be reached"),
        ("When listing objects under key '' in bucket 'b': AWS Error ACCESS_DENIED during ListObjectsV2 operation",
         "access was denied"),
        ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of Could not create a OAuth2"
         " access token to authenticate the request.", "no credentials"),
        ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of PerformWork() - CURL error"
         " [7]=Could not connect to server", "not be reached"),
        ("Check for Hierarchical Namespace support on 'http://127.0.0.1:1/acct/cont' failed. Azure Error: [] Fail to"
         " get a new connection for: http://127.0.0.1:1. Could not connect to server", "not be reached"),
        ("something else", "client failed"),
    ],
)  # fmt: skip
def test_what_the_clients_say_is_sorted_and_not_repeated(said: str, what: str) -> None:
    address = parse("s3://bucket/key")
    assert isinstance(address, ObjectAddress)
    with pytest.raises(StillhouseError, match=what) as caught, cures(address):
        raise OSError(f"{said} {SECRET}")
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


# --- the other stores ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "client", "bucket"),
    [
        ("gs://bucket/key?anonymous=true", "GcsFileSystem", "bucket"),
        ("gs://anonymous@bucket/key", "GcsFileSystem", "bucket"),
        ("az://cont@acct.dfs.core.windows.net/key?anonymous=true", "AzureFileSystem", "cont"),
        ("abfss://acct.blob.core.windows.net/cont/key?credential_kind=anonymous", "AzureFileSystem", ""),
    ],
)
def test_the_clients_of_the_other_stores_open(text: str, client: str, bucket: str) -> None:
    address = parse(text)
    assert isinstance(address, ObjectAddress)
    opened, place = open_store(address)
    assert (type(opened).__name__, place) == (client, bucket)


@pytest.mark.parametrize(("text", "client"), [("s3://b", "S3"), ("gs://b", "Gcs"), ("az://c@a.dfs.x.y/k", "Azure")])
def test_a_pyarrow_without_the_client_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, client: str
) -> None:
    monkeypatch.delattr(f"pyarrow.fs.{client}FileSystem")
    assert f"built without {client}FileSystem" in refusal(tmp_path, text)


def test_options_that_the_client_refuses_are_an_error_with_a_cure(tmp_path: Path) -> None:
    assert "check the options" in refusal(tmp_path, "gs://b/k?scheme=http&endpoint_override=x&retry_limit_seconds=soon")


def test_importing_addresses_loads_no_client() -> None:
    script = "import sys, stillhouse.addresses; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
