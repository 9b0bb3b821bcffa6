"""How a group of commands is made, and the options that several commands have."""

import typer

MEANT = "Its id, or the beginning of it"
REASON = typer.Option(help="Only this reason.", metavar="REASON")
PREFIX = typer.Option(
    help="Only pictures whose path or URI begins so; end it with a slash for a folder.", metavar="PREFIX"
)
OUT = typer.Option("--out", help="The file to write, as a path or file:// URI.", metavar="FILE")
# The exit code of a status that is not well.
UNWELL = 3
AS_JSON = typer.Option("--json", help="Print JSON.")


def group(sentence: str = "") -> typer.Typer:
    """Return an empty group; commands of one without a sentence stand at the top."""
    return typer.Typer(help=sentence or None, no_args_is_help=True, rich_markup_mode=None)
