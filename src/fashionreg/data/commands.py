"""`fashionreg data fetch|subset|show`.

A command imports its libraries when it runs, so that `--help` does not wait for torch.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionreg.data.location import data_root
from fashionreg.errors import UserError
from fashionreg.files import check_output, whole_file

if TYPE_CHECKING:
    from fashionreg.data.images import LabelledImages

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")

_FETCH = """\
Makes the four files of Fashion-MNIST present under DIR/FashionMNIST/raw: downloads what is missing (30 MB), checks
MD5 sums, unpacks, and compares what is read with the official data. Nothing is downloaded twice.

examples:
  fashionreg data fetch
  fashionreg data fetch --root /srv/datasets --mirror https://mirror.example.org/fashion-mnist/
"""
_SUBSET = """\
Writes a random subset of Fashion-MNIST, with every class in its share, as a CSV file with the header
label,pixel1,...,pixel784 (compressed if the name ends in .gz). The same size and seed give the same file.

examples:
  fashionreg data subset
  fashionreg data subset --size 1000 --seed 7 --split test --out data/small_test.csv.gz
"""
_SHOW = """\
Draws the first 16 images, 4 x 4, each under its class name: of Fashion-MNIST, of a CSV file, or of the synthetic
garments. The suffix of FILE (.png, .jpg, .webp, .pdf or .svg) says the format.

examples:
  fashionreg data show --out grid.png
  fashionreg data show --csv data/fmnist_small.csv --out small.pdf
  fashionreg data show --synthetic --seed 3 --out garments.png
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `data` and its commands; `run` of the parsed arguments is the function that returns the exit code."""
    summary = "get Fashion-MNIST, cut a CSV file, draw a grid of images"
    commands = subparsers.add_parser("data", help=summary, description=summary).add_subparsers(
        title="commands", dest="data_command", metavar="COMMAND", required=True
    )

    def add(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(
            name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        return parser

    def add_source(parser: argparse.ArgumentParser) -> None:
        source = parser.add_argument_group("where Fashion-MNIST is")
        source.add_argument(
            "--root", metavar="DIR", help="folder with FashionMNIST/raw (default: $FASHIONREG_DATA, else data)"
        )
        source.add_argument(
            "--mirror", metavar="URL", help="address that serves the four .gz files (default: torchvision's mirror)"
        )

    def add_output(parser: argparse.ArgumentParser, default: str) -> None:
        parser.add_argument(
            "--out", type=Path, metavar="FILE", default=default, help="file to write (default: %(default)s)"
        )
        parser.add_argument("--force", action="store_true", help="replace FILE if it exists (default: refuse)")

    def add_split(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--split",
            choices=["train", "test"],
            default="train",
            help="official images of Fashion-MNIST to take from (default: %(default)s)",
        )

    fetch = add("fetch", "download and verify Fashion-MNIST", _FETCH)
    add_source(fetch)
    fetch.set_defaults(run=_fetch)

    subset = add("subset", "write a stratified subset as a CSV file", _SUBSET)
    subset.add_argument("--size", type=int, metavar="N", default=6000, help="number of images (default: %(default)s)")
    subset.add_argument("--seed", type=int, metavar="N", default=0, help="which ones are drawn (default: %(default)s)")
    add_split(subset)
    add_output(subset, "data/fmnist_small.csv")
    add_source(subset)
    subset.set_defaults(run=_subset)

    show = add("show", "draw the first 16 images", _SHOW)
    other = show.add_mutually_exclusive_group()
    other.add_argument("--csv", metavar="PATH", help="take the images from this CSV file")
    other.add_argument("--synthetic", action="store_true", help="take the images from the built-in synthetic data")
    show.add_argument("--seed", type=int, metavar="N", default=0, help="of the synthetic data (default: %(default)s)")
    add_split(show)
    add_output(show, "grid.png")
    add_source(show)
    show.set_defaults(run=_show)


def _fetch(args: argparse.Namespace) -> int:
    from fashionreg.data.sources import OFFICIAL_FINGERPRINTS, fetch_fashion_mnist, raw_folder, read_fashion_mnist

    root = data_root(args.root)
    fetch_fashion_mnist(root, args.mirror)
    sizes = []
    for split, official in OFFICIAL_FINGERPRINTS.items():
        data = read_fashion_mnist(root, train=split == "train")
        if data.fingerprint() != official:
            raise UserError(
                f"{raw_folder(root)}: the {split} images are not the official ones (fingerprint {data.fingerprint()}, "
                f"expected {official}); remove the unpacked files there and run `fashionreg data fetch` again"
            )
        sizes.append(f"{len(data)} {split}")
    print(f"Fashion-MNIST is in {raw_folder(root)}, verified: {' and '.join(sizes)} images")
    return 0


def _subset(args: argparse.Namespace) -> int:
    check_output(args.out, force=args.force)
    from fashionreg.data.csv_files import write_csv
    from fashionreg.data.sources import fetch_fashion_mnist, read_fashion_mnist
    from fashionreg.data.splits import stratified_subset

    root = data_root(args.root)
    fetch_fashion_mnist(root, args.mirror)
    data = read_fashion_mnist(root, train=args.split == "train")
    data = data[stratified_subset(data.labels, args.size, args.seed)]
    write_csv(data, args.out)
    counts = data.labels.bincount()
    each = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    print(f"{args.out}: {len(data)} {args.split} images, {each} of each class, fingerprint {data.fingerprint()}")
    return 0


def _show(args: argparse.Namespace) -> int:
    check_output(args.out, force=args.force)
    if args.out.suffix.lower() not in _IMAGE_SUFFIXES:
        raise UserError(f"--out {args.out}: unknown image format, expected one of {', '.join(_IMAGE_SUFFIXES)}")
    from fashionreg.data.figures import image_grid

    figure = image_grid(_images_to_show(args))
    with whole_file(args.out) as file:
        figure.savefig(file, format=args.out.suffix.lower().removeprefix("."), dpi=150)
    print(f"{args.out}: the first images, with their class names")
    return 0


def _images_to_show(args: argparse.Namespace) -> "LabelledImages":
    if args.synthetic:
        from fashionreg.data.garments import draw_garments

        return draw_garments(16, args.seed)
    from fashionreg.data.csv_files import read_csv
    from fashionreg.data.sources import fetch_fashion_mnist, read_fashion_mnist

    if args.csv:
        return read_csv(args.csv)
    root = data_root(args.root)
    fetch_fashion_mnist(root, args.mirror)
    return read_fashion_mnist(root, train=args.split == "train")
