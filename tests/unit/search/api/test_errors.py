"""The tree of errors, as the docs draw it."""

import errno
import re
from importlib import import_module

import pytest

from encoder import errors
from encoder.errors import AnymodalError
from search.api.errors import body_of, status_of

HOMES = (
    "ingest.errors",
    "search.errors",
    "search.api.errors",
    "search.client.errors",
    "search.store.folder.database",
    "workers.jobs.redis_link",
    "workers.jobs.shard_run",
    "workers.library.watch",
)
DRAWN = {
    name: int(status) for name, status in re.findall(r"(\w+Error) +(\d{3}) ", errors.__doc__ or "")
}


def tree(root: type[AnymodalError]) -> set[type[AnymodalError]]:
    return {root}.union(*(tree(kind) for kind in root.__subclasses__()))


@pytest.fixture(scope="module")
def ours() -> dict[str, type[AnymodalError]]:
    for home in HOMES:
        import_module(home)
    packages = ("encoder", "ingest", "search", "workers")
    return {
        kind.__name__: kind
        for kind in tree(AnymodalError)
        if kind.__module__.split(".")[0] in packages
    }


def test_the_drawn_tree_has_every_error(ours: dict[str, type[AnymodalError]]) -> None:
    assert DRAWN.keys() == ours.keys()


@pytest.mark.parametrize("name", DRAWN)
def test_each_error_has_the_drawn_status(name: str, ours: dict[str, type[AnymodalError]]) -> None:
    assert status_of(ours[name].__new__(ours[name])) == DRAWN[name]


def test_only_a_broker_is_called_one_and_addresses_are_for_those_who_may_see_them(
    ours: dict[str, type[AnymodalError]],
) -> None:
    for name, kind in ours.items():
        if status_of(kind.__new__(kind)) != 503 or name in ("OverloadedError", "StoreGoneError"):
            continue
        error = kind("http://10.0.0.1:1 does not answer.", "Start 10.0.0.1.")
        fault = body_of(error)["error"]
        said = f"{fault['message']} {fault['remedy']}"
        assert "10.0.0.1" not in said
        assert ("broker" in said) is (name == "BrokerError")
        assert ("store" in said) is (name == "StoreUnavailableError")
        assert ("model" in said) is name.startswith("Model")
        full = body_of(error, in_full=True)["error"]
        assert (full["message"], full["remedy"]) == (error.problem, error.remedy)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_server_without_descriptors_is_busy_and_does_not_fail(number: int) -> None:
    error = OSError(number, "Too many open files", "/srv/secret")
    assert status_of(error) == 503
    assert "secret" not in str(body_of(error))
    assert status_of(OSError(errno.EIO, "Input/output error")) == 500
