"""`python -m fewbits`: the command line."""

from fewbits.apps.cli.main import main

main()
