"""Keys and passwords are left out, wherever they lie, and come in only if someone says so."""

from __future__ import annotations

import base64
import io
import re
import tarfile
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest import IngestConfig, ingest
from ingest.types import Failure

KEY = base64.b64encode(bytes(range(200))).decode()
NAMES = (
    *("id_rsa", "id_ed25519", "id_ecdsa_sk", "ssh_host_rsa_key", "prod.env", "logins.json"),
    *("Vault.1PIF", "bitwarden_export_2026.json", "UTC--2026-01-01--ab", "client_secret_1.json"),
    *("pgpass.conf", "_netrc", "a.wallet", "x.gpg", "server.ppk", "rootAccessKeys.csv"),
)
HIDDEN = (".env", ".env.local", ".netrc", ".pgpass", ".ssh/config", ".aws/credentials")
CONTENTS = {
    "pem": f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n-----END RSA PRIVATE KEY-----\n",
    "openssh": f"# mine\r\n-----BEGIN OPENSSH PRIVATE KEY-----\r\n{KEY}\r\n",
    "encrypted": f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{KEY}\n",
    "service": f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{KEY}\\n"}}',
    "yaml": f"tls:\n  key: |\n    -----BEGIN EC PRIVATE KEY-----\n    {KEY}\n",
    "pgp": f"\ufeff-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n{KEY}\n",
    "message": f"-----BEGIN PGP MESSAGE-----\n\n{KEY}\n",
    "public": f"\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{KEY}\n",
    "age": "# created: 2026\nAGE-SECRET-KEY-1" + "Q" * 58,
    "putty": f"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n{KEY}\n",
    "chrome": "name,url,username,password,note\nBank,https://bank.example,ann,hunter2,\n",
    "firefox": '"url","username","password","httpRealm"\n"https://a.example","ann","x",""\n',
    "bitwarden": "folder,name,login_uri,login_username,login_password\n,a,b,c,d\n",
    "keepassxc": '"Group","Title","Username","Password","URL"\n"a","b","c","d","e"\n',
    "keepass": "<?xml version='1.0'?>\n<KeePassFile><Root/></KeePassFile>",
}
HARMLESS = {
    "tls.md": "A key file starts with `-----BEGIN PRIVATE KEY-----`, then Base64.",
    "pgp.txt": "Their mails begin with\n-----BEGIN PGP MESSAGE-----\nand nobody reads them.",
    "login.txt": "Enter the url, your username and password, then press the button.",
    "people.csv": "name,username,town\nAnn,ann,Kiel\n",
    "id_rsa.md": "How to make an id_rsa.",
    "environment.txt": "The environment of whales.",
    "prod.env.example": "DATABASE=postgres://user:password@host/db and what it means.",
}


def read(source: Path, config: IngestConfig | None = None) -> tuple[set[str], dict[str, str]]:
    """The files that were read, and the reasons of those that were not, by their names."""
    failures: list[Failure] = []
    contents = {str(s.content) for s in ingest(source, config or IngestConfig(), failures.append)}
    return contents, {f.uri: f.reason for f in failures if f.error == "SecretFileError"}


@pytest.mark.parametrize("name", [*NAMES, *HIDDEN])
def test_by_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("Hunter2 swims with whales.")
    contents, secret = read(path)
    assert not contents
    assert "ANYMODAL_INGEST__WITH_SECRETS=true" in secret[str(path)]
    contents, secret = read(path, IngestConfig(with_secrets=True))
    assert not secret


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("what", CONTENTS)
def test_by_its_content(tmp_path: Path, what: str, encoding: str) -> None:
    path = tmp_path / f"note.{'csv' if 'assword' in CONTENTS[what][:99] else 'txt'}"
    path.write_text(CONTENTS[what], encoding)
    contents, secret = read(path)
    assert not contents
    assert list(secret) == [str(path)]
    assert not read(path, IngestConfig(with_secrets=True))[1]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_tells_of_secrets_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(HARMLESS[name])
    contents, secret = read(tmp_path)
    assert (len(contents), secret) == (1, {})


def zipped(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def tarred(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def nested(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inner.tar.gz", tarred(files))
    return out.getvalue()


def mailed(files: dict[str, str]) -> bytes:
    mail = EmailMessage()
    mail["From"] = mail["To"] = "ann@example.org"
    mail["Date"] = "Mon, 01 Jun 2026 10:00:00 +0000"
    mail.set_content("Hello, here are the files.")
    for name, text in files.items():
        mail.add_attachment(text, filename=name)
    return mail.as_bytes()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.zip", zipped),
        ("a.tgz", tarred),
        ("a.eml", mailed),
        ("b.zip", nested),
    ],
)
def test_in_archives_and_mails(
    tmp_path: Path, name: str, pack: Callable[[dict[str, str]], bytes]
) -> None:
    """Hidden ones are skipped, as in folders; others are refused with the reason."""
    hidden = {} if name == "a.eml" else {"backup/.ssh/id_rsa": "one", ".env": "two"}
    files = {**hidden, "keys/id_rsa": "three", "note.txt": CONTENTS["pem"], "b.txt": "Whales."}
    (tmp_path / name).write_bytes(pack(files))
    contents, secret = read(tmp_path)
    read_words = set(re.findall(r"\w+", " ".join(contents)))
    assert "Whales" in read_words
    assert read_words.isdisjoint({"one", "two", "three", KEY})
    assert {uri.rpartition("/")[2] for uri in secret} == {"id_rsa", "note.txt"}
    assert all("!/" in uri for uri in secret)
    contents, secret = read(tmp_path, IngestConfig(with_secrets=True))
    assert not secret
    assert "three" in {text.strip() for text in contents}
    assert {"one", "two"}.isdisjoint(text.strip() for text in contents)
