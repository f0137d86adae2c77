"""`fewbits train`: one command a recipe."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from fewbits.apps.cli.device import Device, check_device
from fewbits.apps.cli.paths import refuse_unwritable_folder
from fewbits.apps.cli.progress import progress_bar
from fewbits.errors import InputError

app = typer.Typer(name="train", no_args_is_help=True,
                  help="Train a codec, or what measures codecs; on several GPUs: torchrun --nproc-per-node N -m fewbits"
                       " train ...")


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"There is no folder {path}.")
    return path


def _writable(path: Path) -> Path:
    refuse_unwritable_folder(path)
    return path


def _alone(command: str) -> None:
    """Raises `InputError` under torchrun, for what one process does."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(f"One process is all that `fewbits train {command}` can use: start it without torchrun.")


Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", callback=_writable,
                       help="Folder for checkpoints, logs and weights.")
]
Minutes = Annotated[float, typer.Option(min=0.01, help="How long to train.")]
Speech = Annotated[Path, typer.Argument(metavar="DATA", help="A folder of clips of speech.", callback=_folder)]
Photos = Annotated[Path, typer.Argument(metavar="DATA", help="A folder of photos.", callback=_folder)]


@app.command()
def hyperprior(
    data: Photos,
    output: Output = Path("runs/hyperprior"),
    minutes: Minutes = 240.0,
    start: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Weights to go on from, such as those shipped.")
    ] = None,
    tune: Annotated[Literal["psnr", "msssim"], typer.Option(help="The metric to train for.")] = "psnr",
    device: Device = "cpu",
) -> None:
    """Train the image codec `hyperprior`. A run that was interrupted goes on from its last checkpoint."""
    check_device(device)
    try:
        from fewbits.apps.train import hyperprior as recipe
        from fewbits.apps.train.hyperprior_export import export
        from fewbits.apps.train.ranks import joined, rank
    except ModuleNotFoundError as error:
        raise InputError(f"Training needs the package {error.name}: install fewbits[train].") from None

    with joined(device) as own_device, progress_bar() as progress:
        schedule = recipe.schedule(minutes, tune, start)
        recipe.train(data, output, schedule, own_device, start=start, progress=progress)
        if rank():
            return
    weights = output / ("hyperprior.safetensors" if tune == "psnr" else f"hyperprior-{tune}.safetensors")
    export(output, data, weights)
    print(f"To use the weights, copy {weights} and its model card to codecs/image/weights/.")


