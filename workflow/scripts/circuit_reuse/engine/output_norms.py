"""How large what each component writes to the stream is."""

import pandas as pd
import torch
from torch import einsum

from circuit_reuse.engine import batching, interventions, neurons, places


@torch.no_grad()
def output_norms(model, examples, tokens):
    """Norm of what each head and MLP writes, mean over the positions of the clean prompt.

    examples: rows of the examples table;  tokens: tokens of one run
    returns:  a DataFrame: example, component, output_norm (of a vector of d_model; where a norm follows the attention, after it, its scale held)
    """
    rows, numbers = [], examples["example"].to_numpy()
    layers = range(model.space.layers) if places.has_post_norm(model) else ()
    after = {layer: neurons.post_norm(model.bridge.blocks[layer], "ln1_post") for layer in layers}
    for batch in batching.batches(examples, tokens, model.device):
        kept = {}
        with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *map(places.post_hook, layers))):
            _, acts = interventions.run(model, batch.clean)
        for layer, (z, mlp) in enumerate(zip(acts.z, acts.mlp, strict=True)):
            weights = model.bridge.blocks[layer].attn.W_O.float()
            heads = einsum("ephd,hdm->ephm", z.float(), weights)
            if after.get(layer) is not None:
                heads = after[layer].held(kept[places.post_hook(layer)][:, :, None], heads)
            heads = heads.norm(dim=-1).mean(1)
            columns = {f"a{layer}.h{head}": column for head, column in enumerate(heads.T)}
            columns[f"m{layer}"] = mlp.float().norm(dim=-1).mean(1)
            for name, column in columns.items():
                frame = {"example": numbers[batch.rows], "component": name, "output_norm": column.cpu().numpy()}
                rows.append(pd.DataFrame(frame))
    return pd.concat(rows, ignore_index=True)
