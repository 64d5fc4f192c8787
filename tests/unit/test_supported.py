"""What a model's config rules out is refused while the config is read, by name and without torch."""

import json
import shutil
import subprocess
import sys

import pytest
import tiny_families
import yaml
from circuit_reuse.config import errors
from circuit_reuse.engine import architectures
from circuit_reuse.studies.contrast import checks as contrast
from circuit_reuse.studies.reuse import checks as reuse
from circuit_reuse.studies.sequences import checks as sequences
from circuit_reuse.studies.weights import checks as weights
from support import MODELS, PROJECT, after_checks


def folder_with(tmp_path, **config):
    """A model folder whose config.json says so; the weights are those of an embedded model."""
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-gpt2-small", folder)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | config))
    return folder


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"]}, ["bert", "encoder"]),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, ["encoder-decoder"]),
        ({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}, ["neither attention nor MLP"]),
        ({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"]}, ["latent"]),
        (
            {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]},
            ["LlamaForSequenceClassification", "ForCausalLM"],
        ),
        ({"model_type": "qwen2", "architectures": ["Qwen2ForRewardModel"]}, ["Qwen2ForRewardModel"]),
        ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}, ["images"]),
        ({"model_type": "falcon", "new_decoder_architecture": True}, ["Falcon 40B"]),
        ({"model_type": "phi", "qk_layernorm": True}, ["qk_layernorm"]),
    ],
)
def test_a_model_that_no_study_can_treat_is_refused(config, parts, tmp_path):
    said = architectures.unsupported(folder_with(tmp_path, **config))
    assert all(part in said for part in parts), said


@pytest.mark.parametrize(
    ("config", "use"),
    [
        ({"model_type": "granite", "residual_multiplier": 0.22, "embedding_multiplier": 12}, "edges"),
        ({"model_type": "opt", "word_embed_proj_dim": 512, "hidden_size": 1024}, "edges"),
        ({"model_type": "opt", "do_layer_norm_before": False, "hidden_size": 1024}, "edges"),
        ({"model_type": "bloom"}, "edges"),
        ({"model_type": "mixtral"}, "weights"),
    ],
)
def test_a_study_that_cannot_treat_a_model_refuses_it_and_the_others_do_not(config, use, tmp_path):
    folder = folder_with(tmp_path, **config)
    assert architectures.unsupported(folder) is None
    assert architectures.USES[use] in architectures.unsupported(folder, (use,))
    assert architectures.unsupported(folder, tuple(set(architectures.USES) - {use})) is None


def test_a_model_without_scales_or_of_an_unknown_type_is_not_refused(tmp_path):
    every = tuple(architectures.USES)
    plain = {"model_type": "granite", "residual_multiplier": 1.0, "embedding_multiplier": 1.0}
    assert architectures.unsupported(folder_with(tmp_path, **plain), every) is None
    new = {"model_type": "brand_new", "architectures": ["BrandNewForCausalLM"]}
    assert architectures.unsupported(folder_with(tmp_path / "b", **new), every) is None


def test_no_shipped_model_is_refused():
    for folder in MODELS.iterdir():
        if (folder / "config.json").is_file():
            assert architectures.unsupported(folder, tuple(architectures.USES)) is None


@pytest.mark.parametrize(
    ("name", "change", "check"),
    [
        ("bloom", {"methods": ["eap-ig"]}, reuse),
        ("bloom", {"methods": ["atp"], "sequences": {"edges": {"tasks": ["digits"]}}}, sequences),
        ("bloom", {"methods": ["atp"], "contrast": {"attribution": "eap"}}, contrast),
        ("mixtral", {"methods": ["atp"]}, weights),
    ],
)
def test_a_config_is_refused_for_what_it_asks_and_for_no_more(name, change, check, tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    tiny_families.build(name, tmp_path)

    def run(asked):
        config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
        config["model_sources"]["mine"] = {"path": str(tmp_path)}
        config["circuits"]["top_k"], config["cross_task"]["top_k"] = [1], 1
        study = config if check is reuse else config[check.__package__.split(".")[-1]]
        study["models"] = ["mine"]
        for key, value in asked.items():
            config[key] = {**config[key], **value} if isinstance(value, dict) else value
        after_checks(config, check.check, tmp_path)

    with pytest.raises(
        errors.ConfigError, match=rf"model_sources\.mine\.path: mine is of the type {name}.*docs/models\.md"
    ):
        run(change)
    if check is reuse:
        run({"methods": ["atp", "patching"]})
    if check is sequences:
        run({"methods": ["atp"], "sequences": {"edges": {"tasks": []}}})


def test_it_is_read_without_torch():
    code = (
        "import sys; from circuit_reuse.engine import architectures; assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(PROJECT / "workflow" / "scripts")}, check=False
    )
    assert done.returncode == 0
