from pathlib import Path

import pytest
import yaml

from fashionreg.config import expand_configs, option_value, read_config
from fashionreg.errors import UserError

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]" for old, new in ("ab", "bc", "cd", "de", "ef")
)
SHIPPED = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return folder


def test_bases_come_before_the_file_and_shared_bases_once(tmp_path):
    write(tmp_path, a="x: 1", b="base: a.yaml\ny: 2", c="base: a.yaml\nz: 3", d="base: [b.yaml, c.yaml]\nx: 4")
    assert read_config(tmp_path / "d.yaml") == [{"x": 1}, {"y": 2}, {"z": 3}, {"x": 4}]


def test_command_line_keeps_its_words_and_order(tmp_path):
    write(tmp_path, a="x: 1", b="base: a.yaml\ny: 2", c="base: a.yaml\nx: 3")
    words = ["fit", "--seeds=3", f"--config={tmp_path}/b.yaml", "--name", "n", "-c", f"{tmp_path}/c.yaml", "--force"]
    expanded = expand_configs(words)
    # the base that both share comes once, before the first of them
    first = ["--config", "x: 1\n", "--config", "y: 2\n"]
    assert expanded == ["fit", "--seeds=3", *first, "--name", "n", "--config", "x: 3\n", "--force"]


def test_the_last_value_of_an_option_counts():
    assert option_value(["fit", "--name", "a", "--name=b"], "--name") == "b"
    assert option_value(["fit", "--name"], "--name") is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("x: [1", "a.yaml: line 1: is not valid YAML"),
        ("- 1", "a.yaml: must hold a mapping (key: value), found a list"),
        ("base: nowhere.yaml", "nowhere.yaml: no such configuration file"),
        ("base: a.yaml", "a.yaml: base: builds on itself"),
        ('base: "a\\0b"', "a.yaml: base: 'a\\x00b' cannot be the name of a file"),
        ("base: {x: 1}", "a.yaml: base: must be a file name or a list of them, got {'x': 1}"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, content, fault):
    write(tmp_path, a=content)
    with pytest.raises(UserError) as error:
        read_config(tmp_path / "a.yaml")
    assert fault in str(error.value)


def test_a_row_of_bases_that_has_no_end_in_sight_is_refused(tmp_path):
    for number in range(1500):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number + 1}.yaml")
    with pytest.raises(UserError, match=r"base: more than 50 files that build on one another"):
        read_config(tmp_path / "0.yaml")


@pytest.mark.parametrize("option", ["--model", "--data", "--trainer.callbacks", "--seeds"])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{" * 3000, "is nested more than 100 levels deep"),
        ("&a {class_path: *a}", "alias a is part of what it names"),
        (BOMB, "holds more than 50,000 values"),
    ],
    ids=["deep", "endless", "bomb"],
)
def test_yaml_among_the_arguments_has_the_same_limits(refusal, option, text, fault):
    for words in ([option, text], [f"{option}={text}"]):
        _, line = refusal("fit", "--config", "tiny.yaml", *words)
        assert line.startswith(f"fashionreg: error: {option.strip('-')}: {fault}")
        assert len(line) < 300


def test_what_the_parser_says_of_a_long_value_stays_short(refusal):
    _, line = refusal("fit", "--config", "tiny.yaml", "--trainer.max_epochs", "9" * 5000)
    assert "trainer.max_epochs" in line
    assert len(line) < 1100


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_named_after_its_file(path):
    assert read_config(path)[-1]["name"] == path.stem


@pytest.mark.parametrize(
    ("name", "regularizers"),
    [
        ("plain", (False, 0, 0)),
        ("bn", (True, 0, 0)),
        ("dropout", (False, 0.3, 0)),
        ("l2", (False, 0, 1e-4)),
        ("", (True, 0.3, 1e-4)),
    ],
)
def test_each_lecture_7_configuration_uses_its_own_technique(name, regularizers):
    path = next(path for path in SHIPPED if path.stem == f"lecture7_{name}".rstrip("_"))
    model, decay = {}, 0
    for part in read_config(path):
        arguments = part.get("model", {}).get("init_args", {})
        decay = arguments.get("optimizer", {}).get("init_args", {}).get("weight_decay", decay)
        model |= arguments
    assert (model.get("batch_norm", False), model.get("dropout", 0), decay) == regularizers


def test_shipped_configurations_do_not_repeat_their_base():
    for path in SHIPPED:
        *bases, own = read_config(path)
        for base in bases:
            for key in own.keys() & base.keys():
                assert yaml.safe_dump(own[key]) != yaml.safe_dump(base[key]), f"{path.name}: {key}"
