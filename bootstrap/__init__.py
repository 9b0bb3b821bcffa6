"""The `verger` command and what starts with it."""

import sys

if sys.version_info[:2] != (3, 11):
    raise SystemExit(
        f"verger: Python 3.11 is needed, this is {sys.version.split()[0]}: install it "
        "(apt-get install python3.11 python3.11-venv, or pyenv install 3.11) and make the environment with it"
    )
