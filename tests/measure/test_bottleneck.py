"""The stochastic bottleneck: slopes as differences say, and few numbers that tell the class and little else."""

from __future__ import annotations

import io

import numpy as np
import pytest

from eprune.measure.bottleneck import Features


@pytest.fixture(scope="module")
def clouds():
    """Tokens around four centres, and the weights of a layer behind them."""
    random = np.random.default_rng(1)
    classes = random.integers(0, 4, 160)
    centres = random.normal(size=(4, 60))
    tokens = (centres[classes] + 0.7 * random.normal(size=(160, 60))).astype(np.float32)
    return tokens, classes, centres, random.normal(size=(20, 60))


def loss(features, parameters, labels, beta, draws):
    """What is minimised, by its definition."""
    mean, noise = features.components @ parameters["encoder"].T, np.exp(parameters["spread"])
    told = 0.0
    for drawn in draws:
        scores = (mean + noise * drawn) @ parameters["weights"].T + parameters["bias"]
        log = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        told -= (labels * log).sum() / len(mean) / len(draws)
    apart = 0.5 * (mean**2 + noise**2 - 2 * np.log(noise) - 1).sum(axis=1).mean()
    decay = 0.5e-3 * ((parameters["weights"] ** 2).sum() + (parameters["encoder"] ** 2).sum())
    return told + beta * apart + decay


def test_slopes_are_those_of_the_variational_bound(clouds):
    tokens, classes, _, _ = clouds
    features = Features(tokens[:40], classes[:40], None)
    random = np.random.default_rng(2)
    shapes = {"encoder": (3, features.most), "spread": (3,), "weights": (4, 3), "bias": (4,)}
    parameters = {name: 0.3 * random.normal(size=shape) for name, shape in shapes.items()}
    labels = np.eye(4)[classes[:40]]
    slopes = features._slopes(parameters, labels, 0.2, np.random.default_rng(3))
    again = np.random.default_rng(3)
    draws = [again.standard_normal((40, 3)) for _ in range(4)]
    for name, value in parameters.items():
        for index in list(np.ndindex(*value.shape))[:6]:
            sides = []
            for step in (1e-5, -1e-5):
                moved = value.copy()
                moved[index] += step
                sides.append(loss(features, {**parameters, name: moved}, labels, 0.2, draws))
            assert slopes[name][index] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("linear", [True, False])
def test_few_numbers_tell_the_class_and_the_price_of_bits_buys_noise(clouds, linear):
    tokens, classes, centres, weights = clouds
    seen = (lambda x: x @ weights.T) if linear else (lambda x: x)
    features = Features(tokens[:100], classes[:100], weights if linear else None)
    random = np.random.default_rng(4)
    told, louder = {}, {}
    for beta in (0.001, 0.3):
        made = features.fitted(3, beta)
        codes = tokens[100:] @ made.project.T
        sent = codes + made.noise * random.normal(size=codes.shape)
        back = seen(sent @ made.restore + made.offset)
        told[beta] = (((back[:, None] - seen(centres)) ** 2).sum(-1).argmin(1) == classes[100:]).mean()
        louder[beta] = float((made.noise**2 / codes.var(axis=0)).min())
    assert told[0.001] > 0.9
    assert louder[0.3] > 2 * louder[0.001]


def test_without_noise_it_is_the_same_projection_and_its_file_is_one_of_a_projection(clouds):
    tokens, classes, _, weights = clouds
    features = Features(tokens, classes, weights)
    noisy, bare = features.fitted(4, 0.01), features.fitted(4, 0.01, noisy=False)
    assert np.allclose(noisy.project, bare.project)
    assert not bare.noise.any()
    assert noisy.noise.all()
    with np.load(io.BytesIO(noisy.basis())) as file:
        assert {name: (array.shape, str(array.dtype)) for name, array in file.items()} == {
            "project": ((4, 60), "float32"),
            "restore": ((4, 60), "float32"),
            "offset": ((60,), "float32"),
        }
    spread = 4 * np.sqrt((tokens @ noisy.project.T).var(axis=0))
    assert (noisy.low < tokens.mean(axis=0) @ noisy.project.T - spread / 2).all()
