"""A study file, checked as a whole before anything runs, and made into the runs that it means.

    name: lecture7                          # results go to logs/studies/NAME
    question: Which regularizer helps on 6,000 images?
    seeds: 10                               # a count, a list, or auto
    reference: plain                        # the first variant, if not given
    outcomes: [gap, loss, acc]              # what is tested, of acc, loss, ece and gap; the first is the primary one
    estimate: tail                          # what counts for a seed: last, tail, best, {tail: 10} or {tail: 0.2}
    metric: acc                             # of curves and targets: acc, loss or ece; acc if not given
    split: test                             # train, val or test; test if not given
    relevant: 0.5                           # the smallest difference of the primary outcome that matters
    max_seeds: 50                           # how many seeds the study has at most, if seeds are added to it
    splits: 5                               # on how many splits of the images each seed is trained; 1 if not given
    targets: [0.7, 0.8]                     # values of the metric whose first epoch is asked for
    shared:                                 # for every variant: files, relative to this one, and overrides
      - trainer: {max_epochs: 100}
    variants:                               # each a list of files and overrides, in place of `grid`
      plain: [../lecture7_plain.yaml]
      dropout: [../lecture7_dropout.yaml, {model: {init_args: {dropout: 0.5}}}]
    grid:                                   # every combination of these values, in place of `variants`
      dropout: [0.0, 0.1, 0.3, 0.5]
    tune:                                   # chosen on val for each variant, with other seeds, before it is compared
      grid: {lr: [0.01, 0.03, 0.1]}         # options of every variant
      variants: {dropout: {dropout: [0.3]}} # further options of one
      draws: 3                              # random combinations in place of all
      seeds: 3
      metric: acc

Without `outcomes` the metric is tested, and the generalization gap where training images are evaluated. An `estimate`
is the last epoch, the mean of the last epochs (a tail: a number or share of them) or the best epoch by validation
accuracy. A tail without a length, which is the default, is the last tenth of the epochs and at least three, from 20
epochs on; the last epoch where training is shorter.

`relevant` is in percentage points, for a loss in nats. With it a report says better, worse, equivalent or undecided.
With `max_seeds`, declared before results are looked at, tests are corrected for every look at fewer seeds.
With `seeds: auto` seeds are added, from 10 on, until every variant is better, worse or equivalent by the primary
outcome (equivalent only with `relevant`), or there are `max_seeds`, 50 if not given.

With `splits: 5` each seed is trained on each of five splits: those of `split_seed` and the next four, with the data's
`split: fixed`. Tests and intervals are then over splits and seeds (crossed). `tune`, `max_seeds` and `seeds: auto` are
for one split.

Every variant must have as many trials. Each is trained with the tuning's seeds, which are none of the study's; the
trial with the best mean on validation images wins (of `metric`, by `estimate`). With its options the variant is then
trained and tested. With `draws` the values of an option may also be a range: `lr: {from: 1e-4, to: 0.1, log: true}`.

Files come before overrides, and what is shared before what is a variant's own. An option of a grid is named in full
(`model.init_args.dropout`) or by its last parts without `init_args`, where only one option has them: `lr`,
`optimizer.lr`, `drop.p` for the option p of the regularizer `drop`. A regularizer itself is an option too: null is
without it, and a mapping is with it, whether what is shared has it or not:

    grid:
      drop: [null, {class_path: Dropout, init_args: {p: 0.3}}]
      norm: [null, {class_path: BatchNorm}]

A file may build on another study file, `base: other.yaml`: see `fashionreg.studies.bases`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fashionreg.config import REGULARIZERS, Layer, cache_key, flat, nested, overriding, read_layers
from fashionreg.data.sources import MissingDataError
from fashionreg.errors import UserError
from fashionreg.files import is_folder_name
from fashionreg.randomness import expand_seeds, whole_seeds
from fashionreg.runs.schema import SchemaError
from fashionreg.studies.bases import read_study_file
from fashionreg.studies.estimand import read_estimand
from fashionreg.studies.grid import Recipe, level, name_classes, recipes_of
from fashionreg.studies.growth import FIRST_LOOK, MAX_SEEDS
from fashionreg.studies.results import StudyPlan, Variant, with_split
from fashionreg.studies.study_file import DEFAULTS, check_names, check_shape
from fashionreg.studies.tuning import FIRST_SEED, Tuning, UntunedPlan, read_tuning
from fashionreg.training.fit import import_beside, resolve


def read_study(
    path: Path,
    seeds: int | Sequence[int] | str | None = None,
    options: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> StudyPlan:
    """Read a study file and check everything that can be checked before anything runs.

    Args:
        path: The file.
        seeds: In place of the file's: a count, a list, or `auto`.
        options: Arguments of the command line for every run, which win over the file.
        overrides: Options by dotted names for every run, which win over the file as well.

    Raises:
        UserError: With everything that is wrong, each in a line of its own.
    """
    last = overriding(overrides)
    if "seeds" in last:
        raise UserError("overrides: seeds: is an argument of its own, as every variant has the same seeds")
    content = read_study_file(path)
    problems = check_shape(content)
    study = DEFAULTS | {key: value for key, value in content.items() if value is not None}
    study |= {} if seeds is None else {"seeds": seeds}
    plan = None
    if not problems:
        plan = _expand(path, study, last, list(options), problems)
    if problems or plan is None:
        what = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError(f"{path}: {what}, nothing was run:", *problems)
    return plan


def _expand(
    path: Path, study: dict[str, Any], overrides: Layer, options: list[str], problems: list[str]
) -> StudyPlan | None:
    """Resolve every variant; add what is wrong to `problems`, and then return no plan."""
    auto, most = isinstance(study["seeds"], str) and study["seeds"] == "auto", study["max_seeds"]
    if auto:
        most = MAX_SEEDS if most is None else most
    try:
        wanted = min(FIRST_LOOK, most) if auto else whole_seeds(study["seeds"])
        chosen = expand_seeds(wanted)
    except UserError as error:
        problems.append(f"{error}; or auto" if isinstance(study["seeds"], str) else str(error))
        wanted = chosen = [0]
    recipes: dict[str, Recipe] = {}
    last: list[Layer] = [{"seeds": wanted}, overrides]
    if study["grid"]:
        names = _grid_of_shared(path, study, last, options, problems)
        if names:
            recipes = recipes_of(study["grid"], names)
            problems += [
                f"grid: {name}: cannot be the name of a folder" for name in recipes if not is_folder_name(name)
            ]
    else:
        recipes = {name: (parts, {}) for name, parts in study["variants"].items()}
    problems += check_names(list(recipes))
    variants = []
    fingerprints: dict[str, Any] = {}
    for name, (parts, levels) in recipes.items():
        try:
            layers_of_variant = [*_layers(path, [*study["shared"], *parts]), *last]
            config, key = _resolve(layers_of_variant, options, fingerprints)
            keys = _keys_on_splits(study["splits"], config, layers_of_variant, options, fingerprints)
            variants.append(Variant(name, key, levels, config, keys))
            problems += [f"{name}: {problem}" for problem in _unfit(config["trainer"])]
            problems += [f"{name}: {problem}" for problem in _unmeasured(study, config)]
        except (UserError, SchemaError) as error:
            problems.append(f"{name}: {error}")
            if isinstance(error, MissingDataError):
                break  # each of the other variants would try the same download
    first = {variant.key: variant.name for variant in reversed(variants)}
    doubles = [variant for variant in variants if first[variant.key] != variant.name]
    problems += [f"{variant.name}: is the same configuration as {first[variant.key]}" for variant in doubles]
    trials: list[Variant] = []
    if study["tune"] is not None and not problems:
        try:
            tuning = read_tuning(study["tune"], list(recipes))
            if set(chosen) & set(tuning_seeds := range(FIRST_SEED, FIRST_SEED + tuning.seeds)):
                problems.append(f"seeds: {FIRST_SEED:,} and the next {tuning.seeds - 1} are those of the tuning")
            layers = {n: [*_layers(path, [*study["shared"], *parts]), *last] for n, (parts, _) in recipes.items()}
            trials = _trials(tuning, variants, layers, options, fingerprints, problems)
        except SchemaError as error:
            problems.append(str(error))
    reference = study["reference"] or next(iter(recipes), "")
    if recipes and reference not in recipes:
        problems.append(f"reference: there is no variant {reference!r}; there are {', '.join(recipes)}")
    if problems:
        return None
    common: dict[str, Any] = {
        "name": study["name"],
        "question": study["question"],
        "source": str(path),
        "options": [*options, *_as_arguments(overrides)],
        "estimate": read_estimand(study["estimate"]),
    }
    own: dict[str, Any] = {
        "variants": variants,
        "reference": reference,
        "seeds": list(chosen),
        "metric": study["metric"],
        "split": study["split"],
        "targets": [float(target) for target in study["targets"]],
        "outcomes": study["outcomes"],
        "relevant": study["relevant"] if study["relevant"] is None else float(study["relevant"]),
        "max_seeds": most,
        "auto": auto,
        "splits": study["splits"],
    }
    try:
        if not trials:
            return StudyPlan(**common | own)
        of_trials = {"variants": trials, "reference": trials[0].name, "seeds": list(tuning_seeds), "targets": []}
        trial_plan = StudyPlan(**common | of_trials, metric=tuning.metric, split="val")
        return UntunedPlan(**common | own, trials=trial_plan)
    except SchemaError as error:
        problems.append(str(error))
        return None


def _keys_on_splits(
    splits: int, config: Layer, layers: list[Layer], options: list[str], fingerprints: dict[str, Any]
) -> list[str]:
    """Return the key of a variant on each split; none where there is only one.

    Args:
        splits: Their number.
        config: The resolved configuration of the variant.
        layers: Its configurations and overrides.
        options: Arguments of the command line, which win over them.
        fingerprints: As `_resolve` is given them.

    Raises:
        SchemaError: If its data are not split here, or each seed has its own split.
    """
    if splits == 1:
        return []
    data = config["data"]["init_args"]
    if "split_seed" not in data or data.get("split", "fixed") != "fixed":
        got = f"got {data['split']}" if "split" in data else "and this data has no such option"
        raise SchemaError(f"splits: needs data.init_args.split: fixed, {got}")
    keys = []
    for number in range(splits):
        name = f"--data.init_args.split_seed={data['split_seed'] + number}"
        keys.append(_resolve(layers, [*options, name], fingerprints)[1])
    known = [
        fingerprints[json.dumps(with_split(config["data"], data["split_seed"] + n), sort_keys=True)] for n in (0, 1)
    ]
    if known[0] == known[1]:
        raise SchemaError("splits: no part of these images is drawn, so that all splits would be the same")
    return keys


def _trials(
    tuning: Tuning,
    variants: list[Variant],
    layers: Mapping[str, list[Layer]],
    options: list[str],
    fingerprints: dict[str, Any],
    problems: list[str],
) -> list[Variant]:
    """Resolve every trial of every variant; add what is wrong to `problems`.

    Args:
        tuning: What the study file says.
        variants: The variants as they are without tuning.
        layers: Of each variant, its configurations and overrides.
        options: Arguments of the command line, which win over them.
        fingerprints: As `_resolve` is given them.
        problems: Is added to.
    """
    found: list[Variant] = []
    for variant in variants:
        name = variant.name
        if not variant.config["data"]["init_args"].get("val_size"):
            problems.append(f"tune: {name}: there is no val without data.init_args.val_size")
            continue
        names = _option_names(variant.config, tuning.options(name), f"tune: {name}", problems)
        for settings in tuning.trials(name) if names else []:
            trial = f"{name}, {', '.join(f'{option}={level(value)}' for option, value in settings.items())}"
            # texts: "val/loss" is no name of a folder
            trial = trial.replace('"', "").replace("/", "-")
            overrides: list[Layer] = [nested({names[option]: value}) for option, value in settings.items()]
            try:
                if not is_folder_name(trial):
                    raise SchemaError("cannot be the name of a folder")
                config, key = _resolve([*layers[name], *overrides], options, fingerprints)
                found.append(Variant(trial, key, {"variant": name, **settings}, config))
            except (UserError, SchemaError) as error:
                problems.append(f"tune: {trial}: {error}")
        keys = {each.key for each in found if each.levels["variant"] == name}
        if names and not problems and len(keys) < len(tuning.trials(name)):
            problems.append(f"tune: {name}: two trials are the same configuration")
    return found


def _unfit(trainer: dict[str, Any]) -> list[str]:
    """Return what of a trainer's options cannot be in a study, which needs every epoch of every run."""
    problems = []
    if trainer["check_val_every_n_epoch"] != 1:
        problems.append("trainer.check_val_every_n_epoch: must be 1: a study needs the test accuracy of every epoch")
    if (trainer["max_epochs"] or 0) < 1:
        problems.append(f"trainer.max_epochs: must be at least 1, got {trainer['max_epochs']}")
    if trainer["fast_dev_run"]:
        problems.append("trainer.fast_dev_run: leaves no record; use --dry_run, or --trainer.max_epochs 1")
    return problems


