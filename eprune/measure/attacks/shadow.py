"""Attack without knowing the head, or asking it: train a shadow of it, and learn to invert the shadow.

The attacker has the tail, labelled pictures of his own, and the tokens that he sees. The shadow is a small
convolutional network from pictures to tokens: the tail is to tell the classes of the attacker's pictures from what the
shadow makes, and its features are to have the means and spreads of the true tokens. Ridge regression then inverts the
shadow, and what it learned is used on the true tokens. By TensorFlow.

Reference: He, Zhang, Lee, "Model inversion attacks against collaborative inference" (ACSAC 2019), section 6.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from eprune.measure.attacks import ridge
from eprune.measure.attacks.base import Inversion, Own, Target, spatial
from eprune.measure.attacks.surroundings import Surroundings, surroundings
from eprune.measure.gradients import Network, ends_in_softmax
from eprune.model.finding import WrongUsage

LINE = "a shadow of the head, without a query"
_EPOCHS, _BATCH, _RATE = 40, 32, 1e-3
#: By how much true tokens may differ from the shadow's, in standard deviations.
_DOUBT = 1.0
#: Pixels each way to which pictures are brought where tokens have no rows and columns, and channels of layers.
_SIDE, _CHANNELS = 24, 32


def prepared(own: Own, target: Target) -> Inversion:
    """The attack. Raises WrongUsage where there are no gradients, and for pictures without labels."""
    around = surroundings(target, "a shadow of the head")
    if own.classes is None:
        raise WrongUsage("shadow: it takes pictures with labels (--data)", "--attack")

    def inversion(mine: Own, seen: np.ndarray) -> np.ndarray:
        shadowed = replace(mine, tokens=_shadow(mine, seen, target, around))
        return ridge.prepared(shadowed, target)(shadowed, seen)

    return inversion


def _shadow(own: Own, seen: np.ndarray, target: Target, around: Surroundings) -> np.ndarray:
    """The tokens that a shadow of the head, which is trained here, makes of the attacker's own pictures."""
    import tensorflow as tf

    network = Network(around.model)
    tf.keras.utils.set_random_seed(1)
    model = _layers(tf, own.pictures.shape[1:], target)
    pictures = tf.constant(own.pictures, tf.float32)
    classes = tf.constant(own.classes, tf.int32)
    mean, spread = (tf.constant(each, tf.float32) for each in (seen.mean(axis=0), seen.std(axis=0)))
    scale = tf.constant(float(seen.std()) or 1.0)
    optimiser = tf.keras.optimizers.Adam(_RATE)
    channels = target.token.shape[-1]
    related = _related(tf, tf.constant(seen - seen.mean(axis=0), tf.float32), channels)
    softmax = ends_in_softmax(around.model)
    shape = around.model.tensors[around.cut].shape

    def step(chosen: Any) -> None:
        with tf.GradientTape() as tape:
            made = tf.reshape(model(tf.gather(pictures, chosen)), (-1, seen.shape[1])) * spread + mean
            scores = network.between(around.tail, around.cut, tf.reshape(made, (-1, *shape[1:])), around.answer)
            scores = tf.reshape(scores, (tf.shape(chosen)[0], -1))
            wanted = tf.gather(classes, chosen)
            log = tf.math.log(scores + 1e-7) if softmax else tf.nn.log_softmax(scores)
            told = -tf.reduce_mean(tf.gather(log, wanted, batch_dims=1))
            middle, variance = tf.nn.moments(made, [0])
            alike = tf.reduce_mean((middle - mean) ** 2 + (tf.sqrt(variance + 1e-9) - spread) ** 2) / scale**2
            alike += tf.reduce_mean((_related(tf, made - mean, channels) - related) ** 2) / scale**4
            loss = told + alike
        weights = model.trainable_variables
        optimiser.apply_gradients(zip(tape.gradient(loss, weights), weights))

    trained = tf.function(step, reduce_retracing=True)
    random = np.random.default_rng(1)
    for _ in range(_EPOCHS):
        order = random.permutation(len(own))
        for first in range(0, len(order) - _BATCH // 4, _BATCH):
            trained(tf.constant(order[first : first + _BATCH]))
    made = [model(pictures[first : first + _BATCH]).numpy() for first in range(0, len(own), _BATCH)]
    found = np.concatenate(made).reshape(len(own), -1)
    # The shadow is not the head: what is fitted on it must not rely on small differences.
    found = found + random.normal(0, _DOUBT, found.shape)
    return (found * seen.std(axis=0) + seen.mean(axis=0)).astype(np.float32)


def _related(tf: Any, tokens: Any, channels: int) -> Any:
    """The second moments of channels [channels,channels]."""
    rows = tf.reshape(tokens, (-1, channels))
    return tf.matmul(rows, rows, transpose_a=True) / tf.cast(tf.shape(rows)[0], tf.float32)


def _layers(tf: Any, picture: tuple[int, ...], target: Target) -> Any:
    """A small network from pictures to tokens."""
    layers = tf.keras.layers
    rows, columns = target.token.shape[1:3] if spatial(target.token) else (_SIDE, _SIDE)
    stack = [
        layers.Input(picture),
        layers.Conv2D(_CHANNELS, 5, padding="same", activation="relu"),
        layers.Resizing(rows, columns),
        layers.Conv2D(_CHANNELS, 5, padding="same", activation="relu"),
    ]
    if spatial(target.token):
        stack.append(layers.Conv2D(target.token.shape[3], 3, padding="same"))
    else:
        stack += [layers.MaxPooling2D(4), layers.Flatten(), layers.Dense(int(np.prod(target.token.shape)))]
    return tf.keras.Sequential(stack)
