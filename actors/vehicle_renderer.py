"""Rendered pictures of vehicles: the training data and, by default, the input of the vehicle classifier.

Three integers determine a frame. ``seed`` and ``index`` determine the vehicle: class, build, paint. ``view`` determines
its appearance: direction, size, place, background, obstacles, light, blur, noise. Two cameras (views 0 and 1) therefore
see the same vehicle in a frame. Only numpy is needed, a frame takes about a millisecond, and equal numbers give equal
pixels: array arithmetic uses only operations that IEEE 754 rounds in one way, and no global random state is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np

SIZE = 96
CLASSES = ("car", "bus", "truck", "motorcycle")

Point = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Polygon:
    """A convex polygon; ``points`` in metres, x from the vehicle's tail to its front, y up from the ground."""

    points: Sequence[Point]
    colour: Colour


@dataclass(frozen=True)
class Ring:
    """A disc of ``radius`` metres, with a hole of radius ``inner``."""

    centre: Point
    radius: float
    colour: Colour
    inner: float = 0.0


@dataclass(frozen=True)
class Vehicle:
    """A vehicle from its right-hand side: parts in painting order, length and height in metres."""

    parts: Sequence[Union[Polygon, Ring]]
    length: float
    height: float


def vehicle_class(seed: int, index: int) -> int:
    """The class of a frame, as an index into ``CLASSES``; all are equally likely."""
    return int(np.random.default_rng((seed, index)).integers(len(CLASSES)))


def render_vehicle(seed: int, index: int, view: int = 0) -> np.ndarray:
    """Draw one frame: float32 (96, 96, 3), RGB, each value a multiple of 1/255 in [0, 1] as if read from a PNG."""
    rng = np.random.default_rng((seed, index))
    vehicle = build_vehicle(int(rng.integers(len(CLASSES))), rng)
    rng = np.random.default_rng((seed, index, view, 1))
    ground = rng.uniform(0.72, 0.86) * SIZE
    image = _background(rng, ground)
    _draw(image, vehicle, rng, ground)
    _obstacles(image, rng)
    return _camera(image, rng)


def build_vehicle(kind: int, rng: np.random.Generator) -> Vehicle:
    """A vehicle of class ``CLASSES[kind]`` with random build and paint from ``rng``."""
    return _BUILDERS[kind](rng)


# The four classes. Lengths are in metres.


def _car(rng: np.random.Generator) -> Vehicle:
    length, height, wheel = rng.uniform(3.5, 4.9), rng.uniform(1.35, 2.0), rng.uniform(0.28, 0.38)
    paint, glass = _paint(rng), _glass(rng)
    belt = height * rng.uniform(0.5, 0.62)
    rear, front = length * rng.uniform(0.0, 0.2), length * rng.uniform(0.62, 0.86)
    rake = (height - belt) * rng.uniform(0.2, 1.0), (height - belt) * rng.uniform(0.6, 1.6)
    roof = (rear + rake[0], front - rake[1])
    parts: list[Union[Polygon, Ring]] = [
        Polygon(((rear, belt), (front, belt), (roof[1], height), (roof[0], height)), paint),
        Polygon(
            (
                (0.0, wheel * 0.7),
                (length, wheel * 0.7),
                (length, belt * rng.uniform(0.75, 0.95)),
                (front, belt * 1.02),
                (rear, belt * 1.02),
                (0.0, belt * rng.uniform(0.85, 1.0)),
            ),
            paint,
        ),
    ]
    panes = int(rng.integers(2, 4))
    low, high = belt * 1.02, height - 0.12
    for pane in range(panes):
        a, b = (pane + 0.07) / panes, (pane + 0.93) / panes
        parts.append(
            Polygon(
                (
                    (_mix(rear + 0.15, front - 0.15, a), low),
                    (_mix(rear + 0.15, front - 0.15, b), low),
                    (_mix(roof[0] + 0.08, roof[1] - 0.08, b), high),
                    (_mix(roof[0] + 0.08, roof[1] - 0.08, a), high),
                ),
                glass,
            )
        )
    parts += _lights(length, belt * 0.72, rng)
    parts += _wheels((length * rng.uniform(0.15, 0.22), length * rng.uniform(0.78, 0.84)), wheel, rng)
    return Vehicle(parts, length, height)


