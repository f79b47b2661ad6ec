"""What the variants of a study share: network, optimizer, data and everything else that a result depends on."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fashionreg.config import flat
from fashionreg.errors import shortened
from fashionreg.runs.record import DataDescription
from fashionreg.studies.estimand import title
from fashionreg.studies.findings import Findings
from fashionreg.studies.folds import IMAGE
from fashionreg.studies.results import StudyPlan
from fashionreg.text import NOTHING, counted, named_seeds

RATE = "model.init_args.optimizer.init_args.lr"

#: What the top of a report says: for each line its name, and the options in it with the text before their values.
SETUP = {
    "network": {"model.class_path": "", "model.init_args.hidden_sizes": "hidden layers "},
    "optimizer": {"model.init_args.optimizer.class_path": "", RATE: "learning rate "},
    "batch size": {"data.init_args.batch_size": ""},
    "epochs": {"trainer.max_epochs": ""},
}

#: How many values of an option are named where variants differ.
MOST_NAMED = 3

#: Options of a model that are regularizers under another name, and what they are called.
SHORT_FORMS = {
    "model.init_args.batch_norm": "batch norm",
    "model.init_args.dropout": "dropout",
    "model.init_args.optimizer.init_args.weight_decay": "weight decay",
}

#: Where a configuration has its regularizers by name.
REGULARIZERS = "model.init_args.regularizers."


def setup(found: Findings) -> list[tuple[str, str]]:
    """Return what was trained as names and values; where variants differ, the values are named, a few of them."""
    configs = [flat(variant.config) for variant in found.plan.variants]
    lines = []
    for name, options in SETUP.items():
        parts = [f"{label}{text}" for option, label in options.items() if (text := _values(configs, option))]
        lines += [(name, ", ".join(parts))] if parts else []
    regularizers = [_regularizers(config) for config in configs]
    everywhere = [shortened(text) for text in regularizers[0] if all(text in each for each in regularizers)]
    data = [
        f"{data.source} ({', '.join(f'{size:,} {split}' for split, size in data.sizes.items())} images"
        f"{'; each seed has its own split' * bool(data.by_seed)})"
        for data in {_described(run.data, found.plan): run.data for run in found.results.runs}.values()
    ]
    seeds = f"{counted(len(found.plan.seeds), 'seed')} ({named_seeds(found.plan.seeds)})"
    made = ("data", data[0] if len(data) == 1 else "different data") if data else ("results of", found.plan.source)
    where = f", on {found.plan.splits} splits" * (found.plan.splits > 1)
    if (scores := found.results.scores) is not None:
        where = f", on {scores[IMAGE].nunique():,} images"
    return [
        *lines,
        *([("in every variant", ", ".join(everywhere))] if everywhere else []),
        made,
        ("compared", f"{counted(len(configs), 'variant')}, {seeds} each{where}"),
        *([("what counts", title(found.phrase))] if found.epochs else []),
    ]


def _described(data: DataDescription, plan: StudyPlan) -> str:
    """Return what must be the same of the data of all runs; several splits of the same images differ in these."""
    known = asdict(data)
    return json.dumps(known | {"fingerprints": {}} if plan.splits > 1 else known, sort_keys=True)


def learning_rate(plan: StudyPlan) -> str:
    """Return the learning rate that all variants have; empty if they differ, or have none."""
    rates = {json.dumps(flat(variant.config).get(RATE)) for variant in plan.variants}
    (rate, *others) = rates
    return "" if others or rate == "null" else rate


def differs(values: Sequence[Any]) -> bool:
    """Say whether values of an option are not all the same."""
    return len({json.dumps(value) for value in values}) > 1


def value_of(value: Any) -> str:
    """Return a value of an option as text: of a class its name, without the modules."""
    return NOTHING if value is None else value.rpartition(".")[2] if isinstance(value, str) else json.dumps(value)


def _values(configs: Sequence[dict[str, Any]], option: str) -> str:
    """Return the value of an option, or the values where they differ; empty where no variant has it."""
    texts = list(dict.fromkeys(shortened(value_of(config[option])) for config in configs if config.get(option)))
    if len(texts) > MOST_NAMED:
        return f"{', '.join(texts[:MOST_NAMED])} and {len(texts) - MOST_NAMED} others"
    return " or ".join(texts)


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
            said = value_of(value) if rest == ["class_path"] else f"{rest[-1]} {value_of(value)}"
            named.setdefault(name, [f"{name}:"]).append(said)
    return [" ".join(parts) for parts in named.values()]
