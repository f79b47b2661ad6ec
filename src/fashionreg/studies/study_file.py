"""What can be said of a study file by itself, whatever its configurations say: its keys, their kinds, and names."""

import math
import re
from collections.abc import Sequence
from typing import Any, get_args

from fashionreg.runs.record import METRICS, SPLITS
from fashionreg.runs.schema import SchemaError
from fashionreg.studies.estimand import read_estimand
from fashionreg.studies.looks import LEAST, LOOKS_FILE, MOST
from fashionreg.studies.results import MAX_SPLITS, MIN_SPLITS, PLAN_FILE, TUNING, Outcome, check_targets

DEFAULTS: dict[str, Any] = {"question": "", "seeds": 10, "reference": None, "metric": "acc", "split": "test"}
DEFAULTS |= {"relevant": None, "max_seeds": None, "outcomes": [], "estimate": "tail", "splits": 1}
DEFAULTS |= {"targets": [], "shared": [], "variants": {}, "grid": {}, "tune": None}

#: What a study writes into its folder, beside the folders of its variants.
OWN_FILES = (PLAN_FILE, LOOKS_FILE, TUNING, "report.html", "report.md", "results.csv", "figures", ".lock")
NO_FILE_OF_WINDOWS = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\..*)?", re.IGNORECASE)


def check_shape(content: dict[str, Any]) -> list[str]:
    """Return what is wrong with the file itself, whatever its configurations say."""
    known = {"name", *DEFAULTS}
    problems = [f"{key}: unknown; a study file has {', '.join(sorted(known))}" for key in content.keys() - known]
    name = content.get("name")
    if not isinstance(name, str) or not _is_folder_name(name):
        problems.append(f"name: must be a name that a folder can have, got {name!r}")
    kinds = {"question": str, "reference": str, "metric": str, "split": str, "targets": list, "shared": list}
    kinds |= {"outcomes": list, "variants": dict, "grid": dict}
    for key, kind in kinds.items():
        if not isinstance(content.get(key, kind()), kind):
            words = {str: "text", list: "a list", dict: "a mapping"}
            problems.append(f"{key}: must be {words[kind]}, got {content[key]!r:.60}")
    if problems:
        return sorted(problems)
    if bool(content.get("variants")) == bool(content.get("grid")):
        problems.append("variants, grid: exactly one of them must be there, and not be empty")
    for key, allowed in (("metric", METRICS), ("split", SPLITS)):
        if content.get(key, DEFAULTS[key]) not in allowed:
            problems.append(f"{key}: there is no {content[key]!r}; there are {', '.join(allowed)}")
    outcomes = content.get("outcomes", [])
    strange = [each for each in outcomes if not isinstance(each, str) or each not in get_args(Outcome)]
    problems += [f"outcomes: there is no {each!r:.60}; there are {', '.join(get_args(Outcome))}" for each in strange]
    if "ece" in (content.get("metric"), *outcomes) and content.get("split") == "train":
        problems.append("metric, outcomes, split: ece is evaluated on val and test")
    try:
        read_estimand(DEFAULTS["estimate"] if content.get("estimate") is None else content["estimate"])
    except SchemaError as error:
        problems.append(str(error))
    relevant, most = content.get("relevant"), content.get("max_seeds")
    if relevant is not None and (type(relevant) not in (int, float) or not 0 < relevant <= MOST):
        problems.append(f"relevant: must be a number above 0, in points, for a loss in nats, got {relevant!r:.60}")
    if most is not None and (type(most) is not int or not LEAST <= most <= MOST):
        problems.append(f"max_seeds: must be a whole number from {LEAST} to {MOST:,}, got {most!r:.60}")
    splits = content.get("splits")
    if splits is not None and (type(splits) is not int or not (splits == 1 or MIN_SPLITS <= splits <= MAX_SPLITS)):
        problems.append(f"splits: must be 1 or a whole number from {MIN_SPLITS} to {MAX_SPLITS}, got {splits!r:.60}")
    elif splits not in (None, 1):
        unfit = [key for key in ("max_seeds", "tune") if content.get(key) is not None]
        unfit += ["seeds: auto"] if content.get("seeds") == "auto" else []
        problems += [f"splits: cannot be combined with {key}" for key in unfit]
    targets = content.get("targets", [])
    strange = [each for each in targets if type(each) not in (int, float) or not math.isfinite(each)]
    problems += [f"targets: {target!r} is not a number" for target in strange]
    if not strange:
        try:
            check_targets(targets, content.get("metric", "acc"))
        except SchemaError as error:
            problems.append(str(error))
    for variant, parts in {"shared": content.get("shared", []), **content.get("variants", {})}.items():
        where = "shared" if variant == "shared" else f"variants: {variant}"
        if variant != "shared" and (not isinstance(variant, str) or not _is_folder_name(variant)):
            problems.append(f"variants: {variant!r}: must be a name that a folder can have (put it in quotes?)")
        if not isinstance(parts, list) or not all(isinstance(part, str | dict) for part in parts):
            problems.append(f"{where}: must be a list of configuration files and overrides, got {parts!r:.60}")
    for option, values in content.get("grid", {}).items():
        if not isinstance(values, list) or not values:
            problems.append(f"grid: {option}: must be a list of values, got {values!r:.60}")
        elif len({str(value) for value in values}) < len(values):
            problems.append(f"grid: {option}: the same value twice in {values}")
    return problems


def _is_folder_name(name: str) -> bool:
    """Say whether a name can be a folder's and needs no quotes; a grid may make others, see `is_folder_name`."""
    return bool(re.fullmatch(r"[^\W][\w .,=+-]*", name)) and len(name) <= 100


def check_names(names: Sequence[str]) -> list[str]:
    """Return what is wrong with the names of variants as folders beside one another and beside a study's own files.

    File systems of Windows and macOS do not tell upper from lower case, and a study may be copied there.
    """
    problems, before = [], {name.casefold(): f"the study writes {name} itself" for name in OWN_FILES}
    for name in names:
        if (folded := name.casefold()) in before:
            problems.append(f"variants: {name}: choose another name: {before[folded]}")
        elif name.endswith((".", " ")):
            problems.append(f"variants: {name!r}: must not end with a dot or a space, which Windows drops")
        elif NO_FILE_OF_WINDOWS.fullmatch(name):
            problems.append(f"variants: {name}: choose another name: no file can have this one on Windows")
        before.setdefault(folded, f"it differs from {name} by upper and lower case only")
    return problems