@app.command()
def mcq(
    data: Photos,
    output: Output = Path("runs/mcq"),
    minutes: Minutes = 60.0,
    start: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Weights of `hyperprior` to begin with; else those shipped."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Train the image codec `mcq`. A run that was interrupted goes on from its last checkpoint."""
    check_device(device)
    try:
        from fewbits.apps.train import hyperprior
        from fewbits.apps.train import mcq as recipe
        from fewbits.apps.train.hyperprior_export import export
        from fewbits.apps.train.mcq_export import codebooks_of
        from fewbits.apps.train.ranks import joined, rank
        from fewbits.codecs.image.mcq.model import McqModel
    except ModuleNotFoundError as error:
        raise InputError(f"Training needs the package {error.name}: install fewbits[train].") from None

    with joined(device) as own_device, progress_bar() as progress:
        hyperprior.train(data, output, recipe.schedule(minutes), own_device, start=start, progress=progress,
                         begin=recipe.begin)
        if rank():
            return
    weights = output / "mcq.safetensors"
    export(output, data, weights, model_type=McqModel, others=codebooks_of)
    print(f"To use the weights, copy {weights} and its model card to codecs/image/weights/.")


@app.command()
def vqextreme(
    data: Photos,
    classifier: Annotated[
        Path, typer.Option(metavar="FILE", dir_okay=False,
                           help="A classifier whose features are compared: by `fewbits train classifier`, with "
                                "another seed than the one that judges.")
    ],
    output: Output = Path("runs/vqextreme"),
    minutes: Minutes = 120.0,
    finite_scalar: Annotated[
        bool, typer.Option("--finite-scalar", help="Levels of single numbers in place of codebooks, to compare them.")
    ] = False,
    synthesis_of: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False,
                     help="Finished weights of which the synthesis alone is trained on: files stay as large, and what "
                          "guesses lost cells, beside FILE, is taken over."),
    ] = None,
) -> None:
    """Train the image codec `vqextreme`. A run that was interrupted goes on from its last checkpoint."""
    try:
        from fewbits.apps.train import vqextreme as recipe
        from fewbits.apps.train.ranks import joined, rank
        from fewbits.apps.train.vqextreme_export import export, export_synthesis
        from fewbits.codecs.image.vqextreme.config import VqExtremeConfig
        from fewbits.eval.classifier import feature_distances, load
    except ModuleNotFoundError as error:
        raise InputError(f"Training needs the package {error.name}: install fewbits[train].") from None

    judge = load(classifier)
    with joined("cpu"), progress_bar() as progress:
        recipe.train(data, output, recipe.schedule(minutes, synthesis_of is not None),
                     VqExtremeConfig(finite_scalar=finite_scalar),
                     features=lambda original, decoded: feature_distances(judge, original, decoded),
                     synthesis_of=synthesis_of, progress=progress)
        if rank():
            return
    weights = output / "vqextreme.safetensors"
    if synthesis_of:
        export_synthesis(output, data, synthesis_of, weights)
        print(f"To use the weights, copy {weights}, its model card and the network beside it to codecs/image/weights/.")
        return
    export(output, data, weights)
    print(f"To use the weights, copy {weights} and its model card to codecs/image/weights/, and train what guesses "
          "lost cells: `fewbits train vqextreme-restoration`.")


@app.command("vqextreme-restoration")
def vqextreme_restoration(
    data: Photos,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Weights of `vqextreme`; else those shipped.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", callback=_writable,
                           help="Folder for the network.")
    ] = Path("runs/vqextreme"),
    minutes: Minutes = 30.0,
) -> None:
    """Train the network of the image codec `vqextreme` that guesses what a damaged file has lost."""
    _alone("vqextreme-restoration")
    from fewbits.apps.train import vqextreme_restoration as recipe
    from fewbits.codecs.image.vqextreme.codec import WEIGHTS

    network = output / "vqextreme-restoration.safetensors"
    with progress_bar() as progress:
        recipe.train(data, weights or WEIGHTS, network, recipe.Schedule(minutes), progress=progress)
    print(f"To use the network, copy {network} and its model card to codecs/image/weights/.")


@app.command("hyperprior-circuit")
def hyperprior_circuit(
    data: Photos,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", callback=_writable,
                           help="Folder for the circuit.")
    ] = Path("runs/hyperprior-circuit"),
    states: Annotated[int, typer.Option(min=1, max=256, help="States of each hidden variable.")] = 8,
) -> None:
    """Train the circuit of the image codec `hyperprior`, for the weights that are installed."""
    _alone("hyperprior-circuit")
    from fewbits.apps.train import latent_circuit as recipe

    weights = output / "hyperprior-circuit.safetensors"
    with progress_bar() as progress:
        recipe.train(data, weights, recipe.Budget(states=states), progress=progress)
    print(f"To use the circuit, copy {weights} and its model card to codecs/image/weights/.")


@app.command()
def overfit(
    data: Photos,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", callback=_writable,
                           help="Folder for finished decoders and the weights.")
    ] = Path("runs/overfit"),
) -> None:
    """Train the starts of the image codec `overfit`. An interrupted run goes on after its last finished decoder."""
    _alone("overfit")
    from fewbits.apps.train import overfit as recipe

    weights = output / "overfit.safetensors"
    with progress_bar() as progress:
        recipe.train(data, output, weights, progress=progress)
    print(f"To use the weights, copy {weights} to codecs/image/weights/.")


