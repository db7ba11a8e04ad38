"""The options of file systems, as given in the settings. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ingest.config import IngestConfig
from ingest.sources.objects.address import scheme_of

_SECRET = re.compile("auth|cred|key|pass|sas|secret|string|token", re.IGNORECASE)


def options_for(url: str, config: IngestConfig) -> dict[str, Any]:
    """The options for a URL: those of its scheme, then those of its prefixes, the shortest first.

    >>> said = '{"s3": {"anon": true}, "s3://a/": {"anon": false}}'
    >>> options_for("s3://a/b", IngestConfig(storage_options=said))
    {'anon': False}
    """
    options_by_prefix = json.loads(config.storage_options.get_secret_value())
    options: dict[str, Any] = {}
    for beginning in sorted(options_by_prefix, key=len):
        if beginning == scheme_of(url) or ("://" in beginning and url.startswith(beginning)):
            options |= options_by_prefix[beginning]
    if isinstance(options.get("auth"), list):  # httpx, under webdav4, wants a tuple
        options["auth"] = tuple(options["auth"])
    return options


def secrets_in(options: Mapping[str, Any], is_secret: bool = False) -> Iterator[str]:
    """The values of options that no message may show."""
    for name, value in options.items():
        hidden = is_secret or bool(_SECRET.search(name))
        for element in value if isinstance(value, list | tuple) else [value]:
            if isinstance(element, Mapping):
                yield from secrets_in(element, hidden)
            elif hidden and isinstance(element, str) and len(element) > 3:
                yield element
