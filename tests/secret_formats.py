"""Made-up secrets in the providers' published formats, and texts that only look like secrets.

    for case in secret_positives(seed=0):
        case.text[case.start : case.end]            # the secret, whole and alone
    negatives = secret_negatives(seed=0)            # texts in which there is none

Every secret is put together at run time from parts and random characters: none stands literally in this file, and none
was ever valid. The comment beside a format names where its owner, or the standard, publishes it.
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALNUM = string.ascii_letters + string.digits
URL64 = ALNUM + "-_"
BASE64 = ALNUM + "+/"
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits


@dataclass(frozen=True)
class Planted:
    """A text with one secret or personal datum, and where it lies."""

    kind: str
    text: str
    start: int
    end: int


def plant(kind: str, frame: str, datum: str, *, inside: str | None = None) -> Planted:
    """Put ``datum`` where the frame has ``{}``; what is looked for is ``inside``, a part of it, or all of it."""
    text = frame.replace("{}", datum, 1)
    wanted = datum if inside is None else inside
    start = frame.index("{}") + datum.index(wanted)
    return Planted(kind, text, start, start + len(wanted))


FRAMES = (
    "I pasted {} into the ticket by mistake, could someone rotate it please?",
    'client = Client("{}", timeout=30)',
    '{"service": "billing", "value": "{}", "retries": 3}',
    "deploy:\n  region: eu-west-1\n  value: {}\n  replicas: 2\n",
    "2026-03-01T10:22:31Z WARN gateway refused {} for job 4411 (attempt 3)",
    "bob: does this one still work? {}\nann: no idea",
    "For staging use `{}` and nothing else.",
    "curl -s https://api.example.org/v1/items?limit=5 -H 'X-Service: {}'",
    "export SERVICE={}\nexport REGION=eu\n",
    "-    old: '{}',\n+    old: read_from_vault(),",
    "| staging | {} | until March |",
    "(the previous one was {}).",
    "What I have here is {}.",
    "Der Schlüssel lautet {}, bitte löschen.",
    "<add key='svc' value='{}'/>",
)


def pick(rng: random.Random, alphabet: str, length: int) -> str:
    """Random characters of which at least one is a digit and one a letter, as good as always true of real tokens."""
    while True:
        found = "".join(rng.choice(alphabet) for _ in range(length))
        if (any(c.isdigit() for c in found) and any(c.isalpha() for c in found)) or alphabet.isalpha():
            return found


def _github(rng: random.Random, prefix: str) -> str:
    """Prefix, 30 characters, and their CRC-32 in base 62 (GitHub blog, "Behind GitHub's new authentication tokens")."""
    body, digits = pick(rng, ALNUM, 30), string.digits + string.ascii_uppercase + string.ascii_lowercase
    check, number = "", zlib.crc32(body.encode())
    for _ in range(6):
        number, place = divmod(number, 62)
        check = digits[place] + check
    return "gh" + prefix + "_" + body + check


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _jwt(rng: random.Random) -> str:
    """Header, claims and signature in base64url with dots between (RFC 7519, RFC 7515)."""
    header = json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode()
    claims = json.dumps({"sub": str(rng.randrange(10**9)), "iat": rng.randrange(10**9)}, separators=(",", ":")).encode()
    return ".".join((_base64url(header), _base64url(claims), _base64url(rng.randbytes(32))))


def _discord(rng: random.Random) -> str:
    """User id in base64, timestamp, HMAC (Nostrum and other clients' documentation of the bot token)."""
    number = base64.b64encode(str(rng.randrange(10**17, 10**18)).encode()).decode().rstrip("=")
    return f"{number}.{pick(rng, URL64, 6)}.{pick(rng, URL64, 38)}"


def _openai(rng: random.Random, prefix: str, half: int, alphabet: str) -> str:
    """Random halves around the base64 of "OpenAI" (GitHub's and GitGuardian's detector pages for OpenAI keys)."""
    return "sk-" + prefix + pick(rng, alphabet, half) + "T3Blbk" + "FJ" + pick(rng, alphabet, half)


def _pem(rng: random.Random, label: str) -> str:
    """Base64 in lines of 64 between two encapsulation boundaries (RFC 7468)."""
    body = base64.b64encode(rng.randbytes(300)).decode()
    lines = [body[place : place + 64] for place in range(0, len(body), 64)]
    dashes = "-" * 5
    name = f"{label} PRIVATE KEY".strip()
    return "\n".join([f"{dashes}BEGIN {name}{dashes}", *lines, f"{dashes}END {name}{dashes}"])


Maker = Callable[[random.Random], str]

# kind -> the formats that stand by themselves: a prefix or a structure tells them
ANCHORED: dict[str, tuple[Maker, ...]] = {
    # AWS IAM User Guide, "IAM identifiers: unique prefixes": AKIA long-term, ASIA temporary; 16 characters of base 32
    "aws-access-key": (
        lambda r: "AK" + "IA" + pick(r, string.ascii_uppercase + "234567", 16),
        lambda r: "AS" + "IA" + pick(r, string.ascii_uppercase + "234567", 16),
    ),
    # docs.github.com, "About authentication to GitHub": ghp_ gho_ ghu_ ghs_ ghr_, github_pat_ with 22 + 59
    "github-token": (
        lambda r: _github(r, "p"),
        lambda r: _github(r, "o"),
        lambda r: _github(r, "s"),
        lambda r: "github" + "_pat_" + pick(r, ALNUM, 22) + "_" + pick(r, ALNUM, 59),
    ),
    # docs.gitlab.com, "Token overview: token prefixes", and the handbook's "Routable tokens"
    "gitlab-token": (
        lambda r: "gl" + "pat-" + pick(r, URL64, 20),
        lambda r: "gl" + "pat-" + pick(r, URL64, 27) + ".01." + pick(r, HEX, 9),
        lambda r: "gl" + "dt-" + pick(r, URL64, 20),
        lambda r: "gl" + "rt-" + pick(r, URL64, 20),
    ),
    # api.slack.com, "Token types": xoxb- bot, xoxp- user, xapp- app level
    "slack-token": (
        lambda r: "xo" + f"xb-{r.randrange(10**11, 10**12)}-{r.randrange(10**12, 10**13)}-{pick(r, ALNUM, 24)}",
        lambda r: (
            "xo"
            + f"xp-{r.randrange(10**11, 10**12)}-{r.randrange(10**11, 10**12)}-"
            + f"{r.randrange(10**12, 10**13)}-{pick(r, HEX, 32)}"
        ),
        lambda r: "xa" + f"pp-1-A{pick(r, UPPER, 10)}-{r.randrange(10**12, 10**13)}-{pick(r, HEX, 64)}",
    ),
    # api.slack.com, "Sending messages using incoming webhooks"
    "slack-webhook": (
        lambda r: (
            "https://hooks." + f"slack.com/services/T{pick(r, UPPER, 8)}/B{pick(r, UPPER, 10)}/{pick(r, ALNUM, 24)}"
        ),
    ),
    # docs.stripe.com, "API keys": secret sk_live_ / sk_test_, restricted rk_live_; whsec_ under "Webhooks: signatures"
    "stripe-key": (
        lambda r: "sk" + "_live_" + pick(r, ALNUM, 24),
        lambda r: "sk" + "_test_" + pick(r, ALNUM, 99),
        lambda r: "rk" + "_live_" + pick(r, ALNUM, 99),
        lambda r: "wh" + "sec_" + pick(r, ALNUM, 32),
    ),
    "openai-key": (
        lambda r: _openai(r, "", 20, ALNUM),
        lambda r: _openai(r, "proj-", 74, URL64),
        lambda r: _openai(r, "svcacct-", 58, URL64),
    ),
    # docs.anthropic.com, "Admin API" (sk-ant-admin…) and the sk-ant-api03- of every example; 93 characters and "AA"
    "anthropic-key": (
        lambda r: "sk-" + "ant-api03-" + pick(r, URL64, 93) + "AA",
        lambda r: "sk-" + "ant-admin01-" + pick(r, URL64, 93) + "AA",
    ),
    # huggingface.co/docs, "User access tokens": hf_ and 34 letters (and digits)
    "huggingface-token": (
        lambda r: "h" + "f_" + pick(r, string.ascii_letters, 34),
        lambda r: "h" + "f_" + pick(r, ALNUM, 34),
    ),
    # cloud.google.com, "Using API keys" (AIza, 39 in all); OAuth clients (GOCSPX-, 28); access tokens ya29.
    "google-key": (
        lambda r: "AI" + "za" + pick(r, URL64, 34) + r.choice(ALNUM),
        lambda r: "GOC" + "SPX-" + pick(r, URL64, 27) + r.choice(ALNUM),
        lambda r: "ya" + "29." + pick(r, URL64, 120) + r.choice(ALNUM),
    ),
    # learn.microsoft.com, Purview "Client secret / API key" entity: three characters, a digit, Q~, 34 characters
    "azure-client-secret": (
        lambda r: pick(r, ALNUM, 3) + r.choice("78") + "Q~" + pick(r, URL64 + ".~", 33) + r.choice(ALNUM),
    ),
    # docs.sendgrid.com, "API keys": 69 characters, SG., 22, dot, 43
    "sendgrid-key": (lambda r: "S" + "G." + pick(r, URL64, 22) + "." + pick(r, URL64, 42) + r.choice(ALNUM),),
    # twilio.com/docs, "API keys": SK and 32 hexadecimal digits
    "twilio-key": (lambda r: "S" + "K" + pick(r, HEX, 32),),
    # docs.npmjs.com / GitHub blog "npm token format": npm_ and 36
    "npm-token": (lambda r: "np" + "m_" + pick(r, ALNUM, 36),),
    # docs.pypi.org, "API tokens"; the macaroon begins with the location pypi.org, in base64 AgEIcHlwaS5vcmc
    "pypi-token": (lambda r: "py" + "pi-AgEI" + "cHlwaS5vcmc" + pick(r, URL64, 150) + r.choice(ALNUM),),
    # docs.docker.com, "Personal access tokens" (dckr_pat_, 27) and "Organization access tokens" (dckr_oat_, 32)
    "docker-token": (
        lambda r: "dckr" + "_pat_" + pick(r, URL64, 26) + r.choice(ALNUM),
        lambda r: "dckr" + "_oat_" + pick(r, URL64, 31) + r.choice(ALNUM),
    ),
    # docs.digitalocean.com, "Personal access tokens": dop_v1_, doo_v1_, dor_v1_ and 64 hexadecimal digits
    "digitalocean-token": (
        lambda r: "do" + "p_v1_" + pick(r, HEX, 64),
        lambda r: "do" + "o_v1_" + pick(r, HEX, 64),
    ),
    # devcenter.heroku.com changelog, "Heroku API keys have a prefix": HRKU-, 60 characters beginning AA
    "heroku-key": (lambda r: "HR" + "KU-AA" + pick(r, URL64, 57) + r.choice(ALNUM),),
    # documentation.mailgun.com, "API key": key- and 32 hexadecimal digits
    "mailgun-key": (lambda r: "ke" + "y-" + pick(r, HEX, 32),),
    # shopify.dev changelog, "Length of the Shopify access token is increasing": shpat_ shpca_ shppa_, shpss_, 32 hex
    "shopify-token": (
        lambda r: "shp" + "at_" + pick(r, HEX, 32),
        lambda r: "shp" + "ss_" + pick(r, HEX, 32),
    ),
    # developer.squareup.com, "Access tokens": EAAA, 64 in all; sq0atp- and 22, sq0csp- and 43
    "square-token": (
        lambda r: "EA" + "AA" + pick(r, URL64, 59) + r.choice(ALNUM),
        lambda r: "sq0" + "atp-" + pick(r, URL64, 21) + r.choice(ALNUM),
        lambda r: "sq0" + "csp-" + pick(r, URL64, 42) + r.choice(ALNUM),
    ),
    # core.telegram.org/bots/api, "Authorizing your bot": number, colon, 35 characters
    "telegram-token": (lambda r: f"{r.randrange(10**8, 10**10)}:AA{pick(r, URL64, 32)}{r.choice(ALNUM)}",),
    "discord-token": (_discord,),
    # docs.discord.com, "Webhook resource": id and token in the address
    "discord-webhook": (
        lambda r: (
            "https://discord.com" + f"/api/webhooks/{r.randrange(10**17, 10**19)}/{pick(r, URL64, 67)}{r.choice(ALNUM)}"
        ),
    ),
    "jwt": (_jwt,),
    # RFC 7468; PKCS #1 and SEC 1 labels; PROTOCOL.key of OpenSSH
    "private-key": (
        lambda r: _pem(r, ""),
        lambda r: _pem(r, "RSA"),
        lambda r: _pem(r, "EC"),
        lambda r: _pem(r, "OPENSSH"),
        lambda r: _pem(r, "ENCRYPTED"),
    ),
    # age-encryption.org/v1: Bech32 in capitals, AGE-SECRET-KEY-1 and 58 characters
    "age-key": (lambda r: "AGE-SECRET" + "-KEY-1" + pick(r, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),),
    # Linear (lin_api_), Databricks (dapi), Grafana (glsa_), Groq (gsk_), Vault
    # (hvs.), Terraform Cloud (.atlasv1.), Postman (PMAK-), RubyGems (rubygems_), by each owner's API pages
    "service-token": (
        lambda r: "lin" + "_api_" + pick(r, ALNUM, 40),
        lambda r: "da" + "pi" + pick(r, HEX, 32),
        lambda r: "gl" + "sa_" + pick(r, ALNUM, 32) + "_" + pick(r, HEX, 8),
        lambda r: "gs" + "k_" + pick(r, ALNUM, 52),
        lambda r: "hv" + "s." + pick(r, URL64, 94) + r.choice(ALNUM),
        lambda r: pick(r, ALNUM, 14) + ".atlas" + "v1." + pick(r, URL64, 66) + r.choice(ALNUM),
        lambda r: "PM" + "AK-" + pick(r, HEX, 24) + "-" + pick(r, HEX, 34),
        lambda r: "ruby" + "gems_" + pick(r, HEX, 48),
    ),
}


def _password(rng: random.Random) -> str:
    """As people and password managers make them: 10 to 20 characters of three or four classes."""
    alphabet = ALNUM + "!#%*+-_^.?"
    while True:
        found = "".join(rng.choice(alphabet) for _ in range(rng.randint(10, 20)))
        if found[0].isalnum() and found[-1].isalnum() and sum(c.isdigit() for c in found) > 1:
            return found


def _human_password(rng: random.Random) -> str:
    """A word, a year or number, a mark: the commonest shape (NIST SP 800-63B, appendix A)."""
    word = rng.choice(("Sunflower", "Dragonfly", "Liverpool", "Kestrel", "Marmalade", "Tarantula"))
    return f"{word}{rng.randrange(10, 2026)}{rng.choice('!?#*')}"


# kind -> frames in which only the key, the header or the address says that it is a secret, and what stands there
SHAPED: dict[str, tuple[tuple[str, Maker], ...]] = {
    # AWS IAM User Guide, "Manage access keys": 40 of base 64; the names of the CLI guide
    "aws-secret": tuple(
        (frame, lambda r: pick(r, BASE64, 38) + pick(r, ALNUM, 2))
        for frame in (
            "[default]\naws_secret_access_key = {}\nregion = eu-west-1\n",
            "export AWS_SECRET_ACCESS_KEY={}\n",
            '{"AccessKey": {"SecretAccessKey": "{}", "Status": "Active"}}',
            'boto3.client("s3", aws_secret_access_key="{}")',
            "AWS secret key: {}",
        )
    ),
    # learn.microsoft.com, "Configure Azure Storage connection strings": AccountKey of 64 bytes in base 64
    "azure-storage-key": tuple(
        (frame, lambda r: base64.b64encode(r.randbytes(64)).decode())
        for frame in (
            "DefaultEndpointsProtocol=https;AccountName=orders;AccountKey={};EndpointSuffix=core.windows.net",
            'conn = "DefaultEndpointsProtocol=https;AccountName=a1;AccountKey={}"',
            'AZURE_STORAGE_CONNECTION_STRING="BlobEndpoint=https://a.example.org/;AccountName=a;AccountKey={};"',
        )
    )
    # the same page for Service Bus and Event Hubs: SharedAccessKey of 32 bytes
    + tuple(
        (frame, lambda r: base64.b64encode(r.randbytes(32)).decode())
        for frame in (
            "Endpoint=sb://q.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={};EntityPath=jobs",
            '"connection": "Endpoint=sb://hub.example.net/;SharedAccessKeyName=send;SharedAccessKey={}"',
        )
    ),
    # the documentation of libpq, MySQL, MongoDB and Redis: scheme://user:password@host (RFC 3986 userinfo)
    "url-password": tuple(
        (frame, lambda r: pick(r, ALNUM + "-_.", 11) + r.choice(ALNUM))
        for frame in (
            "DATABASE_URL=postgres://app:{}@db.internal:5432/orders",
            'engine = create_engine("postgresql+psycopg2://svc:{}@10.0.0.5/main")',
            "mongodb+srv://reader:{}@cluster0.example.net/test?retryWrites=true",
            "mysql://root:{}@127.0.0.1:3306/shop",
            "cache: redis://:{}@cache.example.org:6379/0",
            "amqp://worker:{}@mq.example.org//jobs",
            "git clone https://deploy:{}@git.example.org/team/app.git",
            "pip install --index-url https://ci:{}@pypi.example.org/simple pkg",
            "Proxy: http://user1:{}@proxy.example.org:8080, then retry.",
        )
    ),
    # RFC 6750 section 2.3 (access_token in the query), Azure's shared access signature (sig), and usual API addresses
    "url-key": (
        ("GET https://api.example.org/v1/map?q=rome&key={} HTTP/1.1", lambda r: pick(r, ALNUM, 32)),
        ("see https://files.example.org/a.pdf?token={}&page=2", lambda r: pick(r, URL64, 27) + r.choice(ALNUM)),
        ("https://api.example.org/me?access_token={}", lambda r: pick(r, ALNUM, 40)),
        (
            "https://a.blob.core.windows.net/c/b.txt?sv=2023-01-03&sr=b&sig={}&se=2026-01-01",
            lambda r: pick(r, ALNUM, 43) + "%3D",
        ),
        ("<a href='https://x.example.org/dl?id=7&amp;api_key={}'>get</a>", lambda r: pick(r, HEX, 32)),
        ("requests.get(f'https://maps.example.org/tile/3/1/2.png?apikey={}')", lambda r: pick(r, HEX, 24)),
        ("https://b.s3.amazonaws.com/k?X-Amz-Expires=60&X-Amz-Signature={}", lambda r: pick(r, HEX, 64)),
        ("open https://shop.example.org/pay?order=12&client_secret={} now", lambda r: pick(r, ALNUM, 30)),
    ),
    # RFC 6750 section 2.1 and RFC 7617: Authorization: Bearer / Basic; the X- headers in common use
    "authorization": (
        ("Authorization: Bearer {}", lambda r: pick(r, URL64, 39) + r.choice(ALNUM)),
        ("curl -H 'Authorization: Bearer {}' https://api.example.org", lambda r: pick(r, ALNUM, 32)),
        ('headers = {"Authorization": "Bearer {}"}', lambda r: pick(r, ALNUM, 40)),
        ('"authorization": "Basic {}",', lambda r: base64.b64encode(f"svc:{pick(r, ALNUM, 15)}".encode()).decode()),
        ("> Authorization: Basic {}", lambda r: base64.b64encode(f"admin:{pick(r, ALNUM, 14)}".encode()).decode()),
        ("Authorization: token {}", lambda r: pick(r, HEX, 40)),
        ("X-Api-Key: {}", lambda r: pick(r, ALNUM, 32)),
        ("X-Auth-Token: {}", lambda r: pick(r, HEX, 32)),
    ),
    # 12factor.net config, YAML, JSON, INI, .npmrc (docs.npmjs.com), .netrc (GNU inetutils), Twilio and Heroku by name
    "named-secret": (
        ("DB_PASSWORD={}\n", _password),
        ('password: "{}"\n', _password),
        ("spring.datasource.password={}", _password),
        ('{"user": "root", "password": "{}", "port": 3306}', _password),
        ("conn = connect(host='db', password='{}')", _password),
        ("user: ann\npasswd: {}\n", _human_password),
        ("the new login is user: ann, password: {}", _human_password),
        ("admin_pass = '{}'", _human_password),
        ("Passwort: {}", _human_password),
        ("contraseña: {}", _human_password),
        ("mot de passe : {}", _human_password),
        ("pwd={};database=orders", _password),
        ("Server=db;Database=m;User Id=sa;Password={};Encrypt=yes", _password),
        ("machine api.example.org login ann password {}", _password),
        ("//registry.example.org/:_authToken={}", lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4))),
        ("TWILIO_AUTH_TOKEN={}", lambda r: pick(r, HEX, 32)),
        ("heroku_api_key: {}", lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4))),
        ("SECRET_KEY = '{}'", lambda r: pick(r, ALNUM + "!@#$%^&*(-_=+)", 49) + r.choice(ALNUM)),
        ("clientSecret: '{}',", lambda r: pick(r, ALNUM, 32)),
        ("client_secret={}&grant_type=client_credentials", lambda r: pick(r, ALNUM, 32)),
        ('api_key = "{}"', lambda r: pick(r, HEX, 32)),
        ('apiKey: "{}"', lambda r: pick(r, ALNUM, 24)),
        ("API-KEY: {}", lambda r: pick(r, ALNUM, 24)),
        ("encryption_key: {}", lambda r: base64.b64encode(r.randbytes(32)).decode()),
        ("JWT_SECRET={}", lambda r: pick(r, ALNUM, 40)),
        ("private_token => '{}'", lambda r: pick(r, ALNUM, 20)),
        ("<password>{}</password>", _password),
        ("- name: TOKEN\n  value: x\nslack_signing_secret: {}", lambda r: pick(r, HEX, 32)),
        ("mysql -u root --password={} shop", _password),
        ("os.environ['GRAPH_TOKEN'] = '{}'", lambda r: pick(r, ALNUM, 36)),
    ),
}


