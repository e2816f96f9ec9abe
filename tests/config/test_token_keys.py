"""The keys of the tokenizer and of ready-made tokens."""

import pytest

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError

DOMAINS = {"web": {"path": "web.bin"}, "math": {"path": "math/"}}


def parsed(**keys):
    return SweepConfig.parse({"domains": DOMAINS, **keys}, where="sweep.yaml")


def test_a_tokenizer_is_a_path_or_a_mapping_and_starts_from_the_folder_of_the_file(tmp_path):
    for stated, end in (("tok", None), ("{path: tok, end_of_text: </s>}", "</s>")):
        (tmp_path / "sweep.yaml").write_text(
            f"domains: {{web: {{path: a}}, math: {{path: b}}}}\ntokenizer: {stated}\n"
        )
        config = SweepConfig.load(tmp_path / "sweep.yaml")
        assert config.tokenizer.path == f"{tmp_path}/tok"
        assert config.tokenizer.end_of_text == end
        (tmp_path / "again.yaml").write_text(config.to_yaml())
        assert SweepConfig.load(tmp_path / "again.yaml") == config


def test_what_changes_the_tokens_changes_the_digest():
    others = [
        parsed(tokenizer="a.json"),
        parsed(tokenizer={"path": "a.json", "end_of_text": "</s>"}),
        parsed(tokens={"vocabulary": 1000}),
        parsed(tokens={"vocabulary": 1000, "dtype": "uint32"}),
        parsed(tokens={"vocabulary": 1000, "end_of_text": 0}),
    ]
    assert len({config.digest for config in (parsed(), *others)}) == 6


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tokenizer": 5}, r"sweep\.yaml: tokenizer"),
        ({"tokenizer": {"file": "a"}}, r"tokenizer\.file is not a known key; known are path, end_"),
        ({"tokenizer": "s3://key:secret@b/t.json"}, r"tokenizer\.path"),
        ({"tokens": {"dtype": "float32"}}, r"tokens\.dtype is 'float32'; need: 'uint16', 'uint32'"),
        ({"tokens": {"vocabulary": 10, "end_of_text": 10}}, r"need an id below the vocabulary"),
        ({"tokens": {"size": 10}}, r"tokens\.size is not a known key; known are vocabulary, end"),
    ],
)
def test_a_wrong_key_or_value_is_explained(keys, message):
    with pytest.raises(ConfigError, match=message):
        parsed(**keys)
