"""Weights that leave memory while nobody uses them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from encoder.services.whisper import SAMPLING_RATE, Rest, Whisper


def put(away: Event) -> bool:
    away.set()
    return True


def test_what_is_in_use_is_not_put_away() -> None:
    away = Event()
    rest = Rest(partial(put, away), away.clear, 0.0)
    with rest.use():
        with rest.use():
            pass
        assert not away.wait(0.05)
    assert away.wait(60)
    with rest.use():
        assert not away.is_set()


def test_a_use_that_cannot_begin_fails_alone() -> None:
    away, asked = Event(), []

    def wake() -> None:
        asked.append(away.is_set())
        if len(asked) == 1:
            raise OSError("no memory")

    rest = Rest(partial(put, away), wake, 0.0)
    with rest.use():
        pass
    assert away.wait(60)
    with pytest.raises(OSError, match="no memory"), rest.use():
        pass
    with rest.use():
        assert asked == [True, True]


def test_what_could_not_be_put_away_is_tried_again() -> None:
    away, busy = Event(), [True]

    def put_away() -> bool:
        return not busy.pop() if busy else put(away)

    with Rest(put_away, away.clear, 0.0).use():
        pass
    assert away.wait(60)


@pytest.mark.slow
def test_whisper_hears_the_same_after_a_rest(bundle_home: Path) -> None:
    whisper = Whisper(bundle_home / "speech", n_threads=1, compute_type="int8", rest_s=0.0)
    sound = np.random.default_rng(0).normal(0, 0.1, SAMPLING_RATE).astype(np.float32)
    before = np.array(whisper.encode(sound).states)
    network = whisper._model.model
    pause = Event()
    assert any(not network.model_is_loaded or pause.wait(0.01) for _ in range(6000))
    np.testing.assert_array_equal(np.array(whisper.encode(sound).states), before)
