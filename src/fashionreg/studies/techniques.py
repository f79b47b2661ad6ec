"""What a variant of an atlas is: the regularizers that it adds to the reference, its option in YAML, what was tuned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from fashionreg.config import REGULARIZERS, identity, nested
from fashionreg.studies.descriptions import Description, class_name, describe
from fashionreg.studies.findings import Findings
from fashionreg.studies.grid import level
from fashionreg.studies.results import Variant
from fashionreg.studies.tuning import Settings, scores

#: What options of the model are named after.
MODEL = "model.init_args."


@dataclass(frozen=True)
class Technique:
    """What makes a variant differ from the reference.

    Attributes:
        regularizers: The classes of the regularizers that it adds or changes.
        option: What differs, as one line of YAML; without `model: {init_args: }` around it, if that is all. Options
            that were tuned for the reference too are left out. Empty where nothing else differs.
        settings: What tuning chose, `lr 0.0137, dropout.p 0.2`; empty where nothing was tuned.
    """

    regularizers: list[Description]
    option: str
    settings: str


def techniques(found: Findings) -> dict[str, Technique]:
    """Return what each variant of a study is, the reference included."""
    chosen: dict[str, Settings] = {}
    if found.results.trials is not None:
        chosen = {score.variant: score.settings for score in scores(found.results.trials) if score.chosen}
    variants = {variant.name: variant for variant in found.plan.variants}
    reference = variants[found.plan.reference]
    everywhere = chosen.get(reference.name, {})
    return {name: _technique(each, reference, everywhere, chosen.get(name, {})) for name, each in variants.items()}


def _technique(variant: Variant, reference: Variant, everywhere: Settings, chosen: Settings) -> Technique:
    added = {name: each for name, each in _regularizers(variant).items() if _regularizers(reference).get(name) != each}
    removed = {name: None for name in _regularizers(reference) if name not in _regularizers(variant)}
    own, base = _others(variant), _others(reference)
    options = {name: own.get(name) for name in {**base, **own} if own.get(name) != base.get(name)}
    # `lr` of a tuning is model.init_args.optimizer.init_args.lr
    options = {
        name: value
        for name, value in options.items()
        if not any(f".{name.replace('.init_args', '')}".endswith(f".{tuned}") for tuned in everywhere)
    }
    if added or removed:
        options[REGULARIZERS] = {**removed, **_in_short(added)}
    inside = all(name.startswith(MODEL) for name in options)
    layer = nested({name.removeprefix(MODEL) if inside else name: value for name, value in options.items()})
    line = yaml.safe_dump(layer, default_flow_style=True, width=float("inf"), sort_keys=False).strip()
    settings = ", ".join(f"{name} {level(value)}" for name, value in chosen.items())
    # several options need the braces, to be a value of `init_args:`
    line = line[1:-1] if len(layer) == 1 else line
    return Technique([describe(each["class_path"]) for each in added.values()], line, settings)


def _regularizers(variant: Variant) -> dict[str, Any]:
    """Return the regularizers of a variant by name, each as a class with its arguments."""
    found = variant.config.get("model", {}).get("init_args", {}).get("regularizers") or {}
    return {name: each for name, each in found.items() if each is not None}


def _others(variant: Variant) -> dict[str, Any]:
    """Return the other options that say what a variant computes, by dotted names."""
    return {name: value for name, value in identity(variant.config).items() if not name.startswith(REGULARIZERS)}


def _in_short(regularizers: Mapping[str, Any]) -> dict[str, Any]:
    """Return regularizers as one writes them: the class alone, and arguments only where they are not the defaults."""
    return {name: _one_in_short(each["class_path"], each.get("init_args") or {}) for name, each in regularizers.items()}


def _one_in_short(class_path: str, arguments: Mapping[str, Any]) -> Any:
    defaults = {argument.name: argument.default for argument in describe(class_path).arguments}
    given = {name: value for name, value in arguments.items() if level(value) != defaults.get(name)}
    return {"class_path": class_name(class_path), "init_args": given} if given else class_name(class_path)