def _unmeasured(study: dict[str, Any], config: Layer) -> list[str]:
    """Return what a study asks for that a run with this configuration does not measure."""
    estimand, epochs = read_estimand(study["estimate"]), config["trainer"]["max_epochs"] or 0
    problems = []
    if not config["data"]["init_args"].get("val_size"):
        asking = ["split"] * (study["split"] == "val") + ["estimate"] * (estimand.kind == "best")
        problems += [f"{key}: there is no val without data.init_args.val_size" for key in asking]
    if estimand.epochs is not None and estimand.epochs > epochs:
        problems.append(f"estimate: a tail of {estimand.epochs:,} epochs needs as many, got {epochs:,}")
    return problems


def _layers(path: Path, parts: list[str | Layer]) -> list[Layer]:
    """Return the configurations and overrides of a variant, relative to the study file: files before overrides."""
    files = [path.parent / part for part in parts if isinstance(part, str)]
    import_beside([path, *files])
    return [*read_layers(files), *(part for part in parts if isinstance(part, dict))]


def _resolve(layers: list[Layer], options: Sequence[str], fingerprints: dict[str, Any]) -> tuple[Layer, str]:
    """Return the resolved configuration of a run, and the key of its results: a digest of all that they depend on.

    Args:
        layers: The configurations, merged in order.
        options: Arguments of the command line, which win over them.
        fingerprints: What is known of data so far, by their configuration; what is found here is added.

    Raises:
        UserError: If they do not parse, or what they say cannot be made, or the data are not there.
    """
    run = resolve(layers, options)
    config = run.resolved()
    data = json.dumps(config["data"], sort_keys=True)
    if data not in fingerprints:
        fingerprints[data] = run.datamodule.describe()["fingerprints"]
    return config, cache_key(config, fingerprints[data])


