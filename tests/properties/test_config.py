"""Whatever is in a configuration file, a mapping comes out that is what the file says, or it is refused in one line."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from damage import TEXT, damaged
from fashionreg.config import read_layers

CHECKOUT = Path(__file__).parents[2]

#: What is read as it was written; numbers beyond 64 bits are refused.
words = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**63, 2**63 - 1) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(words.filter(lambda name: name != "base"), values, max_size=4)

#: What YAML has besides plain data, and what a careless hand leaves.
FRAGMENTS = ["&a ", "*a", "{model: *a}", "<<: ", "!!int ", "!!timestamp ", "!!python/name:os.system ", "!mine ", "- "]
FRAGMENTS += ["2020-99-99", "2020-02-30 25:61", "? ", ": ", "[", "{", "}", "|\n", ">\n", "---\n", "%YAML 9.9\n", "\t"]
FRAGMENTS += ["{a: " * 3000, "[" * 3000, "- " * 3000, "\0", "\x1b[31m", "\u2028", "0o8", ".inf", "1:60", "'", '"', "# "]
FRAGMENTS += ["a: &a [x]\n", "b: &b [*a, *a]\n", "base: \n", "base: [.]\n", "base: /\n", "name: &a {model: *a}\n"]

fragments = st.sampled_from(FRAGMENTS) | words.map(lambda name: f"{name}: ")
good_files = st.sampled_from([path.read_text() for path in sorted((CHECKOUT / "configs").glob("*.yaml"))])


def contents(layers):
    """The layers, which are mappings."""
    assert all(isinstance(layer, dict) for layer in layers)
    return layers


@given(mappings)
def test_a_mapping_is_read_as_it_was_written(reading, tmp_path, mapping):
    path = tmp_path / "config.yaml"
    # JSON is YAML, and its writer has nothing to do with YAML's
    path.write_text(json.dumps(mapping, ensure_ascii=False), encoding="utf-8")
    assert contents(reading(lambda: read_layers(path))) == [mapping]


@given(mappings, mappings)
def test_a_file_comes_after_its_base(reading, tmp_path, mapping, base):
    path, below = tmp_path / "config.yaml", tmp_path / "base.yaml"
    path.write_text(json.dumps(mapping | {"base": below.name}, ensure_ascii=False), encoding="utf-8")
    below.write_text(json.dumps(base, ensure_ascii=False), encoding="utf-8")
    assert contents(reading(lambda: read_layers(path))) == [base, mapping]


def read(reading, folder, content):
    path = folder / "config.yaml"
    path.write_bytes(content)
    # a base may be any path, of which none but the root is a folder outside the test's own
    if (read := reading(lambda: read_layers(path), folder, "/: is a folder")) is not None:
        contents(read)


@given(st.data(), good_files)
def test_a_damaged_file_is_a_mapping_or_refused(reading, tmp_path, data, text):
    read(reading, tmp_path, data.draw(damaged(text.encode(), TEXT)))


@given(good_files, st.lists(st.tuples(st.integers(0), fragments), min_size=1, max_size=4))
def test_a_file_with_strange_yaml_is_a_mapping_or_refused(reading, tmp_path, text, insertions):
    lines = text.splitlines(keepends=True)
    for place, fragment in insertions:
        line = lines[place % len(lines)]
        # at the beginning, after the indentation, after the key, or on a line that is the fragment
        start = [0, len(line) - len(line.lstrip()), line.find(":") + 2, len(line)][place // 7 % 4]
        lines[place % len(lines)] = line[:start] + fragment + line[start:]
    read(reading, tmp_path, "".join(lines).encode())


@given(st.binary(max_size=200) | st.lists(fragments, max_size=20).map("".join).map(str.encode))
def test_any_bytes_are_a_mapping_or_refused(reading, tmp_path, content):
    read(reading, tmp_path, content)
