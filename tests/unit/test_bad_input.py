"""What a stage cannot do is one clear error or a reason in a table, never a wrong number."""

import json
import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from circuit_reuse.data import fingerprint
from circuit_reuse.engine import batching, models
from circuit_reuse.studies.common import scoring, stage_examples, stage_scores
from support import MODELS, examples_for
from transformers import MambaConfig, MambaForCausalLM

LOG = logging.getLogger()
CFG = {"metric": "logit_difference", "steps": 2}


def copied(tmp_path, **changes):
    """The small model with other values in its config."""
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-gpt2-small", folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_quantised_or_an_encoder_decoder_model_is_refused_before_any_job(tmp_path):
    quantised = copied(tmp_path, quantization_config={"quant_method": "gptq"})
    with pytest.raises(fingerprint.ModelError, match="quantization_config"):
        fingerprint.shape(quantised)
    with pytest.raises(fingerprint.ModelError, match="encoder-decoder"):
        fingerprint.shape(copied(tmp_path / "other", is_encoder_decoder=True))


def test_an_architecture_without_heads_is_named(tmp_path):
    config = MambaConfig(vocab_size=100, hidden_size=16, num_hidden_layers=2, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stored | {"num_attention_heads": 2}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODELS / "tiny-gpt2-small" / name, tmp_path / name)
    with pytest.raises(fingerprint.ModelError, match=r"type mamba: it has layers that are neither attention nor MLP"):
        models.load(tmp_path, "cpu")


def test_a_model_in_training_mode_is_refused(model, batch):
    model.bridge.original_model.train()
    try:
        with pytest.raises(fingerprint.ModelError, match="training mode"):
            scoring.score(model, batch, "atp", "logit_difference")
    finally:
        model.bridge.original_model.eval()


def test_pairs_that_the_metric_does_not_separate_are_kept_out_with_the_reason():
    frame = pd.DataFrame(
        {
            "id": ["good", "same", "broken", "was invalid"],
            "valid": [True, True, True, False],
            "reason": [None, None, None, "two tokens"],
            "clean_metric": [2.0, 1.5, np.nan, None],
            "corrupt_metric": [-1.0, 1.5, 0.0, None],
        }
    )
    stage_examples.leave_out(frame, frame.index, LOG)
    assert frame["valid"].tolist() == [True, False, False, False]
    assert "same metric" in frame["reason"][1] and "not a number" in frame["reason"][2]
    assert frame["reason"][3] == "two tokens"


def test_a_score_that_is_not_a_number_names_its_example(model, monkeypatch):
    examples = examples_for("digits", 6)

    def broken(model, batch, *rest):
        found = torch.zeros(len(batch.rows), len(model.space.names))
        found[batch.rows.index(3) if 3 in batch.rows else 0, 2] = float("inf")
        return found

    monkeypatch.setattr(scoring, "score", broken)
    with pytest.raises(ValueError, match=r"a0\.h1 on example '.*' is not a number"):
        stage_scores.scores(model, examples, "atp", CFG, 10**6, LOG)


def test_batches_are_halved_until_they_fit_and_nothing_is_lost():
    seen = []

    def work(piece):
        if len(piece) > 3:
            raise torch.OutOfMemoryError("Tried to allocate 2.50 GiB. GPU 0 has ...")
        seen.extend(piece)
        return sum(piece)

    found = list(batching.in_pieces(work, list(range(20)), 16, "cpu", "examples"))
    assert seen == list(range(20)) and sum(result for _, result in found) == sum(range(20))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2.50 GiB"),
    ],
)
def test_a_single_example_that_does_not_fit_says_how_much_is_missing(error):
    def work(piece):
        raise error

    with pytest.raises(MemoryError, match=r"a single one of the examples.*2\.50 GiB") as problem:
        list(batching.in_pieces(work, [1, 2], 2, "cpu", "examples"))
    assert "compute.dtype" in str(problem.value)


def test_another_error_is_not_taken_for_a_lack_of_memory():
    def work(piece):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(batching.in_pieces(work, [1, 2], 2, "cpu", "examples"))