def _bus(rng: np.random.Generator) -> Vehicle:
    length, height, wheel = rng.uniform(5.5, 12.0), rng.uniform(2.5, 3.6), rng.uniform(0.38, 0.52)
    paint, glass = _paint(rng), _glass(rng)
    slant = rng.uniform(0.0, 0.5)
    parts: list[Union[Polygon, Ring]] = [
        Polygon(((0.0, wheel * 0.7), (length, wheel * 0.7), (length - slant, height), (0.0, height)), paint)
    ]
    if rng.random() < 0.5:
        low = height * rng.uniform(0.2, 0.4)
        parts.append(_box(0.0, low, length - slant * 0.5, low + rng.uniform(0.15, 0.5), _paint(rng)))
    low, high = height * rng.uniform(0.46, 0.56), height * rng.uniform(0.8, 0.92)
    panes, start, end = int(rng.integers(3, 9)), length * rng.uniform(0.02, 0.2), length - slant - rng.uniform(0.2, 1.5)
    gap = rng.uniform(0.02, 0.2)
    wrapped = rng.random() < 0.06  # an advertisement covers some of the windows
    for pane in range(panes):
        if not (wrapped and rng.random() < 0.6):
            parts.append(
                _box(_mix(start, end, (pane + gap) / panes), low, _mix(start, end, (pane + 1) / panes), high, glass)
            )
    parts.append(_box(length - slant - rng.uniform(0.1, 0.4), low, length - slant, high, glass))
    if rng.random() < 0.6:
        door = length * rng.uniform(0.3, 0.85)
        parts.append(_box(door, wheel, door + rng.uniform(0.7, 1.2), high, _shade(glass, 1.2)))
    axles = [length * rng.uniform(0.15, 0.28), length * rng.uniform(0.74, 0.86)]
    if length > 10.5 and rng.random() < 0.5:
        axles.append(axles[0] + 2.4 * wheel)
    parts += _lights(length, height * 0.25, rng)
    parts += _wheels(axles, wheel, rng)
    return Vehicle(parts, length, height)


def _truck(rng: np.random.Generator) -> Vehicle:
    length, cab, wheel = rng.uniform(5.0, 11.0), rng.uniform(1.5, 2.4), rng.uniform(0.38, 0.55)
    height, top = rng.uniform(2.1, 3.0), rng.uniform(2.2, 3.7)
    paint, glass = _paint(rng), _glass(rng)
    bed, rear = wheel * rng.uniform(1.6, 2.2), length - cab - rng.uniform(0.05, 0.5)
    load = paint if rng.random() < 0.4 else _paint(rng)
    parts: list[Union[Polygon, Ring]] = [_box(0.0, bed - 0.35, length - 0.3, bed, (0.15, 0.15, 0.16))]
    kind = rng.random()
    if kind < 0.6:  # a closed box, with a stripe, a sign or a row of panels on it
        parts.append(_box(0.0, bed, rear, top, load))
        decoration = rng.random()
        if decoration < 0.3:
            low = _mix(bed, top, rng.uniform(0.1, 0.7))
            parts.append(_box(0.0, low, rear, low + rng.uniform(0.15, 0.5), _paint(rng)))
        elif decoration < 0.6:
            left, low = rear * rng.uniform(0.1, 0.4), _mix(bed, top, rng.uniform(0.2, 0.5))
            parts.append(_box(left, low, left + rear * rng.uniform(0.2, 0.5), low + (top - bed) * 0.4, _paint(rng)))
        elif decoration < 0.66:
            panels, colour = int(rng.integers(3, 7)), _shade(load, rng.uniform(0.5, 0.85))
            for panel in range(panels):
                parts.append(
                    _box(rear * (panel + 0.1) / panels, bed + 0.3, rear * (panel + 0.9) / panels, top - 0.3, colour)
                )
    elif kind < 0.75:  # a tank
        radius = min(top - bed, 2.0) / 2
        middle = bed + radius
        parts += [Ring((x, middle), radius, load) for x in (radius * 0.8, rear - radius * 0.8)]
        parts.append(_box(radius * 0.8, bed, rear - radius * 0.8, bed + 2 * radius, load))
    elif kind < 0.9:  # a tipper
        parts.append(Polygon(((0.6, bed), (rear, bed), (rear, top * 0.8), (0.0, top * 0.75)), load))
    else:  # a flat bed with a load
        left = rear * rng.uniform(0.0, 0.4)
        parts.append(_box(left, bed, left + rear * rng.uniform(0.3, 0.6), _mix(bed, top, rng.uniform(0.3, 0.9)), load))
        parts.append(_box(0.0, bed, rear, bed + 0.3, _shade(load, 0.6)))
    back, slant = length - cab, rng.uniform(0.0, 0.7)
    if rng.random() < 0.3:  # a bonnet in front of the cab
        parts.append(_box(length - cab * 0.5, wheel * 0.8, length, height * 0.58, paint))
        nose = length - cab * 0.4
    else:
        nose = length
    parts.append(
        Polygon(
            ((back, wheel * 0.8), (nose, wheel * 0.8), (nose, height * 0.55), (nose - slant, height), (back, height)),
            paint,
        )
    )
    parts.append(
        Polygon(
            (
                (back + 0.35, height * 0.55),
                (nose - 0.05, height * 0.55),
                (nose - slant - 0.05, height * 0.92),
                (back + 0.35, height * 0.92),
            ),
            glass,
        )
    )
    axles = [length - cab * rng.uniform(0.4, 0.7), rear * rng.uniform(0.15, 0.3)]
    for _ in range(int(rng.integers(0, 3)) if length > 6.5 else 0):
        axles.append(axles[-1] + 2.3 * wheel)
    parts += _lights(length, height * 0.3, rng)
    parts += _wheels(axles, wheel, rng)
    return Vehicle(parts, length, max(height, top))


