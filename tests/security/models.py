"""Files of models for these tests, made on the spot or so small that they stand here."""

import base64
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from streaming.backbones.backbone import Backbone, Preparation
from streaming.backbones.shelf import Manifest

# uint8[1, 8, 8, 3] to the means of its channels, float32[1, 3].
_PACKED = (
    "c-"
    "nPSJ#Q015FOtgj%AEvgawv}kc$+l9NS4K5JIv{kRsU$3KkX8apX4E1^dprk5v2w3WO*qDJdxU15i;=MkqoQ{0Ist!Mxd<vkiom-r"
    "el%%$u*>6(Snk>1|Z0PAgQSDpjZiU4bmf1Rc>!;2ZEEM|29TT0|!H5Mj-"
    "$sJ+;yh+RqiZUW0dq{3s*AKI=ubdpi5{Xjv_rqih@asddEc#_0+lZ2b~pMFiJmT*2+p%dA$@}nSR8w1!ByRYENi+l;_?(N>+-"
    "oLlAw`=#e2c6rUK?gC?968px1>3Rb+hO9z-"
    "dNekDvZ3qrzPl5fRDgi;1%!!h{f+{n&$Oz)&s7gJmY8Gs@CSUF3XK{Em@x}UDrl_`A2PX;hiBhS=x)J-"
    "DtNO=*DM>#hk6i^+uEC>-A4Q%M16Pu?o^h<~)JjDZumS_jdN{-"
    "M~k!v2q*QrmFqRv&@*MEP9^hQ=XUffVszx=Vvn*oZ)|d!5`~tMP!ck05j#kDgK7&`5t9=uPFJK7HY^z&6#hu=X^G?c_Z`S{d@F`O"
    ")Ani*42S8h|M#<>x8ivW75j)I-`-@y3w4)Fg5FCT?<J!(zOI_nnK2F3U3qfF5-Wf_y<hufO5U-"
    "MA?1GNj(Mec`o@?r7uRxYxMAWg0owHa}7tqBM1(L<_wiR34#&cRNKW-"
    "UpfAIsN6(b+n(=w2P&HPjcehzedRy3)bOdz`)M|H&X&&m+Q0ADUVMjW+nMzl(icAaj(XNo?zNJ>8|l<|wp*!w>o=ZNrYr"
)
TINY = zlib.decompress(base64.b85decode(_PACKED))
# Two bytes of it changed end a process that lets LiteRT 2.3 open it, with SIGSEGV.
DEADLY = TINY[:16] + b"\0" + TINY[17:569] + b"\xff" + TINY[570:]


def backbone(sha256: str = "0" * 64) -> Backbone:
    """Give the declaration of a model of one's own that looks at 8 pixels."""
    return Backbone("brought", sha256, "none", Preparation(8), 1.0, 0.0, kind="tflite")


def bundle(folder: Path, content: bytes = TINY, keras: bytes = b"") -> Path:
    """Put a model and a manifest that fits it into a folder, as if compiled by Verger elsewhere; give the model."""
    model = folder / "brought.tflite"
    model.write_bytes(content)
    digests = {name: hashlib.sha256(each).hexdigest() if each else "" for name, each in ((0, content), (1, keras))}
    manifest = Manifest(
        backbone(digests[0]), 3, digests[0], len(content), 0.0, 1.0, {}, "2026", keras_sha256=digests[1]
    )
    model.with_suffix(".json").write_text(json.dumps(json.loads(manifest.to_json())))
    if keras:
        model.with_suffix(".keras").write_bytes(keras)
    return model


def keras_file(path: Path, config: dict[str, Any], weights: bytes | None = None, **members: bytes) -> Path:
    """Write a `.keras` file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", hdf5(lambda file: None) if weights is None else weights)
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def hdf5(change: Callable[[Any], object]) -> bytes:
    """Give a file of HDF5 with a group and a value."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/kernel"] = np.zeros(4, np.float32)
        change(file)
    return buffer.getvalue()
