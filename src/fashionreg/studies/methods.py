"""How the numbers of a report were obtained: a line on what was trained, and the last section."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fashionreg.config import flat, identity
from fashionreg.errors import shortened
from fashionreg.runs.record import Record
from fashionreg.studies.findings import Findings
from fashionreg.studies.notes import notes
from fashionreg.studies.page import Block, Code, Items, Section, Table, Text
from fashionreg.text import NOTHING, counted, named_seeds

#: What the first line of a report says of the variants, where all share it: option, and the text before its value.
SETUP = {
    "model.class_path": "",
    "model.init_args.hidden_sizes": "hidden layers ",
    "model.init_args.optimizer.class_path": "",
    "model.init_args.optimizer.init_args.lr": "learning rate ",
    "data.init_args.batch_size": "batch size ",
    "trainer.max_epochs": "epochs ",
}

#: Options of a model that are regularizers under another name, and what they are called.
SHORT_FORMS = {
    "model.init_args.batch_norm": "batch norm",
    "model.init_args.dropout": "dropout",
    "model.init_args.optimizer.init_args.weight_decay": "weight decay",
}

#: Where a configuration has its regularizers by name.
REGULARIZERS = "model.init_args.regularizers."


def setup(found: Findings) -> str:
    """Return a line on what all variants share: network, optimizer, batch size, epochs, regularizers and data."""
    configs = [flat(variant.config) for variant in found.plan.variants]
    shared = [
        f"{label}{shortened(_value(configs[0][option]))}"
        for option, label in SETUP.items()
        if configs[0].get(option) is not None and not _differs([config.get(option) for config in configs])
    ]
    regularizers = [_regularizers(config) for config in configs]
    everywhere = [shortened(text) for text in regularizers[0] if all(text in each for each in regularizers)]
    shared += [f"with {', '.join(everywhere)}"] if everywhere else []
    data = [
        f"{data.source} ({', '.join(f'{size:,} {split}' for split, size in data.sizes.items())} images)"
        for data in {json.dumps(asdict(run.data), sort_keys=True): run.data for run in found.results.runs}.values()
    ]
    seeds = f"{counted(len(found.plan.seeds), 'seed')} ({named_seeds(found.plan.seeds)})"
    parts = [counted(len(configs), "variant"), seeds, *(data if len(data) == 1 else ["different data"]), *shared]
    return f"Setup: {'; '.join(parts)}."


def _regularizers(config: dict[str, Any]) -> list[str]:
    """Return the regularizers of a flat configuration in words: the short forms, the optimizer's and those by name."""
    named: dict[str, list[str]] = {}
    for option, value in config.items():
        short = SHORT_FORMS.get(option)
        if short and isinstance(value, bool | int | float) and value:
            named[option] = [short if value is True else f"{short} {value}"]
        elif option.startswith(REGULARIZERS):
            name, *rest = option.removeprefix(REGULARIZERS).split(".")
            # the class, or one of its arguments
            said = _value(value) if rest == ["class_path"] else f"{rest[-1]} {_value(value)}"
            named.setdefault(name, [f"{name}:"]).append(said)
    return [" ".join(parts) for parts in named.values()]


def methods(found: Findings) -> list[Block]:
    """Return design, tests, definitions, data, configurations, environment, and the command that reproduces it all."""
    plan = found.plan
    facts = [
        f"{counted(len(plan.variants), 'variant')}, {counted(len(plan.seeds), 'seed')} ({named_seeds(plan.seeds)}) "
        f"each, {counted(found.epochs, 'epoch')}. A seed fixes initial weights, data order and all random numbers of "
        "training; variants are compared seed by seed.",
        "Intervals describe other seeds on the same images, not other images. For a mean: Student's t. For a "
        "difference: BCa bootstrap, 9,999 resamples, each comparison by itself (with ten seeds it covers 90 to 93% "
        "rather than 95%). The corrected tests decide.",
        "Tests: paired t test; Wilcoxon's signed-rank test as a check; both corrected by Holm's method over "
        f"{counted(len(found.comparisons), 'comparison')}. Minimum detectable effect: the difference that the t test "
        "at 5%, divided by the number of comparisons, shows with 80% power.",
        "Generalization gap: train accuracy minus test accuracy after the last epoch. Calibration error: expected "
        "calibration error in 15 bins (Naeini et al. 2015). Epochs to a target are interpolated between epochs. Wall "
        "time of a seed: that of the run divided by its number of seeds, evaluation and callbacks included.",
        *(note.text for note in notes(found)),
    ]
    blocks: list[Block] = [Items(facts), *_data(found), _configurations(found), *_environment(found)]
    seeds = str(len(plan.seeds)) if plan.seeds == list(range(len(plan.seeds))) else json.dumps(plan.seeds)
    command = ["fashionreg", "study", plan.source, "--seeds", seeds, *plan.options]
    return [*blocks, Section("Reproduce", [Code(shlex.join(command))])]


def _data(found: Findings) -> list[Block]:
    known = {json.dumps(asdict(run.data), sort_keys=True): run.data for run in found.results.runs}
    rows = [
        [data.source, split, f"{size:,}", data.fingerprints[split][:16]]
        for data in known.values()
        for split, size in data.sizes.items()
    ]
    return [Section("Data", [Table("Images", ["source", "split", "images", "fingerprint"], rows)])]


def _configurations(found: Findings) -> Block:
    """Return a table of the options that differ; all options are in the config.yaml of each run."""
    configs = {variant.name: identity(variant.config) for variant in found.plan.variants}
    names = list(dict.fromkeys(name for config in configs.values() for name in config))
    differing = [name for name in names if _differs([config.get(name) for config in configs.values()])]
    if not differing:
        return Section("Configurations", [Text("There is one configuration; it is in config.yaml of its run.")])
    caption = "Options that differ; the whole configuration of a run is in its config.yaml"
    head, rows = ["option", *configs], [[name, *(_value(c.get(name)) for c in configs.values())] for name in differing]
    if len(configs) > len(differing):
        # many columns are harder to read than many rows
        head, *rows = ([str(cell) for cell in column] for column in zip(head, *rows, strict=True))
        head[0] = "variant"
    return Section("Configurations", [Table(caption, head, rows)])


def _differs(values: Sequence[Any]) -> bool:
    return len({json.dumps(value) for value in values}) > 1


def _value(value: Any) -> str:
    """Return a value of an option as text: of a class its name, without the modules."""
    return NOTHING if value is None else value.rpartition(".")[2] if isinstance(value, str) else json.dumps(value)


def _environment(found: Findings) -> list[Block]:
    runs = found.results.runs

    def all_of(pick: Callable[[Record], Any]) -> str:
        return "; ".join(dict.fromkeys(str(pick(run)) for run in runs))

    seconds = sum(sum(run.epoch_seconds) for run in runs)
    rows = [
        ["versions", all_of(lambda run: ", ".join(f"{name} {number}" for name, number in run.versions.items()))],
        ["git commit", all_of(lambda run: run.git_commit or "unknown")],
        ["machine", all_of(lambda run: " ".join(str(part) for part in run.machine.values()))],
        ["device", all_of(lambda run: run.device)],
        ["CPU threads", all_of(lambda run: run.threads or "unknown")],
        ["wall time of all epochs", f"{seconds:.0f} s"],
    ]
    return [Section("Environment", [Table("Software and hardware", ["what", "value"], rows)])]
