"""The optimizers of a training, with their schedules of rates."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from trainer.networks.building import Network
from trainer.settings import Settings


class Optimizers:
    """AdamW of the new layers, and one at a lower rate of the pretrained layers, if any."""

    def __init__(self, network: Network, settings: Settings, steps: int) -> None:
        tuned = {
            variable.path
            for layer in network.trained.layers
            if layer.name in network.pretrained
            for variable in layer.trainable_variables
        }
        trainable = network.trained.trainable_variables
        self.new = [variable for variable in trainable if variable.path not in tuned]
        self.tuned = [variable for variable in trainable if variable.path in tuned]
        self._of_new = adam(settings, settings.learning_rate, settings.epochs, steps)
        self._of_new.build(self.new)
        self._of_tuned = None
        if self.tuned and settings.pretrained_rate is not None:
            epochs = settings.epochs - (settings.head_epochs or 0)
            self._of_tuned = adam(settings, settings.pretrained_rate, epochs, steps)
            self._of_tuned.build(self.tuned)
        self._clipnorm = settings.clipnorm

    @property
    def variables(self) -> list[keras.Variable]:
        """What a checkpoint has to keep."""
        tuned = [] if self._of_tuned is None else self._of_tuned.variables
        return [*self._of_new.variables, *tuned]

    @property
    def steps_done(self) -> tf.Tensor:
        """Steps of the new layers so far, float32."""
        return tf.cast(self._of_new.iterations, tf.float32)

    def apply(self, tape: tf.GradientTape, loss: tf.Tensor, tune: bool) -> None:
        """Do one step; `tune`: of the pretrained layers as well."""
        tuned = self.tuned if tune else []
        gradients = tape.gradient(loss, [*self.new, *tuned])
        if self._clipnorm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self._clipnorm)
        count = len(self.new)
        self._of_new.apply_gradients(zip(gradients[:count], self.new, strict=True))
        if tuned and self._of_tuned is not None:
            self._of_tuned.apply_gradients(zip(gradients[count:], tuned, strict=True))


def adam(settings: Settings, rate: float, epochs: int, steps: int) -> keras.optimizers.AdamW:
    """Return an optimizer whose rate goes up to `rate` and down to 0 in so many steps an epoch."""
    schedule: Any = rate
    if not settings.plain:
        schedule = keras.optimizers.schedules.CosineDecay(
            rate / 20,
            decay_steps=max(epochs - 1, 0) * steps + 1,
            warmup_target=rate,
            warmup_steps=min(steps, 500),
        )
    return keras.optimizers.AdamW(
        schedule, weight_decay=settings.weight_decay, beta_2=settings.beta_2 or 0.999
    )
