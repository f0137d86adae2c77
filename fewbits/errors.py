"""Every error that a user of fewbits can cause, each with the exit code of the command line."""


class FewbitsError(Exception):
    """Base of all errors raised on purpose. The message is a sentence that says what to do."""

    exit_code = 1


class InputError(FewbitsError):
    """Wrong usage, or an input or output file that cannot be read or written as asked."""

    exit_code = 2


class StreamError(FewbitsError):
    """A `.fwb` stream that cannot be decoded."""

    exit_code = 3


class NotFewbitsError(StreamError):
    """The data does not begin like a `.fwb` file."""


class UnsupportedError(StreamError):
    """The stream is newer than this release, or uses a codec that it does not have."""


class TruncatedError(StreamError):
    """The stream ends too early."""


class DamagedError(StreamError):
    """A checksum, a length or a value in the stream is wrong."""


class DamagedSectionsError(DamagedError):
    """Sections are damaged or missing, and the others can be decoded where that is allowed."""


class LimitError(StreamError):
    """The stream asks for more than the limits allow."""


class WeightsError(FewbitsError):
    """The weights that a codec or a stream needs are not installed."""

    exit_code = 4
