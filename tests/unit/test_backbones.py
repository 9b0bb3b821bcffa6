import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import BackboneError, UsageError
from streaming.backbones import (
    ARCHITECTURES,
    Backbone,
    Filter,
    Fit,
    Pooling,
    Preparation,
    from_declaration,
    parse_backbone,
)
from streaming.efficientnet_lite0 import EMBEDDED_SHA256

DEFAULT = parse_backbone("efficientnet-lite0").with_weights(EMBEDDED_SHA256)

backbones = st.builds(
    Backbone,
    architecture=st.sampled_from(sorted(ARCHITECTURES)),
    weights_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    pooling=st.sampled_from(get_args(Pooling)),
    preparation=st.builds(
        Preparation,
        size=st.integers(32, 1024),
        fit=st.sampled_from(get_args(Fit)),
        filter=st.sampled_from(get_args(Filter)),
        decoding=st.integers(1, 9),
    ),
    scale=st.floats(0.001, 1),
    offset=st.floats(-128, 128),
)


class TestFeaturizer:
    """A backbone has one id, and two backbones have two."""

    def test_the_default_has_a_fixed_id(self) -> None:
        """A lake written by an earlier version is found again: the id of the default never changes."""
        assert DEFAULT.featurizer == "efficientnet-lite0-224-avg-1f96fedb"

    def test_the_slug_names_a_fit_other_than_stretch(self) -> None:
        """Two featurizers that differ in fit can be told apart by reading."""
        backbone = parse_backbone("mobilenet-v2-0.35@96", pooling="max", fit="crop").with_weights("0" * 64)
        assert backbone.featurizer.startswith("mobilenet-v2-0.35-96-crop-max-")

    @pytest.mark.parametrize(
        "change",
        [
            {"weights_sha256": "0" * 64},
            {"pooling": "max"},
            {"scale": 1 / 127.5},
            {"offset": -1.0},
            {"architecture": "mobilenet-v2"},
            {"preparation": Preparation(size=192)},
            {"preparation": Preparation(size=224, fit="pad")},
            {"preparation": Preparation(size=224, filter="bicubic")},
            {"preparation": Preparation(size=224, decoding=2)},
        ],
        ids=str,
    )
    def test_everything_that_decides_the_vector_changes_the_id(self, change: dict[str, Any]) -> None:
        """Vectors of two different declarations never share an id."""
        assert dataclasses.replace(DEFAULT, **change).featurizer[-8:] != DEFAULT.featurizer[-8:]

    @given(backbones)
    def test_a_declaration_reads_back_through_json(self, backbone: Backbone) -> None:
        """A manifest gives back the very backbone that was declared, id included."""
        again = from_declaration(json.loads(json.dumps(backbone.declaration())))
        assert again == backbone
        assert again.featurizer == backbone.featurizer

    @pytest.mark.parametrize(
        "declaration",
        [
            {},
            {**DEFAULT.declaration(), "colour": "bgr"},
            {**DEFAULT.declaration(), "architecture": "resnet50"},
            {**DEFAULT.declaration(), "preparation": "stretch"},
        ],
        ids=["empty", "unknown field", "unknown architecture", "no preparation"],
    )
    def test_a_declaration_of_another_version_is_refused(self, declaration: dict[str, Any]) -> None:
        """A declaration with fields that this version does not know is not half understood."""
        with pytest.raises(BackboneError, match="This version of Verger"):
            from_declaration(declaration)


class TestWidth:
    """The vector's length follows from the declaration."""

    @pytest.mark.parametrize(("size", "pooling", "width"), [(224, "avg", 1280), (224, "max", 1280)])
    def test_a_pooled_vector_has_one_value_per_channel(self, size: int, pooling: str, width: int) -> None:
        """Average and maximum leave the channels."""
        assert parse_backbone(f"mobilenet-v2@{size}", pooling=pooling).with_weights("0" * 64).width == width

    @pytest.mark.parametrize(("size", "side"), [(224, 7), (32, 1), (33, 2), (100, 4)])
    def test_a_flattened_vector_has_the_whole_map(self, size: int, side: int) -> None:
        """The last feature map is the input's side over 32, rounded up."""
        backbone = parse_backbone(f"mobilenet-v2@{size}", pooling="flatten").with_weights("0" * 64)
        assert backbone.width == side * side * 1280


class TestParsing:
    """Settings become a request, or an error that names the setting."""

    @pytest.mark.parametrize(
        ("spec", "weights"), [("efficientnet-lite0", "embedded"), ("mobilenet-v2", "imagenet")], ids=str
    )
    def test_no_weights_means_the_architectures_own(self, spec: str, weights: str) -> None:
        """The empty setting is the weights that the architecture knows by name."""
        request = parse_backbone(spec, "")
        assert (request.weights, request.preparation) == (weights, Preparation(size=224))

    def test_a_seed_has_one_spelling(self) -> None:
        """`random:007` and `random:7` are one backbone."""
        assert parse_backbone("mobilenet-v2", "random:007") == parse_backbone("mobilenet-v2", "random:7")

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"spec": "resnet"}, "--backbone resnet.*known: efficientnet-lite0, mobilenet-v2, mobilenet-v2-0.35"),
            ({"spec": "mobilenet-v2@31"}, "--backbone mobilenet-v2@31.*from 32 to 1024"),
            ({"spec": "mobilenet-v2@1025"}, "from 32 to 1024"),
            ({"spec": "mobilenet-v2@"}, "from 32 to 1024"),
            ({"spec": "mobilenet-v2@-64"}, "from 32 to 1024"),
            ({"spec": "mobilenet-v2@²²⁴"}, "from 32 to 1024"),
            ({"spec": "mobilenet-v2", "weights": "embedded"}, "--weights embedded.*takes imagenet"),
            ({"spec": "efficientnet-lite0", "weights": "imagenet"}, "--weights imagenet.*takes embedded"),
            ({"spec": "mobilenet-v2", "weights": "imagnet"}, "--weights imagnet.*path of a .h5 file"),
            ({"spec": "mobilenet-v2", "weights": "random:"}, "--weights random:.*random:SEED"),
            ({"spec": "mobilenet-v2", "weights": "random:-1"}, "random:SEED"),
            ({"spec": "efficientnet-lite0", "weights": "a.h5"}, "path of a .pth file"),
            ({"spec": "mobilenet-v2", "pooling": "mean"}, "--pooling mean.*known: avg, max, flatten"),
            ({"spec": "mobilenet-v2", "fit": "squash"}, "--fit squash.*known: stretch, crop, pad"),
        ],
        ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
    )
    def test_a_wrong_setting_is_named_with_what_is_known(self, settings: dict[str, str], says: str) -> None:
        """The message names the setting, its value and what would do."""
        with pytest.raises(UsageError, match=says):
            parse_backbone(**settings)
