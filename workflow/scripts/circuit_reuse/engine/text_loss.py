"""The loss of ordinary text with components removed: what they are worth outside any task."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from circuit_reuse.engine import interventions, models
from circuit_reuse.engine.batching import in_pieces

# Numbers in the logits of one run, at most: all positions are read, of a vocabulary that may be large.
LOGITS = 2**26


def means(model, texts, tokens):
    """Mean output of each component over all positions of texts but their first.

    texts:   lists of token ids;  tokens: tokens of one run
    returns: interventions.Activations of one row and position
    """
    return interventions.mean_outputs(model, (batch for _, batch in batches(model, texts, tokens)))


def losses(model, texts, sets, instead, tokens):
    """Mean cross-entropy of the tokens of each text but its first, with each set of components replaced.

    texts:   lists of at least two token ids;  sets: lists of component names, an empty one for the intact model
    instead: what is put in, of `means`, at all positions but the first: that one is the same in most texts, and
             models attend to it where they look for nothing
    returns: [set, text], nats per token
    """
    found = np.empty((len(sets), len(texts)))
    vocabulary = model.bridge.original_model.get_output_embeddings().weight.shape[0]
    tokens = max(1, min(tokens, LOGITS // vocabulary))
    for rows, batch in batches(model, texts, tokens):
        base, clean = interventions.base(model, batch)
        put_in = spread(clean, instead)
        # As in `interventions.scan`: highest layers first, so that lower ones need not run again.
        order = sorted(range(len(sets)), key=lambda place: (-interventions.first_layer(sets[place]), place))

        def work(places, base=base, put_in=put_in):
            chosen = [sets[place] for place in places]
            logits = interventions.replace(model, base, chosen, put_in, everywhere=True)
            targets = base.tokens[:, 1:].repeat(len(places), 1)
            values = cross_entropy(logits[:, :-1].transpose(1, 2), targets, reduction="none").mean(1)
            return values.view(len(places), -1).double().cpu().numpy()

        size = tokens // batch.numel()
        for places, values in in_pieces(work, order, size, batch.device, f"interventions on {len(batch)} texts"):
            found[np.ix_(places, rows)] = values
    return found


def spread(clean, instead):
    """Activations with the shape of the clean ones: those of one position everywhere but at the first."""

    def put(own, mean):
        whole = mean.to(own.dtype).expand_as(own).clone()
        whole[:, :1] = own[:, :1]
        return whole

    return clean.like(put, instead)


def batches(model, texts, tokens):
    """Texts of equal length together: (their places, token ids [text, position]).

    raises: ModelError in training mode
    """
    models.check_ready(model)
    by_length = {}
    for place, text in enumerate(texts):
        by_length.setdefault(len(text), []).append(place)
    for length in sorted(by_length):
        places, size = by_length[length], max(1, tokens // length)
        for start in range(0, len(places), size):
            rows = places[start : start + size]
            yield rows, torch.tensor([texts[row] for row in rows], device=model.device)