def _motorcycle(rng: np.random.Generator) -> Vehicle:
    length, wheel = rng.uniform(1.8, 2.4), rng.uniform(0.26, 0.36)
    paint, metal = _paint(rng), (rng.uniform(0.2, 0.6),) * 3
    back, front = (wheel, wheel), (length - wheel, wheel)
    seat = rng.uniform(0.7, 0.9)
    bar = (front[0] - rng.uniform(0.25, 0.5), rng.uniform(0.9, 1.2))
    engine = (length * rng.uniform(0.42, 0.52), wheel * rng.uniform(1.0, 1.3))
    tread = rng.uniform(0.06, 0.12)
    parts: list[Union[Polygon, Ring]] = []
    for hub in (back, front):
        parts.append(Ring(hub, wheel, (0.08, 0.08, 0.09), wheel - tread))
        parts.append(Ring(hub, wheel * 0.25, metal))
        if rng.random() < 0.5:  # a solid rim
            parts.append(Ring(hub, wheel - tread, metal))
    parts.append(_bar(back, engine, 0.1, metal))
    parts.append(_bar(front, bar, 0.08, metal))
    parts.append(_bar((back[0] + 0.1, seat - 0.1), engine, 0.09, paint))
    parts.append(_bar((engine[0] + 0.2, seat + 0.1), (bar[0], bar[1] - 0.15), 0.1, paint))
    parts.append(Ring(engine, rng.uniform(0.16, 0.26), _shade(metal, 0.6)))
    parts.append(_bar((engine[0] - 0.1, seat), (bar[0] - 0.05, seat + 0.12), rng.uniform(0.2, 0.34), paint))
    parts.append(_bar((back[0] - 0.15, seat + 0.05), (engine[0], seat), rng.uniform(0.1, 0.18), (0.1, 0.1, 0.1)))
    if rng.random() < 0.35:  # panels, as scooters have
        parts.append(
            Polygon(((back[0], wheel), (engine[0] + 0.2, wheel * 0.8), (engine[0], seat), (back[0] - 0.1, seat)), paint)
        )
    parts.append(Ring((bar[0] + 0.12, bar[1] - 0.15), 0.09, (0.9, 0.9, 0.75)))
    height = bar[1] + 0.1
    if rng.random() < 0.6:
        cloth, skin = _paint(rng), _paint(rng)
        hip, shoulder = (
            (back[0] + 0.45, seat + 0.1),
            (engine[0] + rng.uniform(-0.05, 0.25), seat + rng.uniform(0.5, 0.65)),
        )
        parts.append(_bar(hip, shoulder, 0.32, cloth))
        parts.append(_bar(shoulder, bar, 0.11, cloth))
        parts.append(_bar(hip, (engine[0] + 0.1, wheel * 1.6), 0.18, _shade(cloth, 0.5)))
        parts.append(_bar((engine[0] + 0.1, wheel * 1.6), (engine[0] - 0.05, wheel * 0.6), 0.13, _shade(cloth, 0.5)))
        parts.append(Ring((shoulder[0] + 0.08, shoulder[1] + 0.2), 0.16, skin))
        height = shoulder[1] + 0.36
    return Vehicle(parts, length, height)


_BUILDERS = (_car, _bus, _truck, _motorcycle)


# Parts and paints.


def _mix(a: float, b: float, t: float) -> float:
    return a + (b - a) * t


