import numpy as np

from encoder.space import Calibration, Space, l2_normalize
from encoder.types import AUDIO, IMAGE


def test_calibration_makes_cosines_comparable() -> None:
    space = Space(4, {"model": "m"}, {IMAGE: Calibration(mu=0.2, c=0.1)})
    cosines = np.array([0.2, 0.3])
    assert np.allclose(space.calibrate(IMAGE, cosines), [0.0, 1.0])
    assert np.array_equal(space.calibrate(AUDIO, cosines), cosines)


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
