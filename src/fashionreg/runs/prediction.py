"""`fashionreg predict`: what goes into the networks, and the table that comes out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from fashionreg.data.csv_files import PIXELS, is_kaggle_form, read_csv
from fashionreg.data.images import LabelledImages
from fashionreg.data.pictures import read_picture
from fashionreg.data.tables import Kind, read_table
from fashionreg.errors import UserError


@dataclass(frozen=True)
class Inputs:
    """Images to classify.

    Attributes:
        names: For each image, its file, or its file and row (from 1) in a CSV file.
        preparation: For each image, what was done to bring it into Fashion-MNIST's form.
        images: N images; labels only where a CSV file gives them.
    """

    names: list[str]
    preparation: list[str]
    images: LabelledImages


def read_inputs(paths: Sequence[str], inputs: int = PIXELS, kind: Kind = "pixels", label: str | None = None) -> Inputs:
    """Read image files and CSV files (`.csv`, `.csv.gz`), in order.

    Args:
        paths: The files.
        inputs: Number of inputs D of the network; image files become 784 pixels.
        kind: What the network takes.
        label: Name of a column that is no input, where there is one; see `read_table`.

    Raises:
        UserError: If a file cannot be read, or does not hold what the network takes.
    """
    names: list[str] = []
    preparation: list[str] = []
    images: list[LabelledImages] = []
    for path in paths:
        if path.lower().endswith((".csv", ".csv.gz")):
            rows = _read_rows(path, inputs, kind, label)
            names += [f"{path}:{row}" for row in range(1, len(rows) + 1)]
            preparation += ["as it is"] * len(rows)
            images.append(rows)
        elif inputs != PIXELS or kind != "pixels":
            raise UserError(
                f"images: {path}: the network takes {inputs} {'features' if kind == 'features' else 'pixels'}, and a "
                f"picture becomes {PIXELS} pixels; give CSV files of them"
            )
        else:
            image, done = read_picture(Path(path))
            names.append(path)
            preparation.append(done)
            images.append(LabelledImages(image.unsqueeze(0), torch.tensor([-1])))
    pixels, labels = (torch.cat([getattr(part, name) for part in images]) for name in ("images", "labels"))
    return Inputs(names, preparation, LabelledImages(pixels, labels))


def _read_rows(path: str, inputs: int, kind: Kind, label: str | None) -> LabelledImages:
    """Read a CSV file in the form of Fashion-MNIST's, or else any with one column for each input."""
    fault: UserError | None = None
    try:
        if inputs == PIXELS and kind == "pixels" and label is None:
            return read_csv(path, labelled=False)
    except UserError as error:
        fault = error if is_kaggle_form(path) else None
    try:
        table = read_table(path, kind, label, inputs=inputs)
    except UserError as error:
        raise fault or error from None
    side = math.isqrt(inputs)
    shape = (side, side) if kind == "pixels" and side**2 == inputs else (inputs,)
    return LabelledImages(torch.from_numpy(table.values).view(-1, *shape), torch.full((len(table.values),), -1))


def prediction_table(inputs: Inputs, probabilities: Tensor, classes: Sequence[str]) -> pd.DataFrame:
    """One row for each image: its class, how sure the networks are, and the probability of every class.

    Args:
        inputs: The N images.
        classes: Names of the K classes.
        probabilities: float `(S, N, K)`. The ensemble decides: the class with the largest mean over the S replicas.

    Returns:
        Columns image, class, label (0 to K - 1), probability (of that class, 0 to 1), with several replicas agreement
        (the share of them that alone would say the same), preparation, and one column for each class, by its name, or
        `probability of NAME` where another column has that name.
    """
    mean = probabilities.mean(dim=0)
    label = mean.argmax(dim=1)
    columns = {
        "image": inputs.names,
        "class": [classes[index] for index in label.tolist()],
        "label": label.tolist(),
        "probability": mean.gather(1, label.unsqueeze(1)).squeeze(1).tolist(),
    }
    if len(probabilities) > 1:
        columns["agreement"] = (probabilities.argmax(dim=2) == label).float().mean(dim=0).tolist()
    columns["preparation"] = inputs.preparation
    names = [f"probability of {name}" if name in columns else name for name in classes]
    return pd.DataFrame(columns | dict(zip(names, mean.T.tolist(), strict=True)))