@app.command()
def speech(
    data: Speech,
    output: Output = Path("runs/speech"),
    minutes: Minutes = 75.0,
    device: Device = "cpu",
) -> None:
    """Train the codec `speech`. A run that was interrupted goes on from its last checkpoint."""
    _train_audio("speech", data, output, minutes, device)


@app.command()
def sound(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder of clips of all sounds.", callback=_folder)],
    output: Output = Path("runs/sound"),
    minutes: Minutes = 75.0,
    device: Device = "cpu",
) -> None:
    """Train the codec `sound`. A run that was interrupted goes on from its last checkpoint."""
    _train_audio("sound", data, output, minutes, device)


@app.command("speech-live")
def speech_live(
    data: Speech,
    output: Output = Path("runs/speech-live"),
    minutes: Minutes = 60.0,
    device: Device = "cpu",
) -> None:
    """Train the codec `speech-live`, from the weights of `speech` that are installed; an interrupted run goes on."""
    _train_audio("speech-live", data, output, minutes, device)


@app.command("speech-vq")
def speech_vq(
    data: Speech,
    output: Output = Path("runs/speech-vq"),
    minutes: Minutes = 25.0,
    device: Device = "cpu",
) -> None:
    """Train the codec `speech-vq`, from the weights of `speech` that are installed; an interrupted run goes on."""
    _train_audio("speech-vq", data, output, minutes, device)


def _train_audio(codec: str, data: Path, output: Path, minutes: float, device: str) -> None:
    check_device(device)
    try:
        from fewbits.apps.train import audio, audio_export, audio_scalar, audio_vector
        from fewbits.apps.train.ranks import joined, rank
        from fewbits.apps.train.sounds import Clips
    except ModuleNotFoundError as error:
        raise InputError(f"Training needs the package {error.name}: install fewbits[train,metrics].") from None
    from fewbits.codecs.audio.codec import SpeechCodec
    from fewbits.eval.sound_metrics import SOUND_METRICS

    def run_on(device: str) -> audio.Run:
        if codec == "speech-vq":
            return audio_vector.VectorRun(SpeechCodec.weights_path, audio_vector.schedule(minutes), device)
        if codec == "speech-live":
            # the level of live speech is not known beforehand
            schedule = audio.Schedule(minutes, level_spread=12.0)
            return audio_scalar.ScalarRun(audio_scalar.RECIPES[codec], schedule, device, start=SpeechCodec.weights_path)
        return audio_scalar.ScalarRun(audio_scalar.RECIPES[codec], audio.Schedule(minutes), device)

    with joined(device) as own_device, progress_bar() as progress:
        run = run_on(own_device)
        if any(not SOUND_METRICS[name].installed for name in run.distortion.metrics):
            raise InputError("Validation needs packages that are not installed: install fewbits[train,metrics].")
        clips = Clips.open(data, run.config.rate)
        audio.train(run, clips, output, progress=progress)
        if rank():
            return
    weights = output / f"{codec}.safetensors"
    export = audio_export.export_vector if codec == "speech-vq" else audio_export.export_scalar
    export(output, clips, weights, run.distortion)
    print(f"To use the weights, copy {weights} and its model card to codecs/audio/weights/.")


@app.command("circuit-tree")
def circuit_tree(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="An idx file, or a folder of images of equal size.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", callback=_writable,
                           help="Folder for checkpoints and the weights.")
    ] = Path("runs/circuit-tree"),
    name: Annotated[
        str | None, typer.Option(help="Name of the weights file, without suffix; by default that of the folder.")
    ] = None,
    states: Annotated[int, typer.Option(min=1, max=256, help="States of each hidden variable.")] = 64,
    passes: Annotated[int, typer.Option(min=1, help="Passes over the images, in batches.")] = 24,
    device: Device = "cpu",
) -> None:
    """Train a circuit of the codec `circuit-tree`. A run that was interrupted goes on from its last checkpoint."""
    check_device(device)
    from fewbits.apps.train import circuit_tree as recipe
    from fewbits.apps.train.ranks import joined, rank
    from fewbits.codecs.image_set import ImageSet

    weights = output / f"{name or output.resolve().name}.safetensors"
    budget = recipe.Budget(states=states, passes=passes)
    with joined(device) as own_device, progress_bar() as progress:
        recipe.train(ImageSet.open(data), output, weights, budget, own_device, progress)
        if rank():
            return
    print(f"To use the weights, copy {weights} and its model card to codecs/circuit/weights/.")


