"""YAML that people write: what is wrong with it is told in one line, and it can do no harm."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from soilcast.errors import SoilcastError
from soilcast.schema import dotted_keys, nearest, parse_yaml, read_yaml, validate


class Train(BaseModel):
    model_config = ConfigDict(extra="forbid")
    epochs: int = Field(1000, gt=0)
    batch_size: int = 64


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    train: Train = Train()
    form: Literal["single", "multi"] = "single"


def test_a_file_of_keys_and_values_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("name: größe # kept\ntrain: {epochs: 3}\n", encoding="utf-8")
    assert read_yaml(file) == {"name": "größe", "train": {"epochs": 3}}
    assert validate(Config, read_yaml(file), "config.yaml").train.epochs == 3


@pytest.mark.parametrize("text", ["2020-01-01", "2018-01-01:2019-12-23", "2020-03"])
def test_a_date_stays_the_text_that_was_written(text: str) -> None:
    assert parse_yaml(f"day: {text}", "f.yaml") == {"day": text}


@given(
    content=st.dictionaries(
        st.text("abcxyz_", min_size=1).filter(lambda key: key != "y"), st.integers() | st.booleans(), max_size=5
    )
)
def test_plain_values_come_back_as_they_went(content: dict[str, Any]) -> None:
    text = "\n".join(f"{key}: {str(value).lower()}" for key, value in content.items()) or "{}"
    assert parse_yaml(text, "f.yaml") == content


@given(text=st.text(max_size=60))
def test_any_text_is_parsed_or_told_and_nothing_else(text: str) -> None:
    with suppress(SoilcastError):
        parse_yaml(text, "f.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1, 2", r"not valid YAML \(line \d\)"),
        ("a: 1\nb:\n\t- 2", r"not valid YAML \(line 3\)"),
        ("train: 1\nname: x\ntrain: 2", "the key 'train' is given twice"),
        ("deep:\n  key: 1\n  key: 2", r"\(line 2\): the key 'key' is given twice"),
        ("a: &x 1\nb: *x", r"\(line 2\): aliases \(\*name\) are not allowed"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("? [1, 2]\n: 3", "unhashable key"),
        ("[" * 3000, "nested too deeply"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_a_text_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(SoilcastError, match=rf"^f\.yaml: .*{told}"):
        parse_yaml(text, "f.yaml")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"- 1\n- 2\n", "expected keys and values, found list"),
        (b"", "expected keys and values, found NoneType"),
        (b"just a word", "expected keys and values, found str"),
        (b"name: \xff\xfe\x00", "not a text file in UTF-8"),
        (b"a: 1\n" * 300_000, "larger than 1 MiB"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(SoilcastError, match=rf"config\.yaml: {told}"):
        read_yaml(file)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_missing_file_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(SoilcastError, match=r"no such file$"):
        read_yaml(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"name": "x", "nmae": "y"}, r"unknown key nmae: did you mean name\?"),
        ({"name": "x", "train": {"epoch": 3}}, r"unknown key train\.epoch: did you mean train\.epochs\?"),
        ({"name": "x", "zzz": 3}, r"unknown key zzz: valid are name, train\.epochs, train\.batch_size, form"),
        ({"name": "x", "train": {"epochs": 0}}, r"train\.epochs: .*greater than 0, but it is 0"),
        ({"name": "x", "train": {"epochs": "many"}}, r"train\.epochs: .*integer.*but it is 'many'"),
        ({"name": "x", "form": "triple"}, r"form: .*'single' or 'multi', but it is 'triple'"),
        ({"name": "x", "train": 7}, "train: .*but it is 7"),
        ({}, "key name is missing"),
        ({"nmae": "y", "train": {"epochs": 0}}, "unknown key nmae"),
        ({"name": "x", True: 1}, "True"),
    ],
)
def test_the_first_fault_is_told_with_its_dotted_key(content: dict[Any, Any], told: str) -> None:
    with pytest.raises(SoilcastError, match=rf"^f\.yaml: .*{told}") as caught:
        validate(Config, content, "f.yaml")
    assert "\n" not in str(caught.value)


def test_every_key_of_nested_models_is_known_by_its_dots() -> None:
    assert dotted_keys(Config) == ["name", "train.epochs", "train.batch_size", "form"]


@given(name=st.sampled_from(dotted_keys(Config)), position=st.integers(0, 3))
def test_one_letter_too_few_still_finds_the_key(name: str, position: int) -> None:
    assert nearest(name[:position] + name[position + 1 :], dotted_keys(Config)) == f"did you mean {name}?"


def test_an_error_is_always_one_line() -> None:
    assert str(SoilcastError("a\n  b\t c ")) == "a b c"


@pytest.mark.parametrize("text", ["1:30", "190:20:30", "-12:30:45.5"])
def test_clocks_are_no_numbers(text):
    """YAML 1.1 makes 90 of 1:30."""
    assert parse_yaml(f"value: {text}", "a.yaml") == {"value": text}
    assert parse_yaml("[1, 2.5, -3e5, 0x10]", "a.yaml")[:2] == [1, 2.5]
