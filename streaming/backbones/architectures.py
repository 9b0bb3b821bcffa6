"""The networks that Verger knows by name, as data: every one of keras.applications, and EfficientNet-Lite0.

Each is declared with the preprocessing that it was trained with, as Keras' own `preprocess_input` computes it; a test
holds this table against the installed Keras.
"""

from dataclasses import dataclass
from typing import Literal

PerChannel = float | tuple[float, ...]
Order = Literal["rgb", "bgr"]
Kind = Literal["network", "keras", "tflite"]


@dataclass(frozen=True)
class Preprocessing:
    """What the network sees of a pixel: ``pixel * scale + offset``, channel by channel, in its order of channels.

    Attributes
    ----------
    scale, offset : float or tuple of 3 floats
        For all channels or for each, in the network's order.
    channels : {"rgb", "bgr"}
    """

    scale: PerChannel = 1.0
    offset: PerChannel = 0.0
    channels: Order = "rgb"


@dataclass(frozen=True)
class Architecture:
    """A network without its top: what it expects.

    Attributes
    ----------
    name : str
    sentence : str
        What it is, for a person who chooses.
    size : int
        Default side of the input; 0 where the user's own model says it.
    preprocessing : Preprocessing
    named_weights : str
        The weights that it knows by name, ``embedded`` or ``imagenet``; its default. Empty for the user's own model.
    suffix : str
        How the name of a file with its weights ends.
    class_name : str
        In keras.applications; empty for a network built elsewhere.
    smallest : int
        Least side of the input.
    alpha : float or None
        Keras' width multiplier, for a network that has one and is not at its default.
    kind : {"network", "keras", "tflite"}
        A network known by name, or a model file of the user's own.
    """

    name: str
    sentence: str
    size: int
    preprocessing: Preprocessing
    named_weights: Literal["embedded", "imagenet", ""] = "imagenet"
    suffix: str = ".h5"
    class_name: str = ""
    smallest: int = 32
    alpha: float | None = None
    kind: Kind = "network"


_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels, for pixels in 0..1
_INSIDE = Preprocessing()  # the network itself scales
_TF = Preprocessing(1 / 127.5, -1.0)
_TORCH = Preprocessing(
    tuple(1 / (255 * deviation) for deviation in _DEVIATIONS),
    tuple(-mean / deviation for mean, deviation in zip(_MEANS, _DEVIATIONS, strict=True)),
)
_CAFFE = Preprocessing(1.0, (-103.939, -116.779, -123.68), "bgr")

_LITE0 = Architecture(
    name="efficientnet-lite0",
    sentence="EfficientNet-Lite0 with the ImageNet weights that an installed package ships: needs no download.",
    size=224,
    preprocessing=Preprocessing(1 / 128, -127 / 128),
    named_weights="embedded",
    suffix=".pth",
)
_NARROW = Architecture(
    name="mobilenet-v2-0.35",
    sentence="MobileNetV2 at 0.35 of its width: a small and quick network; Keras downloads its weights.",
    size=224,
    preprocessing=_TF,
    class_name="MobileNetV2",
    alpha=0.35,
)


def _family(
    sentence: str, preprocessing: Preprocessing, *members: tuple[str, str, int], smallest: int = 32
) -> list[Architecture]:
    """Declare networks of keras.applications that share all but name, class and default side."""
    return [
        Architecture(
            name=name,
            sentence=f"{sentence}; Keras downloads its weights.",
            size=size,
            preprocessing=preprocessing,
            class_name=class_name,
            smallest=smallest,
        )
        for name, class_name, size in members
    ]


