"""The user's own pip configuration, as pip itself reads it: files, environment and their order of precedence.

    settings = read_pip_settings()
    with open_session(settings) as session: ...

URLs may carry credentials, so none of them is shown by ``repr`` or in an error.
"""

from __future__ import annotations

import ast
import ssl
import subprocess  # runs pip, with a fixed list of arguments
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from stillhouse.errors import StillhouseError

# later sections win; fetching is what `pip install` and `pip download` do
_SECTIONS = ("global", "install", "download", ":env:")
_TRUE = ("1", "true", "yes", "on", "t", "y")
_PIP_TIMEOUT = 15.0  # seconds; pip's own default


@dataclass(frozen=True)
class PipSettings:
    """Where packages come from. ``index_url`` is ``None`` for the default index; times are in seconds."""

    index_url: str | None = field(default=None, repr=False)
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = field(default=(), repr=False)
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = field(default=None, repr=False)
    timeout: float = _PIP_TIMEOUT

    def sources(self) -> list[tuple[str, str]]:
        """Pairs (``index`` or ``find_links``, URL or path), the ones to ask first ahead."""
        from unearth import PackageFinder

        indexes: list[str] = []
        if not self.no_index:
            default = [source["url"] for source in PackageFinder().sources]
            indexes = [*([self.index_url] if self.index_url else default), *self.extra_index_urls]
        return [("index", url) for url in indexes] + [("find_links", url) for url in self.find_links]


def read_pip_settings() -> PipSettings:
    """Ask pip for its configuration; its defaults where pip is not installed."""
    if find_spec("pip") is None:
        return PipSettings()
    # -P: a file called pip.py in the working folder must not be run in pip's place
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "config",
        "list",
    ]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=True)
    except subprocess.SubprocessError as error:
        raise StillhouseError(
            "pip cannot read its own configuration",
            where="pip config list",
            fix=f"run `{sys.executable} -m pip config debug` and mend the file it names",
        ) from error
    return parse_pip_settings(done.stdout.decode("utf-8", errors="replace"))


def parse_pip_settings(listing: str) -> PipSettings:
    """Settings from what ``pip config list`` writes: lines such as ``global.index-url='…'``."""
    options: dict[str, str] = {}
    entries = list(_entries(listing))
    for wanted in _SECTIONS:
        options |= {option: value for section, option, value in entries if section == wanted}

    def one(name: str) -> str | None:
        return options.get(name, "").strip() or None

    def several(name: str) -> tuple[str, ...]:
        return tuple(options.get(name, "").split())

    return PipSettings(
        index_url=one("index-url"),
        extra_index_urls=several("extra-index-url"),
        find_links=several("find-links"),
        no_index=options.get("no-index", "").strip().lower() in _TRUE,
        trusted_hosts=several("trusted-host"),
        cert=one("cert"),
        client_cert=one("client-cert"),
        proxy=one("proxy"),
        timeout=_seconds(one("timeout")),
    )


@contextmanager
def open_session(settings: PipSettings) -> Iterator[Any]:
    """A client for ``unearth`` with pip's certificates, proxy, trusted hosts, time limit and credentials."""
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import PyPIClient

    options: dict[str, Any] = {"proxy": settings.proxy} if settings.proxy else {}
    if settings.cert or settings.client_cert:
        options["verify"] = _tls(settings)
    with PyPIClient(
        trusted_hosts=settings.trusted_hosts, timeout=settings.timeout, follow_redirects=True, **options
    ) as session:
        urls = [url for kind, url in settings.sources() if kind == "index"]
        session.auth = MultiDomainBasicAuth(prompting=False, index_urls=urls)
        yield session


def _tls(settings: PipSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.cert)
        if settings.client_cert:
            context.load_cert_chain(settings.client_cert)
    except OSError as error:
        raise StillhouseError(
            f"pip's certificate file cannot be read: {error.strerror or type(error).__name__}",
            where="pip config list: cert, client-cert",
            fix="correct the path with `pip config set global.cert <file>`",
        ) from error
    return context


def _entries(listing: str) -> Iterator[tuple[str, str, str]]:
    for line in listing.splitlines():
        key, equals, quoted = line.partition("=")
        section, dot, option = key.strip().rpartition(".")
        try:
            value = ast.literal_eval(quoted)
        except (ValueError, SyntaxError):
            continue  # a notice of pip's, not a setting
        if equals and dot and isinstance(value, str):
            # PIP_DEFAULT_TIMEOUT is the name in the environment for what files call timeout
            yield section, option.replace("_", "-").removeprefix("default-"), value


def _seconds(text: str | None) -> float:
    try:
        return float(text) if text else _PIP_TIMEOUT
    except ValueError:
        return _PIP_TIMEOUT