def secret_positives(*, seed: int, each: int = 4) -> list[Planted]:
    """At least ``each`` texts per anchored kind, with every format of the kind, and one text per shaped frame."""
    rng = random.Random(seed)
    found = []
    for kind, makers in ANCHORED.items():
        frames = rng.sample(FRAMES, max(each, len(makers)))
        found += [plant(kind, frame, makers[place % len(makers)](rng)) for place, frame in enumerate(frames)]
    for kind, shapes in SHAPED.items():
        found += [plant(kind, frame, maker(rng)) for frame, maker in shapes]
    return found


def secret_negatives(*, seed: int) -> list[str]:
    """Texts without a secret: long random things of other kinds, placeholders, and code that names a secret."""
    rng = random.Random(seed)
    loose: Sequence[str] = (
        f"commit {pick(rng, HEX, 40)}",
        f"Merge {pick(rng, HEX, 7)} into {pick(rng, HEX, 7)}",
        f"sha256:{pick(rng, HEX, 64)}  dist/app.whl",
        f"md5sum {pick(rng, HEX, 32)} file.iso",
        f'"integrity": "sha512-{base64.b64encode(rng.randbytes(64)).decode()}"',
        f"id = {uuid.UUID(int=rng.getrandbits(128), version=4)}",
        f"request_id={uuid.UUID(int=rng.getrandbits(128), version=4)} took 31 ms",
        f"![x](data:image/png;base64,{base64.b64encode(rng.randbytes(90)).decode()})",
        f"background: url(data:image/gif;base64,{base64.b64encode(rng.randbytes(60)).decode()});",
        f"ssh-ed25519 {base64.b64encode(rng.randbytes(51)).decode()} ann@host",
        f"https://example.org/watch?v={pick(rng, URL64, 11)}",
        f"https://example.org/a/{pick(rng, ALNUM, 24)}/view?tab=2",
        f"docs.example.org/d/{pick(rng, URL64, 44)}/edit",
        f'etag: "{pick(rng, HEX, 32)}"',
        f"trace {pick(rng, HEX, 32)} span {pick(rng, HEX, 16)}",
        f"0x{pick(rng, HEX, 64)}",
        f"fingerprint SHA256:{pick(rng, ALNUM, 43)}",
        f"pk_{'live'}_{pick(rng, ALNUM, 24)}",  # publishable: made to be seen (docs.stripe.com, "API keys")
    )
    code = (
        "password = getpass()",
        "password = getpass.getpass('Password: ')",
        'password = os.environ["DB_PASSWORD"]',
        "password: str | None = None",
        "password=self.password, token=self.token",
        "def login(user, password): ...",
        "token = next(tokens)",
        "token = self._next_token()",
        "tokens: 4096",
        "max_tokens = 1024",
        "tokenizer = AutoTokenizer.from_pretrained(path)",
        "pad_token: <|endoftext|>",
        "eos_token = '</s>'",
        "token_type_ids = torch.zeros_like(input_ids)",
        "secret = secrets.token_urlsafe(32)",
        "secret_key = settings.SECRET_KEY",
        "API_KEY = config.get('api_key')",
        "api_key: Optional[str]",
        "headers['Authorization'] = f'Bearer {token}'",
        "Authorization: Bearer <token>",
        "Authorization: Bearer $TOKEN",
        "Authorization: Basic authentication is required",
        "bearer: the person who carries the letter",
        "if password == confirm_password:",
        "CSRF_TOKEN_NAME = 'csrfmiddlewaretoken'",
        "@click.password_option()",
        "password_hash = hash_password(password, rounds=12)",
        'secretKeyRef: {name: "db", key: "password"}',
        "secretName: my-release-postgresql",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "keyboard: monkey business",
        'key = lambda row: row["score"]',
        "passenger: 123456 boarded",
        "pass: 12345 of 20000 tests",
        "author: Jonathan Livingstone",
        "authors = ['Ann', 'Bob']",
        "PASSWORD_RESET_TIMEOUT = 259200",
    )
    placeholders = (
        "password: changeme",
        "password = 'password'",
        "PASSWORD=xxxxxxxxxxxx",
        "token: <your-token>",
        "api_key = 'YOUR_API_KEY_HERE'",
        "api_key: your-api-key-goes-here",
        "API_KEY=${API_KEY}",
        "secret: ********",
        "secret = '{{ vault_secret }}'",
        'password: "%(db_password)s"',
        "client_secret=example-client-secret",
        "aws_secret_access_key = <secret>",
        "postgres://user:password@localhost/db",
        "postgres://user:${PGPASSWORD}@localhost/db",
        "https://user:pass@example.org/",
        "https://example.org/?key=value&token=TOKEN",
        "https://api.example.org/?api_key={api_key}",
        "sk-" + "x" * 48,
        "gh" + "p_" + "x" * 36,
        "AK" + "IA" + "X" * 16,
        "token: insert token here",
    )
    prose = (
        "The password must contain at least eight characters and one digit.",
        "She kept the secret: nobody had asked.",
        "Secret: the recipe needs 250 grams of butter.",
        "The key is under the mat; the token was lost in 1987.",
        "Le mot de passe : voir le courrier du 3 mars.",
        "Password: (leave blank)",
        "Ask-me-anything on risk-adjusted desk-bound task-forces.",
        "Your password was changed on 2026-03-01 at 10:22.",
    )
    return [*loose, *code, *placeholders, *prose]
