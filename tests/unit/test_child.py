import subprocess
import sys
from pathlib import Path

import pytest

from conf.errors import BackboneError, UsageError
from streaming.backbones import child
from streaming.backbones.compile import compile_in_child
from streaming.backbones.request import parse_backbone
from streaming.backbones.weights import resolve

ROOT = Path(__file__).parents[2]


class TestChild:
    """Compiling happens elsewhere and quietly."""

    @pytest.mark.long
    def test_the_driver_neither_holds_tensorflow_nor_prints_its_chatter(self) -> None:
        """After compiling, this process has no TensorFlow and has written nothing of its own accord."""
        program = (
            "import sys\n"
            "from streaming.backbones.request import parse_backbone\n"
            "from streaming.backbones.compile import compile_in_child\n"
            "compiled = compile_in_child(parse_backbone('mobilenet-v2-0.35@32', 'random:1'))\n"
            "print(compiled.backbone.featurizer, 'tensorflow' in sys.modules, 'keras' in sys.modules)"
        )
        ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        featurizer = resolve(parse_backbone("mobilenet-v2-0.35@32", "random:1"))[0].featurizer
        assert (ended.stdout, ended.stderr) == (f"{featurizer} False False\n", "")

    def test_the_users_error_comes_back_as_itself(self) -> None:
        """The child's errors keep their type, and so their exit code."""
        with pytest.raises(UsageError, match="no such file"):
            compile_in_child(parse_backbone("mobilenet-v2", "/no/such.h5"))

    def test_a_child_that_dies_leaves_its_last_words(self) -> None:
        """A killed compiler is one clear line, with the last that it wrote."""
        with pytest.raises(BackboneError, match=r"Compiling failed.*out of memory"):
            child.in_child(exec, "import os; os.write(2, b'chatter\\nout of memory\\n'); os._exit(9)")

    def test_a_foreign_error_is_translated(self) -> None:
        """What TensorFlow raises ends as an error that a person can meet."""
        with pytest.raises(BackboneError, match="invalid literal"):
            child.in_child(int, "x")