@app.command()
def classifier(
    data: Annotated[
        Path, typer.Argument(metavar="LABELLED", callback=_folder,
                             help="A folder with train/, and val/ where there are photos to measure on; in each, a "
                                  "folder for each class.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", callback=_writable,
                           help="Folder for checkpoints and the weights.")
    ] = Path("runs/classifier"),
    minutes: Minutes = 10.0,
    width: Annotated[int, typer.Option(min=1, help="Channels at a quarter of the resolution.")] = 40,
    seed: Annotated[int, typer.Option(help="Another one gives another classifier.")] = 0,
) -> None:
    """Train the classifier whose features are a metric of `eval`. An interrupted run goes on from its checkpoint."""
    _alone("classifier")
    from fewbits.apps.train import classifier as recipe
    from fewbits.eval.classifier import ClassifierConfig

    weights = output / "classifier.safetensors"
    with progress_bar() as progress:
        recipe.train(data, output, recipe.Schedule(minutes), ClassifierConfig(width), seed, progress=progress)
    recipe.export(output, data, weights)
    print(f"To use the weights, copy {weights} and its model card to eval/weights/.")


@app.command("import-compressai")
def import_compressai(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A state dict of CompressAI, such as FILE.pth.tar. Code in it "
                                                        "does not run.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False,
                     help="The weights file; by default CHECKPOINT with the ending .safetensors."),
    ] = None,
) -> None:
    """Make weights of the codec `compressai` from a model that was trained with CompressAI."""
    _alone("import-compressai")
    from fewbits.apps.train.checkpoints import replaced
    from fewbits.apps.train.compressai_import import import_weights

    imported = import_weights(checkpoint)
    weights = output or checkpoint.with_name(checkpoint.name.removesuffix(".tar")).with_suffix(".safetensors")
    with replaced(weights) as temporary:
        imported.save(temporary)
    print(f"{weights}: {imported.config.architecture_name}, {weights.stat().st_size / 1e6:.1f} MB")
    print(f"To use it: fewbits encode PICTURE --codec compressai --weights {weights}; to decode, the same --weights.")


@app.command("import-pyjuice")
def import_pyjuice(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A file that `pyjuice.save` wrote. It is code: you must trust it.")
    ],
    width: Annotated[int, typer.Option(min=1, help="Width of the images.")],
    height: Annotated[int, typer.Option(min=1, help="Height of the images.")],
    channels: Annotated[int, typer.Option(min=1, max=3, help="Samples of a pixel, 1 or 3.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False,
                     help="The weights file; by default MODEL with the ending .safetensors."),
    ] = None,
) -> None:
    """Make a circuit of the codec `circuit-tree` from a hidden Chow-Liu tree that was trained with pyjuice."""
    _alone("import-pyjuice")
    from fewbits.apps.train.checkpoints import replaced
    from fewbits.apps.train.pyjuice_import import import_circuit

    circuit = import_circuit(model, (height, width, channels))
    weights = output or model.with_suffix(".safetensors")
    with replaced(weights) as temporary:
        circuit.save(temporary, {"source": f"pyjuice, {model.name}"})
    print(f"{weights}: {weights.stat().st_size / 1e6:.2f} MB, {circuit.root.size} states")
    print(f"To use the weights, copy {weights} to codecs/circuit/weights/.")
