from dataclasses import replace

import numpy as np

from encoder.space import Calibration, Centring, Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT


def test_calibration_makes_cosines_comparable() -> None:
    space = Space(4, {"model": "m"}, {IMAGE: Calibration(mu=0.2, c=0.1)})
    cosines = np.array([0.2, 0.3])
    assert np.allclose(space.calibration_of(IMAGE).apply(cosines), [0.0, 1.0])
    assert np.array_equal(space.calibration_of(AUDIO).apply(cosines), cosines)


def test_the_fingerprint_follows_all_that_changes_a_vector() -> None:
    space = Space(4, {"model": "m", "quantization": "none"})
    assert space.fingerprint == Space(4, {"quantization": "none", "model": "m"}).fingerprint
    assert space.fingerprint != Space(8, {"model": "m", "quantization": "none"}).fingerprint
    assert space.fingerprint != Space(4, {"model": "m", "quantization": "int8"}).fingerprint
    calibrated = Space(4, space.identity, {IMAGE: Calibration(0.1, 0.2)})
    assert space.fingerprint == calibrated.fingerprint


def test_normalized_rows_have_unit_length_and_zero_stays_zero() -> None:
    rows = l2_normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert rows.dtype == np.float32
    assert np.allclose(rows, [[0.6, 0.8], [0, 0]])


def test_a_query_is_centred_if_the_constants_of_texts_ask_for_it() -> None:
    deviations = np.array([[0, 1, -1, 0], [0, -1, 1, 0]], np.float32) / 4
    common = np.array([1.25, 0, 0, 0], np.float32)
    query = l2_normalize(np.array([[3.0, 1.0, 0.0, 2.0]]))
    space = Space(4, {"model": "m"}, centring=Centring(deviations, 2 * deviations, common))
    assert space.asked(query, 0.5) == (query, [0.5])
    space = replace(space, calibration={TEXT: Calibration(share=0.5)})
    asked, levels = space.asked(query)
    assert np.allclose(space.asked(query[0])[0], asked[0])
    assert np.allclose(asked, query - 0.5 * sum((query @ d)[:, None] * 2 * d for d in deviations))
    assert np.allclose(levels, 1 + 0.5 * (1.25 * query[:, 0] - 1))
    assert replace(space, centring=None).asked(query)[0] is query
    assert space.fingerprint == Space(4, {"model": "m"}).fingerprint
