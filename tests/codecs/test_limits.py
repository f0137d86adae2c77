"""Files that claim to hold more than any machine has memory for, with right checksums: each codec of the registry."""

from pathlib import Path

import pytest

from fewbits.codecs import files, registry
from fewbits.entropy import container
from fewbits.errors import LimitError

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = ("width", "height", "count")


def peak_kib() -> int:
    """The most memory that this process has had since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def forget_peak() -> None:
    """Lets the peak begin again; skips the test where the system does not."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the peak of the memory cannot be measured here")


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*-1.fwb")), ids=lambda path: path.stem)
def test_sizes_beyond_the_limits_are_refused_before_memory_is_taken(golden: Path) -> None:
    data, weights = golden.read_bytes(), golden.with_suffix(".safetensors")
    read = container.read(data, registry.settings_of_number)
    sections = [read.section(number) for number in range(len(read.sections))]
    largest = {field.name: field.high for field in container.MEDIA_FIELDS[read.header.kind] if field.name in SIZES}
    for claimed in ({name: high} for name, high in largest.items()):
        media = read.header.media | claimed
        header = container.Header(read.header.codec, read.header.kind, read.header.weights, media, read.header.settings)
        hostile = container.write(header, registry.settings_of_number(header.codec), sections)
        forget_peak()
        before = peak_kib()
        with pytest.raises(LimitError, match="limit"):
            files.decode(hostile, weights=weights if weights.exists() else None)
        assert peak_kib() - before < 64 * 1024  # KiB; codec and weights may load, nothing of the size that is claimed
