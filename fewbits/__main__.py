"""The command line's door: `fewbits` and `python -m fewbits`."""

import sys


def main() -> None:
    """Runs the command line; see `fewbits.apps.cli.main`. Ctrl-C ends it while it is still being imported, too."""
    try:
        from fewbits.apps.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
