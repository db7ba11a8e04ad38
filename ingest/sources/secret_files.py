"""Files that hold keys or passwords: a search should not bring them up."""

from __future__ import annotations

import re
from fnmatch import translate
from itertools import chain

from ingest.config import IngestConfig
from ingest.errors import SecretFileError

_NAMES = {
    "a private key": (
        *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_*_sk", "ssh_host_*_key", "secring.*"),
        *("*.ppk", "*.p12", "*.pfx", "*.pvk", "*.jks", "*.keystore"),
    ),
    "a store of passwords": (
        *("*.kdb", "*.kdbx", "*.psafe3", "*.1pif", "*.1pux", "*.agilekeychain", "*.opvault"),
        *("*.enpassdb", "*.keychain", "*.keychain-db", "*.keyring", "*.kwl", "bitwarden_export*"),
        *("key3.db", "key4.db", "logins.json", "login data", "signons.sqlite", "cookies.sqlite"),
    ),
    "credentials": (
        *(".env", "*.env", ".env.*", ".netrc", "_netrc", ".pgpass", "pgpass.conf", ".my.cnf"),
        *(".git-credentials", ".npmrc", ".pypirc", ".htpasswd", ".vault-token"),
        *("client_secret*.json", "application_default_credentials.json", "*accesskeys.csv"),
    ),
    "a wallet": ("wallet.dat", "*.wallet", "utc--*"),
    "an encrypted file": ("*.gpg", "*.pgp", "*.age"),
    "in a folder of keys": (
        *(".ssh", ".gnupg", ".password-store", ".aws", ".azure", ".kube", ".docker"),
        *(".bitcoin", ".electrum"),
    ),
}
"""What a file or folder with such a name is; in lower case."""

_COLUMN = rb'(?=(?:[^\n]*[,;\t])?"?(?:login_)?%b"?[,;\t\r\n])'
_BEGINNINGS = {
    "a private key": rb"PuTTY-User-Key-File-|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY",
    "an armoured block": rb"-----BEGIN (?:PGP|AGE) ",
    "a store of passwords": (
        rb"\x03\xd9\xa2\x9a|"  # KeePass, and what browsers and password managers export
        + rb"(?i:%b)" % b"".join(_COLUMN % name for name in (b"ur[il]", b"user ?name", b"password"))
    ),
}
_PARTS = (
    (
        "a private key",
        rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\r|\\n)+"
        rb"(?:[A-Za-z0-9+/=]{30}|(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):)",
    ),
    ("a private key", rb"AGE-SECRET-KEY-1[A-Z0-9]{40}"),
    ("a store of passwords", rb"<KeePassFile>"),
)
"""What a file is that begins with or contains such bytes, zeros left out."""

_NO_TEMPLATE = r"(?!.*\.(?:example|sample|template|dist)$)"  # which show how to write another
_BY_NAME = [
    (what, re.compile(_NO_TEMPLATE + f"(?:{'|'.join(map(translate, names))})").match)
    for what, names in _NAMES.items()
]
_MARK = rb"(?:\xff\xfe|\xfe\xff|\xef\xbb\xbf)?\s*+"
_BY_CONTENT = [
    *((what, re.compile(_MARK + rb"(?:%b)" % start).match) for what, start in _BEGINNINGS.items()),
    *((what, re.compile(part).search) for what, part in _PARTS),
]


def check_not_secret(uri: str, head: bytes, config: IngestConfig) -> None:
    """Refuse a file that holds keys or passwords, unless the config allows them.

    Args:
        uri: where it lies; the names of its folders count, and those in archives.
        head: its first bytes.
        config: says whether it may be read all the same.

    Raises:
        SecretFileError: says what it is, and what allows it.
    """
    text = head.replace(b"\0", b"")  # UTF-16 too
    names = re.split(r"[/\\]", uri.lower())
    by_name = (what for name in names for what, fits in _BY_NAME if fits(name))
    by_content = (what for what, is_in in _BY_CONTENT if is_in(text))
    if not config.with_secrets and (what := next(chain(by_name, by_content), "")):
        raise SecretFileError(
            f"{uri} is {what}, so it is left out.",
            remedy=f"To find such files too, set {config.variable('with_secrets')}=true.",
        )
