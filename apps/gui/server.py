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

        desks = Desks(Path(folder))
        blocks = page.build(desks).queue(max_size=limits.WAITING)
        try:
            _, local, public = blocks.launch(
                server_name=HERE, server_port=port, share=share, quiet=True, inbrowser=False, prevent_thread_lock=True,
                max_file_size=limits.UPLOAD, ssr_mode=False, pwa=False, enable_monitoring=False, run_history=False,
                footer_links=[], theme=page.THEME, css=page.STYLE)
            threading.Thread(target=_warm_up, daemon=True).start()
            yield public or local
        finally:
            desks.close()
            blocks.close(verbose=False)


def _warm_up() -> None:
    """Codes a small picture and a short sound, so that imports and weights do not make the first visitor wait."""
    import numpy as np

    from fewbits.codecs import files
    from fewbits.codecs.media import Image
    from fewbits.codecs.sound import Audio
    from fewbits.errors import WeightsError
    from fewbits.eval.matched import measure

    noise = np.random.default_rng(0)
    for media in (Image(noise.integers(0, 256, (192, 192, 3), np.uint8)),
                  Audio(noise.random((1, 16000), np.float32), 16000)):
        with suppress(WeightsError):  # of which the visitor will be told
            measure(media, files.decode(files.encode(media).data).media)
