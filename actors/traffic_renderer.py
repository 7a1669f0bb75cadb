"""Rendered traffic scenes: the training data and, by default, the input of the SSD-MobileNet detector.

A roadside camera looks across a road of two to five lanes, on which cars, buses, trucks and motorcycles drive by, near
ones in front of far ones, behind poles and trees, in any light. ``TrafficScene(seed).frame(index)`` returns a picture
and its vehicles. A frame depends only on seed and index. Needs Pillow; its versions may differ in single pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from vehicle_renderer import CLASSES, Polygon, Vehicle, build_vehicle

HEIGHT, WIDTH = 360, 480
FRAMES = 100  # of a scene
FRAMES_PER_SECOND = 25
FOCAL_LENGTH = 1.2 * WIDTH  # pixels
LANE_WIDTH = 3.5  # metres
SHARES = (0.45, 0.15, 0.2, 0.2)  # how often each of CLASSES is met
OVERSAMPLING = 2  # vehicles are drawn so much larger, for smooth edges

Colour = tuple[int, int, int]


class Truth(NamedTuple):
    """A vehicle in a picture.

    ``box`` is (ymin, xmin, ymax, xmax) of the whole vehicle as far as it is inside the picture, hidden parts included,
    in fractions of the picture. ``visible`` is the fraction of the vehicle that is neither hidden nor outside.
    ``identity`` names the vehicle from frame to frame.
    """

    identity: int
    kind: int
    box: tuple[float, float, float, float]
    visible: float


@dataclass(frozen=True)
class Lane:
    """Vehicles that move together, with small relative motion. Metres and seconds; pixels where stated."""

    row: float  # where wheels touch the road, in pixels from the top
    scale: float  # pixels per metre
    speed: float  # negative: to the left
    sway: float  # the speed changes slowly
    vehicles: tuple[LaneVehicle, ...]


@dataclass(frozen=True)
class LaneVehicle:
    """A vehicle of a lane, not yet drawn. ``place`` is its position at time 0, from middle to middle of the picture."""

    identity: int
    seed: tuple[int, ...]
    kind: int
    vehicle: Vehicle
    place: float
    wobble: float
    phase: float


class TrafficScene:
    """One road, seen for ``FRAMES`` frames. ``seed`` fixes everything; vehicles are drawn when they come into view."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng((seed, 0))
        self.seed = seed
        self.squeeze, self.lean = rng.uniform(0.72, 1.0), rng.uniform(-0.1, 0.1)
        self.shade = int(rng.uniform(30, 120))
        self.horizon = rng.uniform(0.08, 0.35) * HEIGHT
        near = rng.uniform(0.82, 0.97) * HEIGHT
        self.nearest = rng.uniform(26, 64)  # pixels per metre
        self.elevation = (near - self.horizon) / self.nearest
        count = int(rng.integers(2, 6))
        towards = rng.random() < 0.5
        self.lanes = [self._lane(rng, number, (number < count / 2) == towards) for number in range(count)]
        self.light = _Light(rng)
        self.sprites: dict[int, Image.Image] = {}

    def row(self, depth: float) -> float:
        """The row of the picture in which a point on the ground lies, ``depth`` metres behind the nearest lane."""
        return self.horizon + self.elevation * self._scale(depth)

    def frame(self, index: int) -> tuple[np.ndarray, list[Truth]]:
        """The picture, uint8 (HEIGHT, WIDTH, 3), and the vehicles in it."""
        picture = self.background.copy()
        owner = np.full((HEIGHT, WIDTH), -1, np.int16)
        drawn = []
        for lane in reversed(self.lanes):
            for vehicle in lane.vehicles:
                left, width = self._span(lane, vehicle, index / FRAMES_PER_SECOND)
                if left < WIDTH and left + width > 0:
                    drawn.append(self._draw(picture, owner, lane, vehicle, left))
        picture.paste(self.foreground, (0, 0), self.foreground)
        owner[np.asarray(self.foreground)[:, :, 3] > 127] = -1
        pixels = self.light.fall_on(np.asarray(picture), np.random.default_rng((self.seed, 1, index)))
        shown = np.bincount(owner[owner >= 0], minlength=1)
        truths = [
            Truth(identity, kind, box, float(shown[identity]) / area if identity < len(shown) else 0.0)
            for identity, kind, box, area in filter(None, drawn)
        ]
        return pixels, truths

    @cached_property
    def background(self) -> Image.Image:
        """Sky, buildings, trees, verges and the empty road."""
        rng = np.random.default_rng((self.seed, 2))
        sky, high = _array(_muted(rng)), _array(_muted(rng))
        rows = np.linspace(0, 1, HEIGHT)[:, None, None]
        image = Image.fromarray(np.broadcast_to(high * (1 - rows) + sky * rows, (HEIGHT, WIDTH, 3)).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        count = len(self.lanes)
        far_edge, near_edge = self.row((count - 0.4) * LANE_WIDTH), self.row(-0.6 * LANE_WIDTH)
        draw.rectangle((0, self.horizon, WIDTH, HEIGHT), fill=_muted(rng))
        for _ in range(int(rng.integers(0, 7))):
            _building(draw, rng, self.horizon, far_edge)
        for _ in range(int(rng.integers(0, 6))):
            _tree(draw, rng, rng.uniform(-20, WIDTH), rng.uniform(self.horizon, far_edge), rng.uniform(15, 70))
        asphalt = int(rng.uniform(40, 165))
        tint = tuple(int(asphalt * rng.uniform(0.88, 1.06)) for _ in range(3))
        draw.rectangle((0, far_edge, WIDTH, near_edge), fill=tint)
        for row in (far_edge, near_edge):
            if rng.random() < 0.6:
                draw.rectangle((0, row - 2, WIDTH, row + 1), fill=_grey(rng, 120, 240))
        paint, dash, start = _grey(rng, 150, 250), rng.uniform(20, 80), rng.uniform(0, 100)
        for number in range(1, count):
            row, middle = self.row((number - 0.5) * LANE_WIDTH), abs(number - count / 2) < 0.6
            for left in np.arange(-start, WIDTH, dash if middle else 2.2 * dash):
                draw.rectangle((left, row, left + dash, row + 1.5), fill=paint)
        for _ in range(int(rng.integers(0, 6))):  # patches and puddles
            left, row = rng.uniform(-40, WIDTH), rng.uniform(far_edge, near_edge)
            width, height = rng.uniform(10, 120), rng.uniform(2, 12)
            shade = tuple(int(value * rng.uniform(0.7, 1.2)) for value in tint)
            draw.ellipse((left, row, left + width, row + height), fill=shade)
        for _ in range(int(rng.integers(0, 5))):  # boxes and walls that are no vehicles
            left, low, width = rng.uniform(-20, WIDTH), rng.uniform(self.horizon, far_edge), rng.uniform(8, 90)
            draw.rectangle((left, low - rng.uniform(5, 35), left + width, low), fill=_muted(rng))
        texture = rng.standard_normal((HEIGHT, WIDTH, 1), np.float32) * np.float32(rng.uniform(0, 7))
        return Image.fromarray(np.clip(np.asarray(image) + texture, 0, 255).astype(np.uint8))

    @cached_property
    def foreground(self) -> Image.Image:
        """The objects between the camera and the road, transparent elsewhere."""
        rng = np.random.default_rng((self.seed, 3))
        image = Image.new("RGBA", (WIDTH, HEIGHT))
        draw = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.6 else 0):
            left, width, top = rng.uniform(0, WIDTH), rng.uniform(4, 18), rng.uniform(-100, HEIGHT * 0.5)
            draw.rectangle((left, top, left + width, HEIGHT), fill=_muted(rng))
            if rng.random() < 0.5:  # with a sign
                half = rng.uniform(10, 28)
                middle = left + width / 2
                draw.rectangle((middle - half, top, middle + half, top + rng.uniform(15, 50)), fill=_muted(rng))
        if rng.random() < 0.25:
            _tree(draw, rng, rng.uniform(0, WIDTH), HEIGHT + 5, rng.uniform(40, 110))
        if rng.random() < 0.2:  # a hedge or a rail
            top = rng.uniform(0.88, 0.97) * HEIGHT
            draw.rectangle((rng.uniform(-100, WIDTH * 0.7), top, WIDTH, HEIGHT), fill=_muted(rng))
        return image

    def _scale(self, depth: float) -> float:
        return FOCAL_LENGTH / (FOCAL_LENGTH / self.nearest + depth)

    def _lane(self, rng: np.random.Generator, number: int, rightwards: bool) -> Lane:
        scale, row = self._scale(number * LANE_WIDTH), self.row(number * LANE_WIDTH)
        speed = rng.uniform(3.0, 13.0) * (1 if rightwards else -1)
        half = WIDTH / scale / 2 / self.squeeze
        way = abs(speed) * FRAMES / FRAMES_PER_SECOND
        start, end = (-half - way, half) if rightwards else (-half, half + way)
        spacing = rng.uniform(2.0, 16.0)  # metres between two vehicles, on average
        vehicles: list[LaneVehicle] = []
        place = start - 10 + rng.uniform(0, 15)
        while place < end + 10:
            kind = int(rng.choice(len(CLASSES), p=SHARES))
            identity = 1000 * number + len(vehicles)
            vehicle = build_vehicle(kind, np.random.default_rng((self.seed, 4, identity)))
            gap = 1.5 + rng.exponential(spacing)
            middle = place + vehicle.length / 2
            seed = (self.seed, 5, identity)
            wobble, phase = rng.uniform(0, min(0.25 * gap, 1.5)), rng.uniform(0, 2 * math.pi)
            vehicles.append(LaneVehicle(identity, seed, kind, vehicle, middle, wobble, phase))
            place += vehicle.length + gap
        return Lane(row, scale, speed, rng.uniform(-0.15, 0.15) * abs(speed), tuple(vehicles))

    def _span(self, lane: Lane, vehicle: LaneVehicle, time: float) -> tuple[int, int]:
        """Left edge and width of a vehicle's sprite, in pixels."""
        moved = lane.speed * time + lane.sway * (1 - math.cos(time)) + vehicle.wobble * math.sin(time + vehicle.phase)
        width = self._sprite_size(lane, vehicle)[0]
        return round(WIDTH / 2 + (vehicle.place + moved) * lane.scale * self.squeeze - width / 2), width

    def _sprite_size(self, lane: Lane, vehicle: LaneVehicle) -> tuple[int, int]:
        length, height = vehicle.vehicle.length + 1.2, vehicle.vehicle.height + 0.5  # room for shadow and lean
        return math.ceil(length * lane.scale * self.squeeze), math.ceil(height * lane.scale)

    def _draw(
        self, picture: Image.Image, owner: np.ndarray, lane: Lane, vehicle: LaneVehicle, left: int
    ) -> tuple[int, int, tuple[float, float, float, float], int] | None:
        """Paint a vehicle over what is behind it; its identity, kind, box and area, or None if outside after all."""
        if vehicle.identity not in self.sprites:
            self.sprites[vehicle.identity] = self._sprite(lane, vehicle)
        sprite = self.sprites[vehicle.identity]
        top = round(lane.row + 0.25 * lane.scale - sprite.height)
        picture.paste(sprite, (left, top), sprite)
        body = np.asarray(sprite)[:, :, 3] > 127
        inside = body[max(0, -top) : HEIGHT - top, max(0, -left) : WIDTH - left]
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not len(rows):
            return None
        y, x = max(0, top), max(0, left)
        owner[y : y + inside.shape[0], x : x + inside.shape[1]][inside] = vehicle.identity
        box = (
            float(y + rows[0]) / HEIGHT,
            float(x + columns[0]) / WIDTH,
            float(y + rows[-1] + 1) / HEIGHT,
            float(x + columns[-1] + 1) / WIDTH,
        )
        return vehicle.identity, vehicle.kind, box, int(body.sum())

    def _sprite(self, lane: Lane, vehicle: LaneVehicle) -> Image.Image:
        """The vehicle (opaque) on its shadow (half transparent): RGBA."""
        width, height = self._sprite_size(lane, vehicle)
        across, down = lane.scale * self.squeeze * OVERSAMPLING, lane.scale * OVERSAMPLING
        image = Image.new("RGBA", (width * OVERSAMPLING, height * OVERSAMPLING))
        draw = ImageDraw.Draw(image)
        facing = 1.0 if lane.speed > 0 else -1.0
        length = vehicle.vehicle.length
        middle, ground = image.width / 2, image.height - 0.25 * down

        def place(point: tuple[float, float]) -> tuple[float, float]:
            x = facing * (point[0] - length / 2) + self.lean * point[1]
            return middle + x * across, ground - point[1] * down

        shadow = (*place((-0.2 if facing > 0 else length + 0.2, 0.12)), *place((length, -0.2)))
        left, right = sorted((shadow[0], shadow[2]))
        draw.ellipse((left, shadow[1], right, shadow[3]), fill=(8, 8, 10, self.shade))
        for part in vehicle.vehicle.parts:
            colour = (*(int(min(max(value, 0), 1) * 255) for value in part.colour), 255)
            if isinstance(part, Polygon):
                draw.polygon([place(point) for point in part.points], fill=colour)
            else:
                x, y = place(part.centre)
                ring = (x - part.radius * across, y - part.radius * down, x + part.radius * across)
                thick = round((part.radius - part.inner) * down) if part.inner else 0
                box = (*ring, y + part.radius * down)
                if thick:
                    draw.ellipse(box, outline=colour, width=thick)
                else:
                    draw.ellipse(box, fill=colour)
        return image.reduce(OVERSAMPLING)