def _as_arguments(overrides: Layer, prefix: str = "--") -> list[str]:
    """Return overrides as arguments of the command line, for the report to show; nothing here reads them."""
    arguments: list[str] = []
    for name, value in overrides.items():
        if isinstance(value, dict) and value and "class_path" not in value:
            arguments += _as_arguments(value, f"{prefix}{name}.")
        else:
            arguments.append(f"{prefix}{name}={value if isinstance(value, str) else json.dumps(value)}")
    return arguments


def _grid_of_shared(
    path: Path, study: dict[str, Any], last: list[Layer], arguments: list[str], problems: list[str]
) -> dict[str, str]:
    """Return the full name of every option of the grid, as what is shared has them; add what is wrong to `problems`."""
    try:
        config, _ = _resolve([*_layers(path, study["shared"]), *last], arguments, {})
    except UserError as error:
        problems.append(f"shared: {error}")
        return {}
    return _option_names(config, study["grid"], "grid", problems)


def _option_names(config: Layer, grid: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, str]:
    """Return the full name of every option of a grid; add what is wrong to `problems`, and then return none.

    Args:
        config: A resolved configuration that has the options.
        grid: Options, named in full or in part, and their values.
        where: Where the study file has them.
        problems: Is added to.
    """
    settings = flat(config)
    options = list(settings)
    # the mappings in which options stand
    prefixes = (name.split(".")[:depth] for name in options for depth in range(1, name.count(".") + 1))
    parts = dict.fromkeys(".".join(prefix) for prefix in prefixes if prefix[-1] != "init_args")
    names = {}
    for option, values in grid.items():
        candidates = options
        if classes := isinstance(values, list) and name_classes(values):
            # the number `dropout: 0.0` of the model is no place for a class
            candidates = [*(name for name in options if isinstance(settings[name], str | None)), *parts]
        # `dropout.p` means the option p of what is called dropout: the levels of class and arguments are left out
        short = {name: f".{name.replace('.init_args', '')}" for name in candidates}
        found = [name for name in candidates if name == option or short[name].endswith(f".{option}")]
        if classes and not found:
            name = option.removeprefix(f"{REGULARIZERS}.").removeprefix("regularizers.")
            found = [f"{REGULARIZERS}.{name}"] if name.isidentifier() else []
        if len(found) == 1:
            names[option] = found[0]
        else:
            nowhere = "there is no such option" + " in what is shared" * (where == "grid")
            what = f"could be {' or '.join(found)}" if found else nowhere
            problems.append(f"{where}: {option}: {what}")
    return names if len(names) == len(grid) else {}
