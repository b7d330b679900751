"""Secrets in a text: tokens with a provider's own format, and values whose key says that they are secret.

    find_credentials("export GITHUB_TOKEN=" + token)        # [Span(20, 60, "github-token")]

A format of its own (a prefix, an alphabet, a length) is enough anywhere. Everything else counts only as the value of a
key (``key = value``, ``"key": "value"``, a header, a query, a connection string) that names a secret, and only if it
looks drawn at random or, for passwords, as people make them; placeholders, identifiers and calls do not. Publishable
keys and public keys are not secrets.

Not covered: secrets in prose that no "password is" or the like comes right before, on another line than their key, or
before a dash; session cookies; passwords of letters only or of digits only, and those below eight characters; keys in
other languages than English, German, French, Spanish, Portuguese, Dutch, Chinese and Russian; what is encoded whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stillhouse.raw.randomness import is_filler, is_placeholder, is_random, is_secret
from stillhouse.raw.spans import Span, complete

# a word begins here, or a newline written as \n in JSON or a log came before
_LEFT = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"


def _format(kind: str, hints: str, pattern: str) -> list[tuple[str, str, re.Pattern[str]]]:
    """One row per hint; one of the hints stands in every match, and is looked for before the pattern."""
    compiled = re.compile(_LEFT + pattern, re.ASCII)
    return [(hint, kind, compiled) for hint in hints.split()]


# published prefixes, alphabets and lengths; "or more" where the owner reserves the right to lengthen
_HINTS = (
    *_format("aws-access-key", "AKIA ASIA", r"A(?:KIA|SIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    *_format("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    *_format("github-token", "github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    *_format(
        "gitlab-token",
        "glpat- gldt- glrt- glcbt- glptt- glft- glsoat- glimt- glagent-",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent)-[\w-]{20,300}(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9})?",
    ),
    *_format(
        "slack-token", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxe", r"xox(?:[abprs]|e(?:\.xox[bp])?)-[A-Za-z0-9-]{20,250}"
    ),
    *_format("slack-token", "xapp-", r"xapp-\d-[A-Z0-9]{8,}-\d{8,}-[0-9a-f]{64}"),
    *_format("slack-webhook", "hooks.slack.com/", r"https://hooks\.slack\.com/[a-z]+/T\w{6,}/[AB]\w{6,}/\w{20,}"),
    *_format("stripe-key", "sk_live_ sk_test_ rk_live_ rk_test_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,247}"),
    *_format("stripe-key", "whsec_", r"whsec_[A-Za-z0-9+/=]{32,}"),
    *_format("openai-key", "T3BlbkFJ", r"sk-(?:(?:proj|svcacct|admin|None)-)?[\w-]{20,110}T3BlbkFJ[\w-]{20,110}"),
    *_format("anthropic-key", "sk-ant-", r"sk-ant-[a-z]+\d\d-[\w-]{80,120}"),
    *_format("huggingface-token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{34}(?![A-Za-z0-9])"),
    *_format("google-key", "AIza", r"AIza[\w-]{35}(?![\w-])"),
    *_format("google-key", "GOCSPX-", r"GOCSPX-[\w-]{28}(?![\w-])"),
    *_format("google-key", "ya29.", r"ya29\.[\w-]{40,}"),
    *_format("azure-client-secret", "Q~", r"[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{33}[A-Za-z0-9_~-](?![A-Za-z0-9_~-])"),
    *_format("sendgrid-key", "SG.", r"SG\.[\w-]{22}\.[\w-]{43}(?![\w-])"),
    *_format("twilio-key", "SK", r"SK[0-9a-f]{32}(?![A-Za-z0-9])"),
    *_format("npm-token", "npm_", r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    *_format("pypi-token", "pypi-AgE", r"pypi-AgE[\w-]{50,}"),
    *_format("docker-token", "dckr_pat_ dckr_oat_", r"dckr_[po]at_[\w-]{27,32}"),
    *_format("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", r"do[por]_v1_[0-9a-f]{64}(?![A-Za-z0-9])"),
    *_format("heroku-key", "HRKU-", r"HRKU-(?:AA[\w-]{58}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![\w-])"),
    *_format("mailgun-key", "key-", r"key-[0-9a-f]{32}(?![A-Za-z0-9])"),
    *_format("shopify-token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}(?![A-Za-z0-9])"),
    *_format("square-token", "EAAA", r"EAAA[\w-]{60}(?![\w-])"),
    *_format("square-token", "sq0atp- sq0csp-", r"sq0(?:atp-[\w-]{22}|csp-[\w-]{43})(?![\w-])"),
    *_format("telegram-token", ":AA", r"\d{8,10}:AA[\w-]{33}(?![\w-])"),
    *_format("discord-webhook", "/api/webhooks/", r"https://discord(?:app)?\.com/api/webhooks/\d{17,20}/[\w-]{60,80}"),
    *_format("jwt", "eyJ", r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{20,}"),
    *_format("age-key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}"),
    *_format(
        "service-token", "lin_api_ ntn_ gsk_", r"(?:lin_api_[A-Za-z0-9]{40}|ntn_[A-Za-z0-9]{46}|gsk_[A-Za-z0-9]{52})"
    ),
    *_format("service-token", "dapi", r"dapi[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])"),
    *_format("service-token", "glsa_", r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}"),
    *_format("service-token", "hvs. hvb.", r"hv[sb]\.[\w-]{24,300}"),
    *_format("service-token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,75}"),
    *_format("service-token", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    *_format("service-token", "rubygems_", r"rubygems_[0-9a-f]{48}"),
    *_format("service-token", "pul- sbp_ r8_", r"(?:(?:pul-|sbp_)[0-9a-f]{40}|r8_[A-Za-z0-9]{37})(?![A-Za-z0-9])"),
)
_SHORTEST = 20  # characters of the shortest format: a text without a word as long has none
# every format has as long a run without a dot or slash, save the one with Q~; most long words are addresses without
_REST = re.compile(r"[\w-]*", re.ASCII)
_RUN = re.compile(r"[A-Za-z0-9][\w-]{19}|Q~")
# the id in front is 17 to 19 digits in base64, and so begins with M, N or O; no part of it is literal
_DISCORD = re.compile(r"[MNO](?<![A-Za-z0-9].)[A-Za-z0-9]{22,25}\.[\w-]{6}\.[\w-]{27,45}(?![\w-])", re.ASCII)

# RFC 7468 and OpenPGP; a text that was cut off has no end mark, and then the lines of base64 count
_KEY_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,30}KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"[\w+/=:,\s\"'().\\-]*")
_KEY_LINES = re.compile(
    r"(?:[\s\"'+,]|\\[nr]){0,20}[A-Za-z0-9+/=]{40,}(?:(?:[\s\"'+,]|\\[nr]){1,20}[A-Za-z0-9+/=]{16,})*"
)
_LONGEST_KEY = 20_000  # characters; an RSA key of 16,384 bits has 12,700

_URL_PASSWORD = re.compile(r"://([^\s/?#:@\"'<>]{0,100}):([^\s/?#@\"'<>]{3,200})@(?=[\w\[{$<])")
_URL_KEY = re.compile(
    r"[?&;](?:api[_-]?key|key|(?:access|auth|refresh|id|session)?[_-]?token|sig|signature|client_secret|secret"
    r"|password|passwd|pwd|jwt|sas|x-amz-signature|x-amz-security-token|x-goog-signature)=([\w.~%+/=-]{8,2000})",
    re.IGNORECASE | re.ASCII,
)
_AUTHORIZATION = re.compile(
    r"(?:authorization[\"'\]]{0,2}[ \t]{0,4}[:=,][ \t]{0,4}[\"']?(?:bearer|basic|token|apikey)|\bbearer)"
    r"[ \t]{1,4}([\w.~+/=-]{16,4000})",
    re.IGNORECASE | re.ASCII,
)
# .netrc, --token X, --password X and -u user:X, where a space stands between name and value
_COMMAND = re.compile(
    r"(?:\blogin[ \t]{1,4}\S{1,100}[ \t]{1,4}password[ \t]{1,4}|--password |--?(?:user|u)[ =][\"']?[\w.@-]{1,60}:(?!//)"
    r"|--(?:[a-z]{1,20}-)?(?:token|secret|api-?key) )[\"']?([^\s\"'<>]{8,200})",
    re.ASCII,
)
# a value is looked for at every = and :, and then the key before it: there are far fewer of these than of letters
_VALUE = re.compile(
    r"(?:=>|:=|[:=](?![=>])|：| (?:is|ist|lautet|est|es) )[ \t]{0,4}"
    r"(?=[bru]?\\?\"(?P<double>[^\"\\\n]{8,200})\\?\"|[bru]?\\?'(?P<single>[^'\\\n]{8,200})\\?'"
    r"|`(?P<back>[^`\\\n]{8,200})`|(?P<bare>[^\s\"'`<>;,&|(){}\[\]\\\x80-\U0010ffff]{8,500}))"
)
_KEY = re.compile(
    r"(?:(?P<password>passwor[dt]|passwd|passphrase|kennwort|contrase[ñÑn]a|mot de passe|senha|wachtwoord|密码|пароль"
    r"|(?<![a-z])(?:pass|pwd))"
    r"|secret|token|credential|(?:api|access|auth|private|encryption|signing|account|master)[ _-]?key"
    r"|(?-i:[A-Z0-9]_KEY)|(?<![a-z])auth)"
    r"(?:[ _-]?(?:access|key|value|string|token|secret|[0-9]{1,2}))?(?:[ _-]?key)?"
    r"(?: (?:is|ist|lautet|est|es))?\\?[\"'\])]{0,3}(?:[ \t]{1,4}value)?[ \t]{0,4}\Z",  # <add key="…" value="…">
    re.IGNORECASE | re.ASCII,
)
_LONGEST_NAME = 40  # characters between the start of the name and the sign
_ELEMENT = re.compile(r"<(?P<name>\w{0,30}(?:password|secret|token|key))>(?P<value>[^<>\s]{8,500})</", re.IGNORECASE)
_NAMES = (
    "pass", "secret", "token", "pwd", "credential", "auth", "_key", "wort", "contrase", "senha", "wachtwoord",
    "密码", "пароль",
)  # fmt: skip
_KEYS_OF = ("api", "access", "private", "encryption", "signing", "account", "master")


def find_credentials(text: str) -> list[Span]:
    """The secrets in ``text``, sorted and disjoint; after redaction there is nothing more to find."""
    return complete(text, _scan)


def _scan(text: str) -> list[Span]:
    spans: list[Span] = []
    words = " ".join(word for word in text.split() if len(word) >= _SHORTEST)
    if words and _RUN.search(words):
        spans += _formats(text, words)
    if "PRIVATE KEY" in text:
        spans += _private_keys(text)
    spans += _by_address(text)
    spans += _by_name(text)
    return spans


def _formats(text: str, words: str) -> Iterator[Span]:
    """``words`` are those of ``text`` in which a format has room."""
    for hint, kind, pattern in _HINTS:
        if hint in words:
            reached = 0
            for found in pattern.finditer(text):
                if found.start() >= reached and not is_filler(found[0]):
                    # what follows without a break belongs to it: half a secret left in the text is no redaction
                    reached = _REST.match(text, found.end()).end()  # type: ignore[union-attr]
                    yield Span(found.start(), reached, kind)
    for found in _DISCORD.finditer(text):
        yield Span(*found.span(), "discord-token")


def _private_keys(text: str) -> Iterator[Span]:
    for found in _KEY_BEGIN.finditer(text):
        lines = _KEY_LINES.match(text, found.end())
        close = _KEY_END.search(text, found.end(), found.end() + _LONGEST_KEY)
        if close and _KEY_BODY.fullmatch(text, found.end(), close.start()) and close.start() - found.end() > 40:
            yield Span(found.start(), close.end(), "private-key")
        elif lines:
            yield Span(found.start(), lines.end(), "private-key")


def _by_address(text: str) -> Iterator[Span]:
    if "://" in text:
        for found in _URL_PASSWORD.finditer(text):
            user, password = found.groups()
            if password != user and not is_placeholder(password):
                yield Span(*found.span(2), "url-password")
    if "=" in text and ("?" in text or "&" in text):
        for found in _URL_KEY.finditer(text):
            if is_random(found[1], shortest=16):
                yield Span(*found.span(1), "url-key")


def _by_name(text: str) -> Iterator[Span]:
    lower = text.lower()
    if "bearer" in lower or "authorization" in lower:
        for found in _AUTHORIZATION.finditer(text):
            if is_random(found[1], shortest=16):
                yield Span(*found.span(1), "authorization")
    if "-u" in text or "login" in lower or "--" in text:
        for found in _COMMAND.finditer(text):
            if is_secret(found[1], password=True):
                yield Span(*found.span(1), "named-secret")
    if not _names_secret(lower):
        return
    if "</" in text:
        for found in _ELEMENT.finditer(text):
            if is_secret(found["value"], password=found["name"].lower().endswith("password")):
                yield Span(*found.span("value"), "named-secret")
    for found in _VALUE.finditer(text):
        before = text[max(0, found.start() - _LONGEST_NAME) : found.start()]
        name = _KEY.search(before) if _names_secret(before.lower()) else None
        if name:
            yield from _value(text, found, password=name["password"] is not None)


def _names_secret(lower: str) -> bool:
    return any(name in lower for name in _NAMES) or ("key" in lower and any(name in lower for name in _KEYS_OF))


def _value(text: str, found: re.Match[str], *, password: bool) -> Iterator[Span]:
    group = str(found.lastgroup)
    (start, end), value = found.span(group), found[group]
    if group == "bare":
        if text[end : end + 1] in ("(", "[", "{"):  # a call, an index, a template
            return
        value = value.rstrip(".:")  # the sentence's, not the secret's
    if is_secret(value, password=password):
        yield Span(start, start + len(value), "named-secret")
