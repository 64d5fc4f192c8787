"""Is the model that is studied the plain model?  Logits of both, once a model, at short and long prompts."""

import gc

import torch

from circuit_reuse.data import fingerprint
from circuit_reuse.engine import models, shortcuts

# Tokens of the prompts that are compared, and how many prompts of each length.
LENGTHS, PROMPTS = (8, 64, 256), 2
# Largest difference of two logits, as a share of the spread of the plain model's.  Rounding alone gives 1e-5 in float32;
# an attention that is computed in another way, half of the spread.
LIMIT = {torch.float32: 0.01, torch.float64: 0.01}
COARSE = 0.25


def compare(model, folder):
    """What the loaded model is, and how far its logits are from the plain Hugging Face model's (with its own attention).

    model:   engine.models.Model;  it may be freed after this call
    folder:  of the same model
    returns: parameters (tied ones once), bridge_difference (a share of the logits' spread) and compared_lengths (tokens)
    raises:  ModelError if they differ by more than rounding
    """
    # Text models of families that read images, too, have a class of their own.
    kind, dtype, device = type(model.bridge.original_model), model.dtype, model.device
    spread = len(set((getattr(model.bridge.original_model, "hf_device_map", None) or {}).values())) > 1
    most = fingerprint.positions(folder) or max(LENGTHS)
    batches = {
        length: shortcuts.sample(model, length, PROMPTS) for length in sorted({min(each, most) for each in LENGTHS})
    }
    ours = {length: models.logits(model, tokens).cpu() for length, tokens in batches.items()}
    del model
    gc.collect()
    where = {"device_map": "auto"} if spread else {}
    plain = kind.from_pretrained(folder, dtype=dtype, trust_remote_code=False, local_files_only=True, **where)
    plain = (plain if spread else plain.to(device)).eval()
    difference = max(
        float((ours[length] - found).abs().max() / found.std())
        for length, tokens in batches.items()
        for found in [last_logits(plain, tokens)]
    )
    if not difference <= LIMIT.get(dtype, COARSE):
        raise fingerprint.ModelError(
            f"the logits of {folder} as they are studied differ from the plain model's by {difference:.2g} of their spread, more "
            f"than rounding in {str(dtype).removeprefix('torch.')}: TransformerLens does not compute this model as transformers does"
        )
    return {"parameters": plain.num_parameters(), "bridge_difference": difference, "compared_lengths": sorted(batches)}


@torch.no_grad()
def last_logits(plain, tokens):
    """Logits after the last position, float32, [prompt, vocabulary]."""
    return plain(tokens.to(plain.device), use_cache=False).logits[:, -1].float().cpu()
