"""The page on an address of this machine."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fewbits.apps.gui import limits

HERE = "127.0.0.1"


@contextmanager
def serving(port: int | None = None, share: bool = False) -> Iterator[str]:
    """Serves the page on this machine alone until the block ends, and gives its address.

    Uploads and results lie in a folder of their own, which is removed with all that is in it.

    Args:
        port: None for any that is free.
        share: whether gradio also makes a public address.

    Raises:
        OSError: if the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="fewbits-app-", ignore_cleanup_errors=True) as folder:
        # gradio reads these when it is imported, or when a page is made
        os.environ.update(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
        from fewbits.apps.gui import page
        from fewbits.apps.gui.desk import Desks

        warm = threading.Event()
        desks = Desks(Path(folder), until_ready=warm.wait)
        blocks = page.build(desks).queue(max_size=limits.WAITING)
        try:
            _, local, public = blocks.launch(
                server_name=HERE, server_port=port, share=share, quiet=True, inbrowser=False, prevent_thread_lock=True,
                max_file_size=limits.UPLOAD, ssr_mode=False, pwa=False, enable_monitoring=False, run_history=False,
                footer_links=[], theme=page.THEME, css=page.STYLE)
            # not before: beside gradio's own start it makes the page itself wait
            threading.Thread(target=warm_up, args=[warm], daemon=True).start()
            yield public or local
        finally:
            desks.close()
            blocks.close(verbose=False)


def warm_up(done: threading.Event) -> None:
    """Codes a small picture, so that imports and weights do not make the first visitor wait."""
    try:
        import numpy as np

        from fewbits.codecs import files
        from fewbits.codecs.media import Image
        from fewbits.errors import WeightsError
        from fewbits.eval.matched import measure

        picture = Image(np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8))
        with suppress(WeightsError):  # of which the visitor will be told
            measure(picture, files.decode(files.encode(picture).data).media)
    finally:
        done.set()
