"""Whatever is in a study file, a plan comes out that can be run, or every problem is said in a line of its own."""

import math

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import TEXT, damaged, numbers_replaced
from fashionreg.studies.plan import read_study

GOOD = """\
name: good
question: Does dropout help?
seeds: 2
reference: plain
metric: acc
split: test
targets: [0.5]
shared:
  - model:
      class_path: fashionreg.models.RegularizedMLP
      init_args:
        hidden_sizes: [4]
        optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1}}
    data:
      class_path: fashionreg.data.datamodules.SyntheticDataModule
      init_args: {train_size: 20, test_size: 20, batch_size: 10}
    trainer: {max_epochs: 1, accelerator: cpu}
variants:
  plain: []
  dropout: [{model: {init_args: {dropout: 0.1}}}]
"""

#: A file that is right is resolved as for a fit, which takes a tenth of a second and more.
FEWER = settings(max_examples=max(10, settings.default.max_examples // 5))


def check(plan):
    assert plan.variants
    assert plan.reference in [variant.name for variant in plan.variants]
    assert len({variant.key for variant in plan.variants}) == len(plan.variants)
    assert plan.metric in ("acc", "loss", "ece")
    assert plan.split in ("train", "val", "test")
    assert plan.seeds
    assert len(set(plan.seeds)) == len(plan.seeds)
    assert all(type(seed) is int and seed >= 0 for seed in plan.seeds)
    assert all(math.isfinite(target) for target in plan.targets)
    assert all(variant.config["trainer"]["max_epochs"] >= 1 for variant in plan.variants)


def read(reading, folder, content):
    path = folder / "study.yaml"
    path.write_bytes(content)
    if (plan := reading(lambda: read_study(path), path, lines=True)) is not None:
        check(plan)


@FEWER
@given(damaged(GOOD.encode(), TEXT))
def test_a_damaged_file_is_a_plan_or_refused(reading, tmp_path, content):
    read(reading, tmp_path, content)


@FEWER
@given(numbers_replaced(GOOD))
def test_a_number_in_an_odd_form_is_a_plan_or_refused(reading, tmp_path, content):
    read(reading, tmp_path, content)


scalars = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.dates() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(scalars, inner, max_size=2)
)


@FEWER
@given(st.sampled_from([*sorted(yaml.safe_load(GOOD)), "grid", "more"]), anything)
def test_any_value_of_any_key_is_a_plan_or_refused(reading, tmp_path, key, value):
    content = yaml.safe_load(GOOD) | {key: value}
    # many seeds are no fault, and are trained: that there is memory for them is another matter
    if key == "seeds" and isinstance(value, int) and value > 100:
        content[key] = value % 100
    read(reading, tmp_path, yaml.safe_dump(content, allow_unicode=True).encode())


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_any_bytes_are_refused(reading, tmp_path, content):
    read(reading, tmp_path, content)