class _Light:
    """The effect of light, weather and camera on the pictures of a scene."""

    def __init__(self, rng: np.random.Generator) -> None:
        fog, haze = rng.uniform(0.0, 1.0) ** 3 * 0.5, rng.uniform(80, 230)
        gain = rng.uniform(0.45, 1.2) * np.linspace(rng.uniform(0.75, 1.1), rng.uniform(0.75, 1.1), WIDTH)
        cast = rng.uniform(0.9, 1.1, 3)
        self.gain = (gain[None, :, None] * cast * (1 - fog)).astype(np.float32)
        self.offset = np.float32(fog * haze)
        self.noise = np.float32(rng.uniform(0.0, 0.06))
        self.blurred = bool(rng.random() < 0.25)

    def fall_on(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The lit, hazy, noisy picture, uint8."""
        image = pixels * self.gain
        image += self.offset
        if self.blurred:
            image[:, 1:-1] = (image[:, :-2] + image[:, 2:]) * 0.25 + image[:, 1:-1] * 0.5
        noise = np.frombuffer(rng.bytes(2 * image.size), np.uint8).reshape(2, *image.shape)
        image += (noise[0].astype(np.float32) - noise[1]) * self.noise
        return np.clip(image, 0, 255).astype(np.uint8)


# Objects beside the road.


def _building(draw: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: float, ground: float) -> None:
    left, width = rng.uniform(-60, WIDTH), rng.uniform(40, 190)
    top, low = rng.uniform(-20, horizon * 0.9), rng.uniform(min(horizon, ground), ground)
    draw.rectangle((left, top, left + width, low), fill=_muted(rng))
    step, window = rng.uniform(14, 34), _muted(rng)
    if rng.random() < 0.7:
        for x in np.arange(left + step / 3, left + width - step / 2, step):
            for y in np.arange(top + step / 3, low - step / 2, step * 1.2):
                draw.rectangle((x, y, x + step / 2, y + step * 0.7), fill=window)


def _tree(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, ground: float, size: float) -> None:
    green = (int(rng.uniform(10, 90)), int(rng.uniform(50, 140)), int(rng.uniform(10, 70)))
    draw.rectangle((x - size * 0.07, ground - size, x + size * 0.07, ground), fill=(60, 45, 30))
    for _ in range(5):
        dx, dy, radius = rng.uniform(-0.4, 0.4) * size, rng.uniform(0.9, 1.8) * size, rng.uniform(0.25, 0.5) * size
        draw.ellipse((x + dx - radius, ground - dy - radius, x + dx + radius, ground - dy + radius), fill=green)


def _grey(rng: np.random.Generator, low: int, high: int) -> Colour:
    value = int(rng.uniform(low, high))
    return value, value, value


def _muted(rng: np.random.Generator) -> Colour:
    grey, strength = rng.uniform(25, 235), rng.uniform(0.0, 0.45)
    red, green, blue = (int(grey + (value - grey) * strength) for value in rng.uniform(0, 255, 3))
    return red, green, blue


def _array(colour: Colour) -> np.ndarray:
    return np.array(colour, np.float64)
