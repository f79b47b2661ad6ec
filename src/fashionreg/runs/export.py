"""`fashionreg export`: one replica of a checkpoint as a plain network, for use without this project.

torch is imported when the command runs, so that `--help` does not wait for it.
"""

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionreg.errors import UserError
from fashionreg.files import check_output, whole_file

if TYPE_CHECKING:
    from torch import nn

    from fashionreg.models import Classifier

_DESCRIPTION = """\
Takes the network of one seed out of a checkpoint and writes it as

  torch   the state dict of a plain torch.nn.Sequential, whose layers are printed; load it with weights_only=True
          (Residual, where a network has residual connections, is a Sequential that adds its input to its output)
  onnx    an ONNX file with the input `images` (batch, pixels) and the output `logits` (batch, classes)

Input of both: float32, one row for each image, its pixels row by row, black background, divided by 255 (if the run had
`normalize: true`, then shifted and scaled as is printed). Numbers that are no pixels (a table, scikit-learn's digits)
are taken as they are: a first layer, BatchNorm1d with fixed statistics, scales them as for training.

Output of both: unnormalised logits; their softmax are probabilities, in the order of the classes. Dropout does
nothing here, and batch norm uses its running statistics; it is folded into the linear layers before it unless
--keep_batch_norm is given.

examples:
  fashionreg export --ckpt_path logs/bn/version_0/checkpoints/last.ckpt --seed 0 --out bn.onnx
  fashionreg export --ckpt_path logs/bn/version_0/checkpoints/last.ckpt --format torch --out bn.pt
"""

_FORMATS = {".pt": "torch", ".pth": "torch", ".onnx": "onnx"}


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `export`; the chosen command is `run`, a function of the parsed arguments to the exit code."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export",
        help="write the network of one seed as a plain torch or ONNX file",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ckpt_path", type=Path, required=True, metavar="FILE", help="checkpoint of a run")
    parser.add_argument("--seed", type=int, help="seed of the replica (default: the first of the checkpoint)")
    parser.add_argument("--format", choices=["torch", "onnx"], help="default: by the suffix of --out, else onnx")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: NAME_seedN.onnx or .pt)")
    parser.add_argument("--keep_batch_norm", action="store_true", help="do not fold batch norm into the linear layers")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists (default: refuse)")
    parser.add_argument(
        "--trust_checkpoint",
        action="store_true",
        help="let the checkpoint name any class, which can run anything (default: those of fashionreg and torch)",
    )
    parser.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    """Write one replica.

    Raises:
        UserError: If the checkpoint, the seed, the format or the file to write will not do.
    """
    import torch
    from torch import nn

    from fashionreg.data.batches import PIXEL_MEAN, PIXEL_STD

    form = args.format or ("onnx" if args.out is None else _FORMATS.get(args.out.suffix))
    if form is None:
        raise UserError(f"{args.out}: the suffix says no format; name it .pt or .onnx, or give --format torch or onnx")
    model, config = load_classifier(args.ckpt_path, trusted=args.trust_checkpoint)
    seed = model.seeds[0] if args.seed is None else args.seed
    if seed not in model.seeds:
        raise UserError(f"seed: {args.ckpt_path} holds the seeds {model.seeds}, not {seed}")
    out = args.out or Path(f"{Path(config['name']).name}_seed{seed}{'.onnx' if form == 'onnx' else '.pt'}")
    check_output(out, force=args.force)
    network = plain_network(model, seed)
    if not args.keep_batch_norm and isinstance(network, nn.Sequential):
        network = fold_batch_norm(network)
    expected = "pixels / 255, row by row" if model.scaling is None else "the numbers as they are in the data, unscaled"
    if config["data"]["init_args"].get("normalize"):
        expected += f", minus {PIXEL_MEAN:.4f}, divided by {PIXEL_STD:.4f}"
    assert model.shape is not None
    inputs, _ = model.shape
    if form == "torch":
        # not into the file: torch reports a full disk as an error in its own archive
        buffer = io.BytesIO()
        torch.save(network.state_dict(), buffer)
        content = buffer.getvalue()
    else:
        about = f"fashionreg {config['name']}, seed {seed}; input float32 (batch, {inputs}): {expected}"
        content = to_onnx(network, inputs, about)
    with whole_file(out) as file:
        file.write(content)
    print(f"{out}: seed {seed} as {form}, {network}")
    print(f"input: float32 (batch, {inputs}), {expected}")
    return 0