def _box(x0: float, y0: float, x1: float, y1: float, colour: Colour) -> Polygon:
    return Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)


def _bar(a: Point, b: Point, width: float, colour: Colour) -> Polygon:
    """A beam from ``a`` to ``b``."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    half = 0.5 * width / math.sqrt(dx * dx + dy * dy)
    nx, ny = -dy * half, dx * half
    return Polygon(
        ((a[0] + nx, a[1] + ny), (a[0] - nx, a[1] - ny), (b[0] - nx, b[1] - ny), (b[0] + nx, b[1] + ny)), colour
    )


def _wheels(axles: Sequence[float], radius: float, rng: np.random.Generator) -> list[Ring]:
    tyre, rim = (rng.uniform(0.04, 0.15),) * 3, (rng.uniform(0.3, 0.8),) * 3
    hub = radius * rng.uniform(0.4, 0.65)
    return [ring for x in axles for ring in (Ring((x, radius), radius, tyre), Ring((x, radius), hub, rim))]


def _lights(length: float, y: float, rng: np.random.Generator) -> list[Polygon]:
    size = rng.uniform(0.1, 0.22)
    return [
        _box(0.0, y, size, y + size, (0.75, 0.1, 0.1)),
        _box(length - size, y, length, y + size, (0.95, 0.95, 0.8)),
    ]


def _paint(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.45:  # white, grey, black: as common as all the others
        grey = rng.uniform(0.05, 0.95)
        return grey, grey, grey
    return rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95)


def _muted(rng: np.random.Generator) -> Colour:
    grey, colour = rng.uniform(0.1, 0.95), _paint(rng)
    return _mix(grey, colour[0], 0.3), _mix(grey, colour[1], 0.3), _mix(grey, colour[2], 0.3)


def _glass(rng: np.random.Generator) -> Colour:
    level = rng.uniform(0.05, 0.75)
    return level, level * rng.uniform(1.0, 1.15), level * rng.uniform(1.0, 1.3)


def _shade(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


# Placing it in a picture. Arrays are (row, column, channel); pixel coordinates are (column, row).


def _background(rng: np.random.Generator, ground: float) -> np.ndarray:
    """Sky or wall, buildings, and the road that starts above ``ground``."""
    image = np.empty((SIZE, SIZE, 3), np.float32)
    rows = np.arange(SIZE, dtype=np.float32)[:, None, None] / SIZE
    image[:] = _array(_muted(rng)) * (1 - rows) + _array(_muted(rng)) * rows
    horizon = ground - rng.uniform(2.0, 25.0)
    for _ in range(int(rng.integers(0, 5))):
        left, width, top = rng.uniform(-20, SIZE), rng.uniform(8, 45), rng.uniform(0.0, horizon)
        _fill_polygon(image, _corners(left, top, left + width, horizon), _muted(rng))
    road = rng.uniform(0.15, 0.65)
    _fill_polygon(
        image,
        _corners(-1, horizon, SIZE + 1, SIZE + 1),
        (road, road * rng.uniform(0.9, 1.05), road * rng.uniform(0.8, 1.05)),
    )
    if rng.random() < 0.4:
        _fill_polygon(image, _corners(-1, ground + 4, SIZE + 1, ground + rng.uniform(5, 8)), (0.85, 0.85, 0.8))
    return image


def _draw(image: np.ndarray, vehicle: Vehicle, rng: np.random.Generator, ground: float) -> None:
    """Paint the vehicle and its shadow, standing on row ``ground``, facing either way, a little turned and tilted."""
    scale = SIZE * min(rng.uniform(0.75, 1.0) / vehicle.length, rng.uniform(0.55, 0.75) / vehicle.height)
    squeeze = rng.uniform(0.75, 1.0)  # seen from an angle
    facing = 1.0 if rng.random() < 0.5 else -1.0
    angle, lean = rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    column = SIZE * rng.uniform(0.43, 0.57)

    def place(point: Point) -> Point:
        x, y = facing * squeeze * (point[0] - vehicle.length / 2) + lean * point[1], point[1]
        return column + cos * x + sin * y, ground + sin * x - cos * y

    shadow = vehicle.length * 0.04
    points = [place(p) for p in ((-shadow, 0.1), (vehicle.length + shadow, 0.1), (vehicle.length, -0.18), (0.0, -0.18))]
    _fill_polygon(image, points, (0.04, 0.04, 0.05), rng.uniform(0.2, 0.8))
    for part in vehicle.parts:
        if isinstance(part, Polygon):
            _fill_polygon(image, [place(point) for point in part.points], part.colour)
        else:
            _fill_ring(image, place(part.centre), part.radius * scale, part.inner * scale, squeeze, part.colour)


def _obstacles(image: np.ndarray, rng: np.random.Generator) -> None:
    """Poles and hedges in front of the vehicle."""
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.4 else 0):
        left, width = rng.uniform(0, SIZE), rng.uniform(2, 9)
        _fill_polygon(image, _corners(left, -1, left + width, SIZE + 1), _muted(rng))
    if rng.random() < 0.15:
        left, width, top = rng.uniform(-30, SIZE), rng.uniform(20, 60), SIZE * rng.uniform(0.6, 0.9)
        _fill_polygon(image, _corners(left, top, left + width, SIZE + 1), (0.1, rng.uniform(0.15, 0.5), 0.1))


def _camera(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fog, light, blur and noise; then eight bits per channel."""
    fog, haze = rng.uniform(0.0, 1.0) ** 3 * 0.5, rng.uniform(0.3, 0.9)
    image *= (1 - fog) * _array((rng.uniform(0.85, 1.1), 1.0, rng.uniform(0.85, 1.1)))
    image += fog * haze
    left, right = rng.uniform(0.5, 1.2), rng.uniform(0.5, 1.2)
    image *= np.linspace(left, right, SIZE, dtype=np.float32)[None, :, None]
    for _ in range(int(rng.integers(0, 3))):
        image[:, 1:-1] = (image[:, :-2] + image[:, 2:]) * 0.25 + image[:, 1:-1] * 0.5
        image[1:-1] = (image[:-2] + image[2:]) * 0.25 + image[1:-1] * 0.5
    for _ in range(int(rng.integers(1, 9)) if rng.random() < 0.2 else 0):  # it moves
        image[:, 1:-1] = (image[:, :-2] + image[:, 2:]) * 0.25 + image[:, 1:-1] * 0.5
    noise = np.frombuffer(rng.bytes(2 * image.size), np.uint8).reshape(2, *image.shape)
    image += (noise[0].astype(np.float32) - noise[1]) * (rng.uniform(0.0, 0.09) / 255)
    np.clip(image, 0.0, 1.0, out=image)
    image *= 255
    np.rint(image, out=image)
    image /= 255
    return image


