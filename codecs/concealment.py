"""Codecs that can guess what a damaged file has lost."""

from abc import abstractmethod

from fewbits.codecs.codec import Codec, MediaT, Progress, Stream, no_progress


class ConcealingCodec(Codec[MediaT]):
    """A codec that fills what is lost with what the rest lets expect.

    What it fills in was never in the file, so that it does so where it is asked to alone; `decode` leaves such places
    blank. Its registry entry says `conceals`.
    """

    @abstractmethod
    def conceal(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> MediaT:
        """As `Codec.decode`, with damaged sections guessed."""
