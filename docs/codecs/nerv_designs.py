"""What the designs of `nerv` are made of, at the size of the demo. A table of `nerv.md`.

    python docs/codecs/nerv_designs.py
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from fewbits.codecs.video.nerv.aims import USUAL_RATE
from fewbits.codecs.video.nerv.config import HNERV, NERV, NERV_PLUS, NIRVANA, NervConfig
from fewbits.codecs.video.nerv.decoder import Decoder
from fewbits.codecs.video.nerv.encoder import best_width, group_length
from fewbits.codecs.video.nerv.layout import EMBEDDING, Layout

FRAMES, HEIGHT, WIDTH = 132, 160, 320


def multiplications(decoder: Decoder) -> int:
    """Of all convolutions, for one frame."""
    count = 0

    def add(layer: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal count
        count += output.numel() * layer.weight[0].numel()

    hooks = [module.register_forward_hook(add) for module in decoder.modules() if isinstance(module, nn.Conv2d)]
    with torch.inference_mode():
        decoder(torch.zeros(1))
    for hook in hooks:
        hook.remove()
    return count


def main() -> None:
    """Prints the table."""
    print("| design | frames of a network | features of the stages | numbers | of these in the embedding "
          "| multiplications a pixel |")
    print("|---|---|---|---|---|---|")
    for design in (NERV, HNERV, NERV_PLUS, NIRVANA):
        config = NervConfig(design, 0, group_length(FRAMES, design.group_frames), HEIGHT, WIDTH)
        config = replace(config, width=best_width(USUAL_RATE, config))
        layout = Layout(config)
        embedding = sum(part.size for part in layout.parts if part.name == EMBEDDING)
        features = ", ".join(map(str, config.channels))
        print(f"| `{design.name}` | {config.frames} | {features} | {layout.size:,} | {embedding:,} "
              f"| {multiplications(Decoder(config)) / HEIGHT / WIDTH:,.0f} |")


if __name__ == "__main__":
    main()
