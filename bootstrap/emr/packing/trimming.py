"""What of its packages' files an environment leaves out, as neither leg ever loads it: more than a third of them."""

import shutil
from pathlib import Path

# Patterns below site-packages, and why what they name is not needed.
LEFT_OUT = {
    "**/tests": "the packages' own tests",
    "**/*.py[ixd]": "stubs, and sources of what is compiled",
    "**/include": "headers",
    "bin": "commands; the entry is all that is run",
    "*.dist-info/[!MLlNAe]*": "RECORD and its like name this machine's paths; metadata and licences stay",
    ".lock": "the installer's own",
    "pyarrow/*flight*": "Arrow Flight",
    "pyarrow/libarrow_s3*": "objects are read by obstore and delta-rs",
    "pyarrow/_s3fs*": "as those",
    "pyarrow/libarrow_python.so": "copies of one library; its numbered name is what is loaded",
    "pyarrow/libarrow_python.so.*.*.*": "as those",
    "pyarrow/src": "C++ sources",
    "ai_edge_litert/libLiteRt*": "the newer interface, and its graphics card; the interpreter is what runs a backbone",
    "numpy/distutils": "building extensions",
    "PIL/_avif*": "the decoder's rule knows no AVIF",
    "pillow.libs/libavif*": "as that",
    "PIL/_imagingft*": "fonts: nothing is written on a picture",
    "pillow.libs/libfreetype*": "as that",
    "pillow.libs/libharfbuzz*": "as that",
    "pillow.libs/libbrotli*": "as that",
    "pillow.libs/libpng*": "as that; Pillow reads PNG itself",
    "boto3/examples": "documentation",
}
# Of these folders only the named subfolders stay, and files.
KEPT: dict[str, tuple[str, ...]] = {
    # Compiling for phones, and their vendors' parts.
    "ai_edge_litert": (),
    # What linalg and optimize, the two that are used, import.
    "scipy": ("_lib", "constants", "fft", "linalg", "optimize", "sparse", "spatial", "special"),
    # The services that a leg calls, and the ways to credentials.
    "botocore/data": ("s3", "sqs", "sso", "sso-oidc", "sts"),
}


def trim(site: Path) -> None:
    """Delete what is left out of a `site-packages` folder.

    Raises
    ------
    LookupError
        A pattern names nothing: the packages have changed, and what was left out may be there under another name.
    """
    for folder, kept in KEPT.items():
        for place in (folder, *(f"{folder}/{name}" for name in kept)):
            if not (site / place).is_dir():
                raise LookupError(place)
        for path in (site / folder).iterdir():
            if path.is_dir() and path.name not in kept:
                _delete(path)
    for pattern in LEFT_OUT:
        found = sorted(site.glob(pattern))
        if not found:
            raise LookupError(pattern)
        for path in found:
            _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        # It may have gone with its folder.
        path.unlink(missing_ok=True)


def bytes_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links have none."""
    if path.is_symlink():
        return 0
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file() and not each.is_symlink())
