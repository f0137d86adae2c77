"""Makes a golden file of a codec for sound: NAME.fwb, NAME.flac (the sound) and NAME.sha256 (of the latents)."""

import hashlib
import sys
from pathlib import Path

from fewbits.apps import samples
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.sound import Audio

SECONDS = 2.5

if __name__ == "__main__":
    name, codec = Path(sys.argv[1]), sys.argv[2]
    voice = samples.sound(samples.VOICE)
    sound = Audio(voice.samples[:, : int(SECONDS * voice.rate)].copy(), voice.rate)
    data = files.encode(sound, codec, Target(quality=40)).data
    name.with_suffix(".fwb").write_bytes(data)
    files.decode(data).audio.save(name.with_suffix(".flac"))
    parsed = files.parse(data)
    latents, _ = parsed.codec.latents(parsed.stream, parsed.shape)
    name.with_suffix(".sha256").write_text(hashlib.sha256(latents.numpy().astype("<i2").tobytes()).hexdigest() + "\n")
