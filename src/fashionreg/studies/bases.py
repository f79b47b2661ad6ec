"""A study file that builds on another one: the same variants with other data, or fewer of them with fewer seeds.

    base: atlas_digits.yaml                 # relative to this file
    name: atlas_smoke
    seeds: 3
    shared: [{trainer: {max_epochs: 4}}]    # comes after what the base shares
    variants: [plain, dropout]              # names of the base's variants
    tune: {draws: 2}                        # the rest of the tuning is that of the base

Any other key stands in place of the base's.
"""

import os
from pathlib import Path
from typing import Any

from fashionreg.config import MAX_BASES
from fashionreg.errors import UserError
from fashionreg.yaml_files import read_yaml

#: What a study file holds.
Content = dict[str, Any]


def read_study_file(path: Path, within: tuple[str, ...] = ()) -> Content:
    """Read a study file and those that it builds on, as one mapping without `base`.

    Args:
        path: The file.
        within: The files that build on this one.

    Raises:
        UserError: As `read_yaml`; or if a base is no file name, the file builds on itself, or it chooses variants
            that its base does not have.
    """
    content, place = read_yaml(path, "study file"), os.path.realpath(path)
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str) or not base or "\0" in base:
        raise UserError(f"{path}: base: must be a file name, got {base!r:.60}")
    if place in within or len(within) >= MAX_BASES:
        raise UserError(f"{path}: base: builds on itself, or on more than {MAX_BASES} files")
    before = _moved(read_study_file(path.parent / base, (*within, place)), Path(base).parent)
    # the results of the base are in the folder of that name
    before.pop("name", None)
    if all(isinstance(each.get("shared"), list) for each in (before, content)):
        content["shared"] = [*before["shared"], *content["shared"]]
    if all(isinstance(each.get("tune"), dict) for each in (before, content)):
        content["tune"] = before["tune"] | content["tune"]
    merged = before | content
    return _chosen(path, merged, before.get("variants")) if isinstance(content.get("variants"), list) else merged


def _chosen(path: Path, content: Content, variants: Any) -> Content:
    """Return a study with those of its base's variants that it names, and what is tuned for these."""
    known = variants if isinstance(variants, dict) else {}
    names = content["variants"]
    if strange := [name for name in names if not isinstance(name, str) or name not in known]:
        raise UserError(f"{path}: variants: there is no {strange[0]!r:.60} in the base; there are {', '.join(known)}")
    chosen = content | {"variants": {name: known[name] for name in names}}
    tune = content.get("tune")
    if isinstance(tune, dict) and isinstance(own := tune.get("variants"), dict):
        chosen["tune"] = tune | {"variants": {name: each for name, each in own.items() if name in names}}
    return chosen


def _moved(content: Content, folder: Path) -> Content:
    """Return a study whose configuration files are named from where the file is that builds on it.

    Args:
        content: The study.
        folder: Of its file, from there.
    """

    def moved(parts: Any) -> Any:
        return (
            [str(folder / part) if isinstance(part, str) else part for part in parts]
            if isinstance(parts, list)
            else parts
        )

    changed = {"shared": moved(content["shared"])} if "shared" in content else {}
    if isinstance(variants := content.get("variants"), dict):
        changed["variants"] = {name: moved(parts) for name, parts in variants.items()}
    return content | changed
