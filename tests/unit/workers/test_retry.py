import pickle

from encoder.errors import InputError, MediaError
from search.errors import ReadOnlyStoreError, StoreGoneError, StoreUnavailableError
from workers.pipeline.retry import may_heal


def test_only_what_may_heal_is_tried_again() -> None:
    assert may_heal(StoreUnavailableError("away"))
    assert not may_heal(MediaError("corrupt"))
    assert not may_heal(ReadOnlyStoreError("may not be written to"))
    assert not may_heal(StoreGoneError.at("/removed"))
    assert not may_heal(ValueError("a bug"))


def test_errors_survive_the_way_between_processes() -> None:
    for error in (InputError("a", got="b", wanted="c"), MediaError("broken.", "Mend it.")):
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error)
        assert type(again) is type(error)