def _array(colour: Colour) -> np.ndarray:
    return np.array(colour, np.float32)


def _corners(x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _window(points: Sequence[Point], margin: float) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """The rows and columns around ``points`` that lie in the picture, as slices and as coordinates of pixel centres."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    columns = slice(*(max(0, min(SIZE, int(v))) for v in (min(xs) - margin, max(xs) + margin + 1)))
    rows = slice(*(max(0, min(SIZE, int(v))) for v in (min(ys) - margin, max(ys) + margin + 1)))
    grid = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    return rows, columns, grid[columns][None, :], grid[rows][:, None]


def _fill_polygon(image: np.ndarray, points: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
    """Paint a convex polygon, smooth at its edges: a pixel's cover is its depth below the nearest edge, 0 to 1."""
    rows, columns, x, y = _window(points, 1)
    turn = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, [*points[1:], points[0]]))
    depth = np.full((y.size, x.size), 1.0, np.float32)
    for a, b in zip(points, [*points[1:], points[0]]):
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.copysign(math.sqrt(dx * dx + dy * dy), turn)
        if length:
            nx, ny = -dy / length, dx / length
            np.minimum(depth, nx * x + (ny * y - (nx * a[0] + ny * a[1] - 0.5)), out=depth)
    _blend(image[rows, columns], depth, colour, opacity)


def _fill_ring(image: np.ndarray, centre: Point, radius: float, inner: float, squeeze: float, colour: Colour) -> None:
    """Paint a ring, ``squeeze`` times as wide as high, with radii in pixels."""
    rows, columns, x, y = _window((centre,), radius + 1)
    across, down = (x - centre[0]) / squeeze, y - centre[1]
    distance = np.sqrt(across * across + down * down)
    depth = radius + 0.5 - distance
    if inner:
        np.minimum(depth, distance - (inner - 0.5), out=depth)
    _blend(image[rows, columns], depth, colour, 1.0)


def _blend(target: np.ndarray, cover: np.ndarray, colour: Colour, opacity: float) -> None:
    np.clip(cover, 0.0, 1.0, out=cover)
    target += (_array(colour) - target) * (cover * opacity)[:, :, None]
