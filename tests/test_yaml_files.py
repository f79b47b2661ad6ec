"""Whatever a YAML file holds, it becomes plain data or one line that names file and line number, soon."""

import os
from pathlib import Path

import pytest

from fashionreg.errors import MAX_DEPTH, UserError
from fashionreg.yaml_files import MAX_BYTES, MAX_VALUES, parse_yaml, read_yaml
from samples import message

BOMB = "a0: &a0 [1, 1, 1]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
CHAIN = "a0: &a0 {x: 1}\n" + "\n".join(f"a{n}: &a{n} {{x: *a{n - 1}}}" for n in range(1, 2 * MAX_DEPTH))


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("x: 1\nname: 2020-99-99", 2, "2020-99-99 cannot be read as timestamp; put it in quotes"),
        ("x: !!int abc", 1, "abc cannot be read as int"),
        ("x: !!int ''", 1, "cannot be read as int"),
        ("x: !!bool perhaps", 1, "cannot be read as bool"),
        ("x: !!timestamp soon", 1, "cannot be read as timestamp"),
        ("x: !!float much", 1, "cannot be read as float"),
        ("x: &a {model: *a}", 1, "alias a is part of what it names"),
        ("&a {model: *a}", 1, "alias a is part of what it names"),
        ("x: &a\n  <<: *a", 2, "alias a is part of what it names"),
        ("x: *nothing", 1, "undefined alias"),
        ("x: " + "{" * 3000, 1, f"nested more than {MAX_DEPTH} levels deep"),
        ("x: " + "[" * 100_000, 1, f"nested more than {MAX_DEPTH} levels deep"),
        ("\n".join(" " * n + "x:" for n in range(500)), MAX_DEPTH, f"nested more than {MAX_DEPTH} levels deep"),
        (CHAIN, MAX_DEPTH - 1, f"nested more than {MAX_DEPTH} levels deep"),
        (BOMB, 6, f"holds more than {MAX_VALUES:,} values"),
        ("x: 1\ny: \0", 2, "must be UTF-8 text, found a NUL byte"),
        ("x: \a", 1, "character #x07 is not allowed"),
        ("x:\n\ty: 1", 2, "indent with spaces"),
        ("x: 1\ny: 2\nx: 3", 3, "x appears twice"),
        ("a: {b: {x: 1,\n  x: 3}}", 2, "x appears twice"),
        ("x: {<<: 3}", 1, "expected a mapping or list of mappings for merging"),
        ("x: {<<: [3]}", 1, "expected a mapping for merging"),
        ("x: !!python/object:os.system y", 1, "could not determine a constructor for the tag"),
        ("x: !own y", 1, "could not determine a constructor for the tag '!own'"),
        ("x: .nan", 1, ".nan is not a number"),
        ("x: " + "9" * 5000, 1, "a number of 5000 characters"),
        ("x: " + "1:" * 50_000 + "1", 1, "a number of 100001 characters"),
        ("x: 0x" + "f" * 90, 1, "is too large"),
        ("x: 1\n---\ny: 2", 2, "another document"),
        ("x: &a 1\ny: &a 2", 2, "duplicate anchor"),
        ("? {a: 1}\n: 2", 1, "unhashable key"),
        ("x: [1", 1, "expected ',' or ']'"),
    ],
    ids=lambda value: f"{value:.20}" if isinstance(value, str) else None,
)
def test_a_fault_is_one_line_with_file_and_line(tmp_path, text, line, fault):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        read_yaml(tmp_path / "a.yaml", "configuration file")
    said = message(error)
    assert said.startswith(f"{tmp_path / 'a.yaml'}: line {line}: ")
    assert fault in said
    assert "\n" not in said
    assert len(said) < 500


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("\ufeffx: 1", {"x": 1}),
        ("x: .inf", {"x": float("inf")}),
        ("x: &a {y: 1}\nz: {<<: *a, y: 2}\nw: *a", {"x": {"y": 1}, "z": {"y": 2}, "w": {"y": 1}}),
        ("x: {0: a, 0.5: b}", {"x": {0: "a", 0.5: "b"}}),
        ("x: [1e-4, -2E3, .5e1, 1.e+2, 1.5e3]", {"x": [1e-4, -2e3, 5.0, 100.0, 1500.0]}),
        ("x: ['1e-4', 1e-4s, e1, 1e]", {"x": ["1e-4", "1e-4s", "e1", "1e"]}),
    ],
)
def test_what_a_configuration_may_say_is_read(text, expected):
    assert parse_yaml(text.removeprefix("\ufeff"), "here") == expected


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfx: 1\r\n")
    assert read_yaml(tmp_path / "a.yaml", "configuration file") == {"x": 1}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- 1", "found a list"),
        ("words", "found a str"),
        ("1: x", "1: must be a name"),
        ("~: x", "None: must be a name"),
    ],
)
def test_the_top_is_a_mapping_from_names(text, fault):
    with pytest.raises(UserError, match="here: ") as error:
        parse_yaml(text, "here")
    assert fault in message(error)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("x: 1".encode("utf-16"), "line 1: must be UTF-8 text, found UTF-16"),
        (b"x: 1\ny: \xe9", "line 2: must be UTF-8 text, found byte 0xe9"),
        (b"#" * (MAX_BYTES + 1), "is larger than 1,000,000 bytes"),
    ],
    ids=["utf-16", "latin-1", "large"],
)
def test_a_file_that_is_no_text_of_a_sensible_size_is_refused(tmp_path, content, fault):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_yaml(tmp_path / "a.yaml", "configuration file")
    assert fault in message(error)


def test_what_is_no_file_is_refused_at_once(tmp_path, refusal):
    os.mkfifo(tmp_path / "pipe")
    for path, fault in (
        (tmp_path / "pipe", "is a pipe, expected a regular file"),
        (tmp_path, "is a folder, expected a regular file"),
        ("/dev/zero", "is a device, expected a regular file"),
        ("x" * 5000, "cannot be read: File name too long"),
        ("line\nbreak", "no such configuration file"),
        (tmp_path / "nowhere.yaml", "nowhere.yaml: no such configuration file"),
    ):
        code, line = refusal("fit", "--config", path)
        assert code == 1
        assert fault in line
        assert len(line) < 400
    with pytest.raises(UserError, match="null byte"):
        read_yaml(Path("a\0b"), "configuration file")


def test_a_pipe_of_the_shell_is_read():
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x: 1\n")
        os.close(writing)
        assert read_yaml(Path(f"/dev/fd/{reading}"), "configuration file") == {"x": 1}
    finally:
        os.close(reading)
