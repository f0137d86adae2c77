"""Runs what is due of the plan; an evaluation whose result is there is not run again."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import fewbits
from fewbits.apps.site.plan import PLAN, Evaluation
from fewbits.errors import FewbitsError
from fewbits.version import VERSION

_BACK = '<p><a href="index.html">All results</a></p>'


def run(data: Path | None, output: Path) -> dict[str, dict[str, Any]]:
    """Results by the name of their evaluation, of which each stands in a file, NAME.json, as soon as it is done.

    Args:
        data: the folder of real sets; None for those of the installed packages alone.
        output: where pages and results go, and the sets, or links to them.

    Raises:
        FewbitsError: if an evaluation fails.
    """
    results: dict[str, dict[str, Any]] = {}
    for number, evaluation in enumerate(PLAN):
        command = evaluation.prepare(data, output)
        done = _result(evaluation, output)
        if done is None or done["environment"].get("command") != shlex.join(command):
            print(f"{number + 1} of {len(PLAN)}, {evaluation.title.lower()}; Ctrl-C is safe, the next run goes on with "
                  f"it:\n{shlex.join(command)}", flush=True)
            _execute(command, output)
            _link_back(output / f"{evaluation.name}.html")
            done = _result(evaluation, output)
            assert done is not None
        results[evaluation.name] = done
    return results


def _result(evaluation: Evaluation, output: Path) -> dict[str, Any] | None:
    """What is there of this release, if the page about it is there too, which is written last."""
    path = output / f"{evaluation.name}.json"
    if not path.is_file() or not path.with_suffix(".html").is_file():
        return None
    result = json.loads(path.read_text())
    return result if result["environment"]["fewbits"] == VERSION else None


def _execute(command: list[str], output: Path) -> None:
    """The command as it is printed, by this Python and this copy of fewbits."""
    root = str(Path(fewbits.__file__).resolve().parent.parent)
    ended = subprocess.run([sys.executable, "-m", *command], cwd=output, env=os.environ | {"PYTHONPATH": root})
    if ended.returncode:
        raise FewbitsError(f"That command, run in {output}, ended with {ended.returncode}: see above, and begin again; "
                           "what is done stays.")


def _link_back(page: Path) -> None:
    page.write_text(page.read_text(encoding="utf-8").replace("<body>", f"<body>{_BACK}", 1), encoding="utf-8")