_APPLICATIONS = [
    *_family(
        "MobileNetV2 at full width, the fastest here with full accuracy",
        _TF,
        ("mobilenet-v2", "MobileNetV2", 224),
    ),
    *_family(
        "A network for telephones, of depthwise convolutions (2017)",
        _TF,
        ("mobilenet", "MobileNet", 224),
    ),
    *_family(
        "A network for telephones, found by search (2019)",
        _INSIDE,
        ("mobilenet-v3-small", "MobileNetV3Small", 224),
        ("mobilenet-v3-large", "MobileNetV3Large", 224),
    ),
    *_family(
        "A plain stack of convolutions (2014): large, slow, and wide when flattened",
        _CAFFE,
        ("vgg16", "VGG16", 224),
        ("vgg19", "VGG19", 224),
    ),
    *_family(
        "A residual network (2015), the reference of many studies",
        _CAFFE,
        ("resnet50", "ResNet50", 224),
        ("resnet101", "ResNet101", 224),
        ("resnet152", "ResNet152", 224),
    ),
    *_family(
        "A residual network that normalises first (2016)",
        _TF,
        ("resnet50-v2", "ResNet50V2", 224),
        ("resnet101-v2", "ResNet101V2", 224),
        ("resnet152-v2", "ResNet152V2", 224),
    ),
    *_family(
        "A network whose layers see all earlier ones (2016)",
        _TORCH,
        ("densenet121", "DenseNet121", 224),
        ("densenet169", "DenseNet169", 224),
        ("densenet201", "DenseNet201", 224),
    ),
    *_family(
        "Convolutions of several sizes side by side (2015)",
        _TF,
        ("inception-v3", "InceptionV3", 299),
        ("inception-resnet-v2", "InceptionResNetV2", 299),
        smallest=75,
    ),
    *_family(
        "Depthwise separable convolutions with shortcuts (2016)",
        _TF,
        ("xception", "Xception", 299),
        smallest=71,
    ),
    *_family(
        "A network found by search (2017)",
        _TF,
        ("nasnet-mobile", "NASNetMobile", 224),
        ("nasnet-large", "NASNetLarge", 331),
    ),
    *_family(
        "EfficientNet (2019): depth, width and input grow together",
        _INSIDE,
        ("efficientnet-b0", "EfficientNetB0", 224),
        ("efficientnet-b1", "EfficientNetB1", 240),
        ("efficientnet-b2", "EfficientNetB2", 260),
        ("efficientnet-b3", "EfficientNetB3", 300),
        ("efficientnet-b4", "EfficientNetB4", 380),
        ("efficientnet-b5", "EfficientNetB5", 456),
        ("efficientnet-b6", "EfficientNetB6", 528),
        ("efficientnet-b7", "EfficientNetB7", 600),
    ),
    *_family(
        "EfficientNetV2 (2021), smaller and faster for its accuracy",
        _INSIDE,
        ("efficientnet-v2-b0", "EfficientNetV2B0", 224),
        ("efficientnet-v2-b1", "EfficientNetV2B1", 240),
        ("efficientnet-v2-b2", "EfficientNetV2B2", 260),
        ("efficientnet-v2-b3", "EfficientNetV2B3", 300),
        ("efficientnet-v2-s", "EfficientNetV2S", 384),
        ("efficientnet-v2-m", "EfficientNetV2M", 480),
        ("efficientnet-v2-l", "EfficientNetV2L", 480),
    ),
    *_family(
        "ConvNeXt (2022): a convolutional network with the habits of a transformer",
        _INSIDE,
        ("convnext-tiny", "ConvNeXtTiny", 224),
        ("convnext-small", "ConvNeXtSmall", 224),
        ("convnext-base", "ConvNeXtBase", 224),
        ("convnext-large", "ConvNeXtLarge", 224),
        ("convnext-xlarge", "ConvNeXtXLarge", 224),
    ),
]

ARCHITECTURES = {each.name: each for each in (_LITE0, *_APPLICATIONS, _NARROW)}
_SPELLINGS = {each.class_name.lower(): each for each in _APPLICATIONS} | ARCHITECTURES


def architecture_named(name: str) -> Architecture | None:
    """Find a network by its name here or by Keras' name of its class, in capitals or not."""
    return _SPELLINGS.get(name.lower())
