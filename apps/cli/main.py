"""`fewbits`: the commands under one roof, and what happens to their errors."""

import signal
import sys
import warnings
from types import FrameType
from typing import Annotated

import typer

from fewbits.apps.cli import app as gui
from fewbits.apps.cli import batch, convert, info, measure, train
from fewbits.errors import FewbitsError
from fewbits.version import VERSION

app = typer.Typer(
    name="fewbits",
    help="Turns pictures and sounds into real files of few bits, and back, with trained codecs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help answers in a third of the time
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(convert.encode)
app.command()(convert.decode)
app.add_typer(batch.app)
app.command()(info.info)
app.command()(info.verify)
app.command()(info.codecs)
app.command("eval")(measure.evaluate)
app.command()(measure.bench)
app.command()(measure.demo)
app.command()(gui.app)
app.add_typer(train.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fewbits {VERSION}")
        raise typer.Exit


@app.callback()
def _roof(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _leave_on_signal(number: int, frame: FrameType | None) -> None:
    # an exception, not the default sudden death, so that temporary files are removed on the way out
    sys.exit(128 + number)


def main() -> None:
    """Runs the command line. Errors that a user can cause end in one sentence and the error's exit code."""
    signal.signal(signal.SIGTERM, _leave_on_signal)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn of odd files; what matters to the user is said in sentences
    try:
        app(prog_name="fewbits")
    except FewbitsError as error:
        print(f"fewbits: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        # reading and writing files; the libraries' own sentences are fit to be read
        print(f"fewbits: {error}", file=sys.stderr)
        sys.exit(2)
