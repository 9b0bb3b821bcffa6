import dataclasses
import hashlib
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import BackboneError, UsageError
from streaming.backbones.architectures import ARCHITECTURES, Kind, Order
from streaming.backbones.backbone import Backbone, Filter, Fit, Pooling, Preparation, from_declaration
from streaming.backbones.efficientnet_lite0 import EMBEDDED_SHA256
from streaming.backbones.request import parse_backbone

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
    scale=st.floats(0.001, 1) | st.tuples(*[st.floats(0.001, 1)] * 3),
    offset=st.floats(-128, 128) | st.tuples(*[st.floats(-128, 128)] * 3),
    channels=st.sampled_from(get_args(Order)),
    kind=st.sampled_from(get_args(Kind)),
)


class TestFeaturizer:
    """A backbone has one id, and two backbones have two."""

    def test_the_default_has_a_fixed_id(self) -> None:
        """A lake written by an earlier version is found again: the id of the default never changes."""
        assert DEFAULT.featurizer == "efficientnet-lite0-224-avg-1f96fedb"

    @pytest.mark.parametrize(
        ("settings", "featurizer"),
        [
            (("efficientnet-lite0", "", "max", "crop"), "efficientnet-lite0-224-crop-max-e678bd0a"),
            (("efficientnet-lite0", "", "flatten", "pad"), "efficientnet-lite0-224-pad-flatten-0f5d6688"),
            (("efficientnet-lite0@64", "", "avg", "stretch"), "efficientnet-lite0-64-avg-44e2f382"),
            (("mobilenet-v2-0.35@32", "random:1", "avg", "stretch"), "mobilenet-v2-0.35-32-avg-026a36b6"),
            (("mobilenet-v2", "random:7", "max", "crop"), "mobilenet-v2-224-crop-max-544038fc"),
            (("mobilenet-v2@96", "random:1", "flatten", "pad"), "mobilenet-v2-96-pad-flatten-5cfa1367"),
        ],
        ids=str,
    )
    def test_the_ids_of_earlier_lakes_never_change(self, settings: tuple[str, str, str, str], featurizer: str) -> None:
        """What the declaration has gained since then is left out where it says nothing new."""
        request = parse_backbone(*settings)
        text = request.weights.encode()
        sha256 = hashlib.sha256(text).hexdigest() if text.startswith(b"random") else EMBEDDED_SHA256
        assert request.with_weights(sha256).featurizer == featurizer

    def test_a_vector_that_is_not_pooled_says_so_by_leaving_it_out(self) -> None:
        """A model of one's own that gives a vector has no pooling in its id."""
        backbone = parse_backbone("Mine (v2).keras").with_weights("0" * 64, size=96, pooled=False)
        assert backbone.featurizer.startswith("mine-v2-96-")
        assert backbone.pooling == "none"

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
            {"offset": (-1.0, -1.0, 0.0)},
            {"channels": "bgr"},
            {"kind": "keras"},
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
            {**DEFAULT.declaration(), "architecture": "alexnet"},
            {**DEFAULT.declaration(), "preparation": "stretch"},
        ],
        ids=["empty", "unknown field", "unknown architecture", "no preparation"],
    )
    def test_a_declaration_of_another_version_is_refused(self, declaration: dict[str, Any]) -> None:
        """A declaration with fields that this version does not know is not half understood."""
        with pytest.raises(BackboneError, match="This version of Verger"):
            from_declaration(declaration)


