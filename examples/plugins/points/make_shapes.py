"""Make `anymodal_points/shapes.npz`: a linear classifier of simulated shapes.

python make_shapes.py

Each shape is drawn 150 times with different proportions, noise and density and a part left out, and
turned at random. A softmax regression is fitted on 120 of them and its accuracy printed for the
other 30.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from anymodal_points.tower import PointTower, describe
from numpy.typing import NDArray

from encoder.binding.classifier import fit_classifier

Points = NDArray[np.float64]
Random = np.random.Generator
N_EACH, N_FITTED = 150, 120


def sphere(r: Random, n: int) -> Points:
    points = r.normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def moved(points: Points, *by: float) -> Points:
    return points + np.array(by)


def box(r: Random, n: int, *half: float) -> Points:
    """The surface of a box with these half sides."""
    sides = np.array(half)
    points = r.uniform(-1, 1, (n, 3)) * sides
    areas = np.array([sides[1] * sides[2], sides[0] * sides[2], sides[0] * sides[1]])
    axis = r.choice(3, n, p=areas / areas.sum())
    points[np.arange(n), axis] = r.choice([-1, 1], n) * sides[axis]
    return points


def tube(r: Random, n: int, radius: float, height: float, top: float = 1.0) -> Points:
    """A tube that narrows to ``top`` of its radius, with its ends."""
    at = r.random(n)
    width = radius * (1 + (top - 1) * at)
    end = r.random(n) < 0.25
    width = np.where(end, width * np.sqrt(r.random(n)), width)
    at = np.where(end, np.where(r.random(n) < top**2 / (1 + top**2), 1, 0), at)
    width = np.where(end, radius * np.where(at == 1, top, 1) * np.sqrt(r.random(n)), width)
    turn = r.uniform(0, 2 * np.pi, n)
    return np.stack([width * np.cos(turn), width * np.sin(turn), height * (at - 0.5)], axis=1)


def torus(r: Random, n: int, thickness: float) -> Points:
    big, small = r.uniform(0, 2 * np.pi, (2, n))
    out = 1 + thickness * np.cos(small)
    return np.stack([out * np.cos(big), out * np.sin(big), thickness * np.sin(small)], axis=1)


def spring(r: Random, n: int) -> Points:
    turns, rise = r.uniform(3, 7), r.uniform(1.5, 3)
    at = r.random(n)
    angle = 2 * np.pi * turns * at
    return np.stack([np.cos(angle), np.sin(angle), rise * at], axis=1)


def stairs(r: Random, n: int) -> Points:
    steps = r.integers(4, 8)
    at = r.random(n) * steps
    flat = r.random(n) < 0.5
    step = np.floor(at)
    return np.stack(
        [np.where(flat, at, step), r.uniform(-1.5, 1.5, n), np.where(flat, step, at)], axis=1
    )


def on_legs(r: Random, n: int, height: float, back: float) -> Points:
    """A plate on four legs, and a back if it has one."""
    corners = [(x, y) for x in (-0.8, 0.8) for y in (-0.8, 0.8)]
    legs = [moved(tube(r, n // 8, 0.06, height), x, y, -height / 2) for x, y in corners]
    parts = [box(r, n // 2, 1, 1, 0.05), *legs]
    if back:
        parts.append(moved(box(r, n // 4, 0.05, 1, back / 2), -0.95, 0, back / 2))
    return np.concatenate(parts)


def tree(r: Random, n: int) -> Points:
    crown = sphere(r, n * 3 // 4) * r.uniform(0.6, 1, (n * 3 // 4, 1)) * r.uniform(0.8, 1.1)
    return np.concatenate([moved(crown, 0, 0, 1.8), tube(r, n // 4, 0.12, 2)])


def hills(r: Random, n: int) -> Points:
    flat = r.uniform(-3, 3, (n, 2))
    waves = [np.sin(flat @ r.normal(size=2) * 1.2 + r.uniform(0, 6)) for _ in range(4)]
    return np.column_stack([flat, 0.35 * sum(waves)])


def cross(r: Random, n: int) -> Points:
    return np.concatenate([box(r, n // 2, 1, 0.15, 0.15), box(r, n // 2, 0.15, 1, 0.15)])


def dumbbell(r: Random, n: int) -> Points:
    ends = [moved(sphere(r, n // 3) * 0.45, 0, 0, z) for z in (-1, 1)]
    return np.concatenate([*ends, tube(r, n // 3, 0.1, 2)])


SHAPES: dict[str, Callable[[Random, int], Points]] = {
    "a ball, a sphere, a globe": sphere,
    "a cube, a box, a block": lambda r, n: box(r, n, 1, r.uniform(0.8, 1), r.uniform(0.8, 1)),
    "a cylinder, a can, a barrel": lambda r, n: tube(r, n, 1, r.uniform(1.8, 3)),
    "a cone, a traffic cone": lambda r, n: tube(r, n, 1, r.uniform(1.8, 3), 0.05),
    "a ring, a torus, a doughnut": lambda r, n: torus(r, n, r.uniform(0.25, 0.5)),
    "a hoop, a thin circle": lambda r, n: torus(r, n, 0.03),
    "a flat plate, a wall, a floor": lambda r, n: box(r, n, 1, r.uniform(0.6, 1), 0.01),
    "a rod, a pole, a pipe": lambda r, n: tube(r, n, 0.05, r.uniform(1.5, 3)),
    "a spring, a coil, a spiral": spring,
    "stairs, steps, a staircase": stairs,
    "a table, a desk": lambda r, n: on_legs(r, n, r.uniform(1.2, 1.7), 0),
    "a chair, a seat": lambda r, n: on_legs(r, n, r.uniform(1, 1.4), r.uniform(1.5, 2.2)),
    "a tree with a trunk and a crown": tree,
    "hills, terrain, a landscape": hills,
    "a cross, a plus sign": cross,
    "a dumbbell, a weight for training": dumbbell,
}


def drawn(make: Callable[[Random, int], Points], r: Random) -> NDArray[np.float32]:
    """One cloud."""
    points = make(r, int(r.integers(1500, 4000)))
    points = points * r.uniform(0.9, 1.1, 3) + r.normal(size=points.shape) * r.uniform(0, 0.02)
    hidden = points @ r.normal(size=3)
    points = points[hidden < np.quantile(hidden, r.uniform(0.85, 1.0))]
    turn, _ = np.linalg.qr(r.normal(size=(3, 3)))
    return (points @ turn * r.uniform(0.1, 100)).astype(np.float32)


def main() -> None:
    r = np.random.default_rng(0)
    clouds = [[describe(drawn(make, r)) for _ in range(N_EACH)] for make in SHAPES.values()]
    table, n = np.array(clouds, float), len(SHAPES)
    places = np.repeat(np.arange(n), N_FITTED)
    made = fit_classifier(table[:, :N_FITTED].reshape(n * N_FITTED, -1), places, list(SHAPES))
    right = made.logits(table[:, N_FITTED:]).argmax(axis=2) == np.arange(n)[:, None]
    print(f"{right.mean():.3f} of {right.size} held-out clouds")
    for name, share in zip(SHAPES, right.mean(axis=1), strict=True):
        print(f"{share:.2f} {name}")
    made.write(PointTower.table)


if __name__ == "__main__":
    main()
