"""The loss of ordinary text without components, against one text at a time with hooks written out."""

import numpy as np
import pytest
import torch
from circuit_reuse.data.text_lines import read_lines
from circuit_reuse.engine import interventions, text_loss

TEXTS = [[5, 9, 200, 31, 7], [8, 8, 3], [11, 250, 40, 2, 90], [600, 30, 20], [4, 77]]
SETS = [[], ["a1.h2"], ["a0.h0", "a2.h5", "m1"], ["m2"]]


@pytest.fixture(scope="module")
def instead(model):
    return text_loss.means(model, TEXTS, 1000)


def test_means_are_over_all_positions_but_the_first(model, instead):
    rows = []
    for text in TEXTS:
        with interventions.capturing(model) as kept, torch.no_grad():
            model.bridge(torch.tensor([text]))
        rows.append(kept["blocks.1.attn.hook_z"][0, 1:])
    torch.testing.assert_close(instead.z[1][0, 0], torch.cat(rows).mean(0), rtol=1e-4, atol=1e-5)


def test_losses_are_those_of_one_text_at_a_time(model, instead):
    found = text_loss.losses(model, TEXTS, SETS, instead, 12)
    for row, names in enumerate(SETS):
        for column, text in enumerate(TEXTS):
            assert found[row, column] == pytest.approx(slow(model, text, names, instead), rel=1e-4), (names, text)


def slow(model, text, names, instead):
    """Every component's output put in at every position but the first, and the loss summed token by token."""
    hooks = []
    for name in names:
        layer, _, head = name[1:].partition(".h")

        def put(tensor, hook, layer=int(layer), head=head):
            tensor = tensor.clone()
            if head:
                tensor[:, 1:, int(head)] = instead.z[layer][0, 0, int(head)]
            else:
                tensor[:, 1:] = instead.mlp[layer][0, 0]
            return tensor

        hooks.append((f"blocks.{layer}.attn.hook_z" if head else f"blocks.{layer}.hook_mlp_out", put))
    with torch.no_grad(), model.bridge.hooks(fwd_hooks=hooks):
        logits = model.bridge(torch.tensor([text]), return_type="logits")[0].float()
    values = [-logits[place].log_softmax(-1)[token].item() for place, token in enumerate(text[1:])]
    return float(np.mean(values))


def test_a_file_of_texts_is_read_line_by_line(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffOne line.\r\n\n  Zwölf Wörter. \nOne line.\n".encode())
    assert read_lines(path) == ["One line.", "Zwölf Wörter."]
    path.write_bytes("One line.\nZwölf\n".encode("latin-1"))
    with pytest.raises(ValueError, match="line 2: not UTF-8"):
        read_lines(path)
