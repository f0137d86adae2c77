"""Options that several commands share, declared once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Output = Annotated[str | None, typer.Option("--output", "-o", help="A file or folder, or - for standard output.")]
Overwrite = Annotated[bool, typer.Option("-y", help="Overwrite files that exist.")]
Codec = Annotated[
    str | None,
    typer.Option(help="Name of the codec; `fewbits codecs` lists them.", show_default="hyperprior or speech"),
]
Quality = Annotated[float | None, typer.Option(help="0 (smallest file) to 100 (best quality).")]
BitsPerPixel = Annotated[float | None, typer.Option("--bpp", help="Aim at this many bits per pixel.")]
Kbps = Annotated[float | None, typer.Option(help="Of sounds and films: aim at this many kbit/s.")]
Size = Annotated[int | None, typer.Option(help="Aim at a file of at most this many bytes.")]
Psnr = Annotated[float | None, typer.Option(help="Aim at this PSNR, in dB.")]
Effort = Annotated[int, typer.Option(min=1, max=9, help="1 (fastest) to 9 (slowest).")]
Progressive = Annotated[
    bool, typer.Option("--progressive", help="The beginning of the file is the whole picture at a lower quality.")
]
Tune = Annotated[
    Literal["psnr", "msssim"],
    typer.Option(help="The metric that a picture is coded for, by codecs that can be tuned: hyperprior, overfit."),
]
Verify = Annotated[
    bool, typer.Option(help="Lossless codecs: decode the result and compare before reporting success.")
]
SoundOfFilm = Annotated[
    str | None,
    typer.Option("--audio", metavar="copy|none|CODEC", help="What becomes of the sound of a film.",
                 show_default="copy"),
]
AllowDamage = Annotated[
    bool, typer.Option(help="Keep what can be decoded of a damaged file, or of its beginning.")
]
Conceal = Annotated[
    bool, typer.Option("--conceal", help="Guess what a damaged file has lost, by a codec that can: vqextreme.")
]
Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Weights of yours, for codecs that take them: compressai.")
]
MaxPixels = Annotated[
    int | None,
    typer.Option(min=1, help="Refuse pictures and films with more pixels; raise it for files that you trust."),
]
MaxSamples = Annotated[
    int | None, typer.Option(min=1, help="Refuse sounds with more samples; raise it for files that you trust.")
]