def load_classifier(path: Path, *, trusted: bool = False) -> tuple["Classifier", dict[str, Any]]:
    """Make the model of a checkpoint, on the CPU, with its parameters; and the configuration of its run.

    Args:
        path: The checkpoint.
        trusted: Whether it may name classes of any module, which runs code of theirs.

    Raises:
        UserError: If the file is no checkpoint of this project, or names a class that it may not or that is not there.
    """
    from argparse import ArgumentError

    from jsonargparse import ArgumentParser

    from fashionreg.models.classifier import FASHION_MNIST_SHAPE, SHAPE_KEY, Classifier
    from fashionreg.randomness import expand_seeds
    from fashionreg.runs import trust
    from fashionreg.runs.checkpoint import CONFIG_KEY, read_checkpoint
    from fashionreg.runs.contents import check_parameters, outline

    checkpoint = read_checkpoint(path)
    source = f"ckpt_path: {path}"
    if CONFIG_KEY not in checkpoint:
        raise UserError(f"{source}: was not written by `fashionreg fit`: it carries no configuration")
    config = trust.configuration(checkpoint[CONFIG_KEY], source)
    if not trusted:
        config = trust.as_data(config, source)
    if missing := [key for key in ("name", "seeds", "model", "data") if key not in config]:
        raise UserError(f"{source}: the configuration in it has no {missing[0]}")
    # a range where a count is given: it is not made a list before the file is known to hold so many
    seeds = expand_seeds(config["seeds"])
    if not any(value.dim() and len(value) == len(seeds) for value in checkpoint["state_dict"].values()):
        raise UserError(f"{source}: has no parameters for {len(seeds)} seeds, as its configuration says")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Classifier, "model")
    arguments = config["model"]["init_args"] | {"seeds": list(seeds)}
    try:
        # not `load_from_checkpoint`, which makes whatever the hyperparameters in the file name
        parsed = parser.parse_object({"model": config["model"] | {"init_args": arguments}})
        model = parser.instantiate_classes(parsed).model
    except (ArgumentError, ValueError, TypeError, RuntimeError) as error:
        reason = error.__cause__ if isinstance(error.__cause__, UserError) else error
        raise UserError(f"{source}: its model cannot be made: {' '.join(str(reason).split())}") from error
    assert isinstance(model, Classifier)
    inputs, classes = checkpoint.get(SHAPE_KEY, FASHION_MNIST_SHAPE)
    network = outline(model, inputs, classes, seeds[0])
    if network is not None:
        check_parameters(checkpoint, network, len(seeds), source)
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(checkpoint["state_dict"])
    return model, config


def plain_network(model: "Classifier", seed: int) -> "nn.Module":
    """Return the network of one of the model's seeds as a plain module of torch, in evaluation mode.

    Where numbers were scaled for training, its first layer does that.
    """
    from torch import nn

    replica = model.seeds.index(seed)
    network = model.plain(replica)
    if model.scaling is None:
        return network
    shift, scale = model.scaling[:, replica if model.scaling.shape[1] > 1 else 0]
    first = nn.BatchNorm1d(len(shift), eps=0.0, affine=False)
    assert first.running_mean is not None
    assert first.running_var is not None
    first.running_mean.copy_(shift)
    first.running_var.copy_(scale.square())
    layers = network if isinstance(network, nn.Sequential) else [network]
    return nn.Sequential(first, *layers).eval()


def fold_batch_norm(network: "nn.Sequential") -> "nn.Sequential":
    """Make the same function in evaluation of fewer layers: no dropout, no noise, batch norm folded into the linear."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_linear_bn_eval

    from fashionreg.models.layers import Residual

    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm1d) and layers and isinstance(linear := layers[-1], nn.Linear):
            layers[-1] = fuse_linear_bn_eval(linear, layer)
        elif isinstance(layer, Residual):
            layers.append(Residual(*fold_batch_norm(layer)))
        elif not isinstance(layer, nn.Dropout | nn.Identity):
            layers.append(layer)
    return nn.Sequential(*layers).eval()


def to_onnx(network: "nn.Module", inputs: int, description: str) -> bytes:
    """Write the network as the bytes of an ONNX file for batches of any size, with a description of its input.

    Raises:
        UserError: If the packages that write ONNX are not installed.
    """
    import torch

    example = torch.zeros(2, inputs)
    try:
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    except ImportError as error:
        raise UserError(
            f"format: onnx needs the packages onnx and onnxscript: pip install 'fashionreg[onnx]' ({error})"
        ) from error
    assert program is not None
    model = program.model_proto
    model.doc_string = description
    content: bytes = model.SerializeToString()
    return content
