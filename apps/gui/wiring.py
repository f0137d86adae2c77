"""How the tabs hang together with the page: errors as sentences, desks, and places for previews."""

import html
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from fewbits.apps.gui import limits
from fewbits.apps.gui.desk import Desks, StoppedError
from fewbits.apps.gui.previews import Preview
from fewbits.codecs.codec import Progress
from fewbits.errors import FewbitsError, InputError

FilePlace = TypeVar("FilePlace", gr.File, gr.DownloadButton)


class Wiring:
    """What one tab needs to work.

    Args:
        desks: those of the page.
        tab: its name.
    """

    def __init__(self, desks: Desks, tab: str) -> None:
        self.desks, self.tab = desks, tab

    def on_click(self, button: gr.Button, cancel: gr.Button, work: Callable[..., Any], inputs: Sequence[Any],
                 outputs: Sequence[Any], name: str) -> None:
        """Does work when the button is clicked, as the endpoint `name`, until it is done or `cancel` is clicked."""
        button.click(self.told(work), list(inputs), list(outputs), api_name=name, concurrency_id="work",
                     concurrency_limit=limits.AT_ONCE, show_progress_on=outputs[0])
        cancel.click(self._stop, api_name=f"{name}_stop", queue=False)

    @contextmanager
    def desk(self, request: gr.Request, progress: gr.Progress) -> Iterator[tuple[Path, Progress]]:
        """The folder and the callback for one result; see `Desk.work`."""
        self.desks.until_ready()
        desk = self.desks.of(str(request.session_hash), self.tab)
        with desk.work(lambda share, what: progress(share, desc=what), limits.SECONDS) as place:
            yield place

    def told(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, with the errors of fewbits shown as sentences, and nothing changed where it was stopped."""
        @wraps(work)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            try:
                return work(*arguments, **named)
            except StoppedError:
                gr.Info("Stopped.")
                return gr.skip()
            except (FewbitsError, OSError) as error:
                sentence = html.escape(self._without_folders(str(error)))
            except Exception:
                logging.getLogger(__name__).exception("in the tab %s", self.tab)
                sentence = "That is a fault of fewbits. What happened stands where it was started: please report it."
            raise gr.Error(sentence, title="That does not work", print_exception=False)

        return wrapped

    def _stop(self, request: gr.Request) -> None:
        self.desks.of(str(request.session_hash), self.tab).stop()

    def _without_folders(self, text: str) -> str:
        """A sentence without the folders in which uploads lie."""
        return re.sub(rf"{re.escape(str(self.desks.root))}/\S+?/(?=[^/\s])", "", text)


def place_for(what: str) -> gr.File:
    """A place to drop a file."""
    return without_litter(gr.File(label=what, type="filepath", height=150))


def without_litter(place: FilePlace) -> FilePlace:
    """A component that gives the path of its file; gradio's own way leaves an empty temporary file each time."""
    def path_of(payload: Any) -> str | None:
        return payload.path if payload else None

    place.preprocess = path_of  # type: ignore[method-assign]
    return place


def dropped(file: str | None, what: str) -> Path:
    """The file that was dropped. Raises `InputError` where there is none."""
    if not file:
        raise InputError(f"Drop {what} first, or take one of the examples.")
    return Path(file)


class Pair:
    """Where two media, or one, are shown: a slider for pictures, players for sounds and films.

    Args:
        first, second: what they are.
    """

    def __init__(self, first: str, second: str) -> None:
        names = (first, second)
        self._slider = gr.ImageSlider(label=f"{first} | {second}", type="filepath", visible=False, max_height=500,
                                      interactive=False)
        self._picture = gr.Image(label=first, type="filepath", visible=False, interactive=False)
        with gr.Row():
            self._films = [gr.Video(label=name, visible=False, interactive=False, buttons=["download"])
                           for name in names]
        with gr.Row():
            self._sounds = [gr.Audio(label=name, visible=False, interactive=False, type="filepath",
                                     buttons=["download"]) for name in names]

    @property
    def places(self) -> list[Any]:
        """The components, in the order of `show`."""
        return [self._slider, self._picture, *self._films, *self._sounds]

    def show(self, preview: Preview | None) -> list[Any]:
        """What the components become."""
        preview = preview or Preview()
        both = preview.pictures if len(preview.pictures) == 2 else None
        one = preview.pictures[0] if len(preview.pictures) == 1 else None
        players = [*_padded(preview.films), *_padded(preview.sounds)]
        return [gr.update(value=both and tuple(map(str, both)), visible=both is not None),
                *(gr.update(value=file and str(file), visible=file is not None) for file in (one, *players))]


def _padded(files: tuple[Path, ...]) -> list[Path | None]:
    return [*files, None, None][:2]