class TestParsing:
    """Settings become a request, or an error that names the setting."""

    @pytest.mark.parametrize(
        ("spec", "weights", "size"),
        [("efficientnet-lite0", "embedded", 224), ("mobilenet-v2", "imagenet", 224), ("xception", "imagenet", 299)],
    )
    def test_no_weights_means_the_architectures_own(self, spec: str, weights: str, size: int) -> None:
        """The empty setting is the weights and the size that the architecture knows."""
        request = parse_backbone(spec, "")
        assert (request.weights, request.preparation) == (weights, Preparation(size=size))

    def test_a_seed_has_one_spelling(self) -> None:
        """`random:007` and `random:7` are one backbone."""
        assert parse_backbone("mobilenet-v2", "random:007") == parse_backbone("mobilenet-v2", "random:7")

    @pytest.mark.parametrize("spelling", ["ResNet50V2", "resnet50v2", "RESNET50-V2"])
    def test_keras_own_spelling_is_understood(self, spelling: str) -> None:
        """A network goes by its name here or by its class in Keras, in capitals or not."""
        assert parse_backbone(f"{spelling}@96") == parse_backbone("resnet50-v2@96")

    def test_a_backbone_may_say_its_own_options(self) -> None:
        """What stands behind the name goes before the settings, which are defaults for what does not say it."""
        spec = "vgg16@64,pooling=flatten,weights=random:1,fit=pad"
        assert parse_backbone(spec, "w.h5", "max", "crop") == parse_backbone("vgg16@64", "random:1", "flatten", "pad")
        assert parse_backbone("vgg16,fit=pad", "random:1", "max") == parse_backbone("vgg16", "random:1", "max", "pad")

    def test_paths_may_hold_commas_and_ats(self) -> None:
        """Only an option that is known ends a path, and only a size behind the file's name is one."""
        request = parse_backbone("vgg16,weights=/a,b@1/pooling=x,w.h5,pooling=max")
        assert (request.weights, request.pooling) == ("/a,b@1/pooling=x,w.h5", "max")
        request = parse_backbone("/a@b,c/m@2.keras@96,fit=crop")
        assert (request.weights, request.preparation) == ("/a@b,c/m@2.keras", Preparation(size=96, fit="crop"))
        assert parse_backbone("/a@b/m.tflite").preparation.size == 0

    def test_files_may_be_uris(self) -> None:
        """A file:// URI is its path, decoded."""
        assert parse_backbone("file:///a%20b/m.keras@96") == parse_backbone("/a b/m.keras@96")
        assert parse_backbone("vgg16", "file:///w%C3%A9.h5").weights == "/wé.h5"

    @pytest.mark.parametrize(
        ("path", "slug"),
        [
            ("/m/Ünïcode model_v2.keras", "n-code-model-v2"),
            ("x.y.tflite", "x-y"),
            ("___.keras", "model"),
            (f"{'long-' * 20}.keras", "long-long-long-long-long-long-lo"),
        ],
    )
    def test_a_model_of_ones_own_goes_by_its_file_name(self, path: str, slug: str) -> None:
        """The name in the id is of lower-case letters, digits and hyphens, at most 32."""
        assert parse_backbone(path).architecture.name == slug

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"spec": "resnet"}, "--backbone resnet.*known: efficientnet-lite0 and the networks of keras.applications"),
            ({"spec": "vgg16,poolin=max"}, "unknown name 'vgg16,poolin=max'.*,pooling=… ,fit=… ,weights=…"),
            ({"spec": "vgg16,pooling=max,pooling=avg"}, "twice"),
            ({"spec": "vgg16,pooling=mean"}, "--backbone vgg16,pooling=mean: pooling=mean: unknown; known: avg"),
            ({"spec": "vgg16,fit="}, "fit=: unknown; known: stretch"),
            ({"spec": "vgg16,weights=imagnet"}, "weights=imagnet: vgg16 takes imagenet"),
            ({"spec": "mobilenet-v2@31"}, "--backbone mobilenet-v2@31.*from 32 to 1024"),
            ({"spec": "xception@70"}, "from 71 to 1024"),
            ({"spec": "inception-v3@74"}, "from 75 to 1024"),
            ({"spec": "mobilenet-v2@1025"}, "from 32 to 1024"),
            ({"spec": "mobilenet-v2@"}, "from 32 to 1024"),
            ({"spec": "mobilenet-v2@-64"}, "from 32 to 1024"),
            ({"spec": "mobilenet-v2@²²⁴"}, "from 32 to 1024"),
            ({"spec": "m.keras@0"}, "from 1 to 1024"),
            ({"spec": "mobilenet-v2", "weights": "embedded"}, "--weights embedded.*takes imagenet"),
            ({"spec": "efficientnet-lite0", "weights": "imagenet"}, "--weights imagenet.*takes embedded"),
            ({"spec": "mobilenet-v2", "weights": "imagnet"}, "--weights imagnet.*path of a .h5 file"),
            ({"spec": "mobilenet-v2", "weights": "random:"}, "--weights random:.*random:SEED"),
            ({"spec": "mobilenet-v2", "weights": "random:-1"}, "random:SEED"),
            ({"spec": "efficientnet-lite0", "weights": "a.h5"}, "path of a .pth file"),
            ({"spec": "vgg16", "weights": "s3://bucket/a.h5"}, "--weights s3://bucket/a.h5: only file:// is reached"),
            ({"spec": "vgg16", "weights": "file://host/a.h5"}, "give a file of this machine"),
            ({"spec": "s3://bucket/m.keras"}, "--backbone s3://bucket/m.keras: only file:// is reached"),
            ({"spec": "m.keras", "weights": "random:1"}, "--weights random:1: m.keras brings its own weights"),
            ({"spec": "m.tflite,weights=a.h5"}, "weights=a.h5: m.tflite brings its own weights"),
            ({"spec": "mobilenet-v2", "pooling": "mean"}, "--pooling mean.*known: avg, max, flatten"),
            ({"spec": "mobilenet-v2", "fit": "squash"}, "--fit squash.*known: stretch, crop, pad"),
        ],
        ids=lambda value: "-".join(value.values()).replace("/", "") if isinstance(value, dict) else "",
    )
    def test_a_wrong_setting_is_named_with_what_is_known(self, settings: dict[str, str], says: str) -> None:
        """The message names the setting, its value and what would do."""
        with pytest.raises(UsageError, match=says):
            parse_backbone(**settings)


class TestCompiledElsewhere:
    """A backbone that was brought along is taken as it was compiled."""

    COMPILED = parse_backbone("vgg16@64", "random:1", "max", "pad").with_weights("0" * 64)

    @pytest.mark.parametrize("spec", ["a.tflite", "a.tflite@64", "a.tflite,pooling=max,fit=pad"])
    def test_what_it_was_compiled_for_need_not_be_said(self, spec: str) -> None:
        """The defaults and its own values go with it."""
        parse_backbone(spec).check_compiled(self.COMPILED)

    @pytest.mark.parametrize(
        ("spec", "says"),
        [
            ("a.tflite@96", "is compiled for 64; leave @96 out"),
            ("a.tflite,fit=crop", "is compiled for pad; leave fit crop out"),
            ("a.tflite,pooling=flatten", "is compiled for max; leave pooling flatten out"),
        ],
    )
    def test_anything_else_is_refused(self, spec: str, says: str) -> None:
        """What it was not compiled for is never passed over in silence."""
        with pytest.raises(UsageError, match=says):
            parse_backbone(spec).check_compiled(self.COMPILED)
