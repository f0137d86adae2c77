"""`python -m fewbits.apps.site FOLDER [DATA]`, which `make site` runs: a few evaluations, and pages about them."""

import sys
from pathlib import Path

from fewbits.apps.site import index
from fewbits.apps.site.run import run
from fewbits.errors import FewbitsError


def main(output: str, data: str | None = None) -> None:
    """Writes the pages to `output`; `data` is the folder of the real sets."""
    results = run(None if data is None else Path(data), Path(output))
    print(f"The pages begin at {index.write(results, Path(output))}.")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FewbitsError as error:
        sys.exit(f"fewbits: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; what is done stays, and the next run goes on from there.")
