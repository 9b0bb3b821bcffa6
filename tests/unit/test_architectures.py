"""The table of networks against the Keras that is installed."""

import types
from typing import Any

import numpy as np
import pytest

from streaming.backbones.architectures import ARCHITECTURES, Architecture
from streaming.backbones.backbone import Backbone, Preparation
from streaming.backbones.random_weights import preprocessed

APPLICATIONS = [each for each in ARCHITECTURES.values() if each.class_name]


def networks() -> set[str]:
    import keras

    return {name for name, value in vars(keras.applications).items() if isinstance(value, types.FunctionType)}


def preprocess_input(class_name: str) -> Any:
    """Find the `preprocess_input` of the module that Keras lists a network in; MobileNetV3 is listed in none."""
    import keras

    modules = [each for each in vars(keras.applications).values() if isinstance(each, types.ModuleType)]
    homes = [each for each in modules if hasattr(each, class_name)]
    return (homes[0] if homes else keras.applications.mobilenet_v3).preprocess_input


def test_every_network_of_keras_is_there() -> None:
    """The table covers keras.applications, and names nothing that Keras lacks."""
    assert {each.class_name for each in APPLICATIONS} == networks()


@pytest.mark.parametrize("architecture", APPLICATIONS, ids=lambda each: each.name)
def test_the_preprocessing_is_keras_own(architecture: Architecture) -> None:
    """Scale, offset and order of channels give the numbers of the network's own `preprocess_input`."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    expected = preprocess_input(architecture.class_name)(pictures.astype(np.float32))
    declared = architecture.preprocessing
    backbone = Backbone(
        architecture.name, "", "avg", Preparation(4), declared.scale, declared.offset, declared.channels
    )
    np.testing.assert_allclose(preprocessed(pictures, backbone), expected, rtol=2e-6, atol=2e-6)
