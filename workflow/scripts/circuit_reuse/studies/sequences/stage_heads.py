"""The stages that read what heads and MLPs do, from the intact model."""

import numpy as np
import pandas as pd
import torch

from circuit_reuse.data import examples, fingerprint, jobs
from circuit_reuse.engine import batching, interventions, models, neurons, places
from circuit_reuse.prompts import sequence
from circuit_reuse.stats import circuits, clusters
from circuit_reuse.studies.sequences import head_functions, schemas

TOP_NEURONS, NEURON_TOKENS = 10, 8
# Of these, over all layers, those that are replaced exactly and whose inputs are taken apart.
PATCHED = 10
DIRECTIONS, DIRECTION_TOKENS = 15, 20
RANDOM_PROMPTS, RANDOM_LENGTH = 32, 8


def read_heads(job):
    """What heads do on one task."""
    cfg, tokens = job.cfg, job.compute["batch_tokens"]
    model = models.of_job(job)
    _, held_out = jobs.splits(job.input.examples, cfg, job.wildcards.task)
    reader = examples.reader(fingerprint.folder_of(job.input.model), cfg["bos"])
    tokenizer = reader.tokenizer
    names = [[f"a{layer}.h{head}" for head in range(model.space.heads)] for layer in range(model.space.layers)]
    ov = []
    if cfg["family"] == "sequence":
        prompts, targets = bare(tokenizer, reader.bos, cfg["options"])
        if model.space.layers < 2:
            job.log.info(
                "no next, copy and previous scores: these read the stream after the first layer, and there is no second one"
            )
        elif prompts:
            found = head_functions.ov_hits(model, torch.tensor(prompts, device=model.device), cfg["top"])
            ov = head_functions.ov_scores(found, targets, names)
        else:
            job.log.info("no next, copy and previous scores: the elements are not single tokens")
    table = held_out[held_out["length"] == held_out["length"].mode()[0]].reset_index(drop=True)
    attention, motifs = attended(model, table, tokenizer, names, tokens)
    job.write(job.output.ov, schemas.OV, ov)
    job.write(job.output.attention, schemas.ATTENTION, attention)
    job.write(job.output.motifs, schemas.MOTIFS, motifs)
    job.write(job.output.lens, schemas.LENS, lens_rows(model, held_out, tokens))
    job.write(job.output.direct, schemas.DIRECT, direct_rows(model, held_out, tokens, job.log))
    found, inputs = neuron_rows(model, held_out, cfg["metric"], tokenizer, tokens)
    job.write(job.output.neurons, schemas.NEURONS, found)
    job.write(job.output.neuron_inputs, schemas.NEURON_INPUTS, inputs)
    job.log.info("%d prompts read", len(held_out))


def bare(tokenizer, bos, options):
    """Bare ascending sequences of a task's members, and the tokens that would be next, copies, previous.

    returns: token ids [prompt, position], {score: [prompt][element] list of ids}
    """
    members, length = options.get("members", "digits"), options.get("length", 4)
    listed = sequence.MEMBERS[members] if isinstance(members, str) else list(members)
    elements = listed[: options.get("largest")]
    ids = [tokenizer.encode(f" {word}", add_special_tokens=False).ids for word in elements]
    alone = [tokenizer.encode(word, add_special_tokens=False).ids for word in elements]
    # A hit is the word with its leading space, or without it where that is one token too.
    accepted = [[one for each in both for one in each if len(each) == 1] for both in zip(ids, alone, strict=True)]
    prompts, targets = [], {score: [] for score in head_functions.OFFSETS}
    for start in range(len(elements) - length + 1):
        shown = range(start, start + length)
        if any(len(ids[n]) != 1 for n in shown):
            continue
        prompts.append(([] if bos is None else [bos]) + [ids[n][0] for n in shown])
        for score, offset in head_functions.OFFSETS.items():
            targets[score].append([accepted[n + offset] if 0 <= n + offset < len(elements) else [] for n in shown])
    return prompts, targets


def attended(model, table, tokenizer, names, tokens):
    """Rows of the attention table, and of the motifs of a sequence.

    table: examples of one length; elements stand at the same positions in all of them
    """
    total, found = None, {}
    for batch in batching.batches(table, tokens, model.device):
        for layer, pattern in enumerate(head_functions.patterns(model, batch.clean)):
            found[layer] = found.get(layer, 0) + pattern.sum(0)
        total = (total or 0) + len(batch.rows)
    labels, items = positions(table, tokenizer)
    length = len(labels)
    lower = np.tril_indices(length)
    attention, motifs = [], []
    masks = head_functions.item_masks(items, length, model.device) if len(items) > 1 else {}
    for layer, row in enumerate(names):
        mean = (found[layer] / total).cpu()
        for head, name in enumerate(row):
            attention.append(
                pd.DataFrame(
                    {
                        "component": name,
                        "query": lower[0],
                        "key": lower[1],
                        "query_label": [labels[n] for n in lower[0]],
                        "key_label": [labels[n] for n in lower[1]],
                        "attention": mean[head].numpy()[lower],
                    }
                )
            )
        for kind, mask in masks.items():
            motifs += motif_rows(kind, mean[None], mask.cpu(), row, total)
    return pd.concat(attention, ignore_index=True), motifs


def motif_rows(kind, pattern, mask, names, times):
    """Rows of the motifs table for the heads of a layer."""
    mass, chance, queries = head_functions.motif(pattern, mask)
    return [
        {
            "component": name,
            "motif": kind,
            "attention": float(value),
            "attention_null": chance,
            "n_queries": queries * times,
        }
        for name, value in zip(names, mass, strict=True)
        if queries
    ]


def positions(table, tokenizer):
    """What stands at each position: an element, a token that is always there, or filler text.

    returns: labels, and positions of the elements in order
    """
    tokens = np.array([list(map(int, row)) for row in table["clean_tokens"]])
    roles = {}
    for role in table["roles"].iloc[0]:
        roles[int(role["position"])] = role["role"]
    steady = all({int(r["position"]): r["role"] for r in each} == roles for each in table["roles"])
    labels, items = [], []
    for place in range(tokens.shape[1]):
        role = roles.get(place) if steady else None
        if role:
            labels.append(role.replace("item_", "item "))
            items += [place] if role.startswith("item_") else []
        elif len(set(tokens[:, place])) == 1:
            label = (tokenizer.id_to_token(int(tokens[0, place])) or "?").replace("Ġ", "")
            # Tokens like <|endoftext|> or <s> open a prompt.
            labels.append("BOS" if place == 0 and label.startswith("<") else label)
        else:
            labels.append("word")
    return labels, items


def lens_rows(model, table, tokens):
    """Rows of the lens table."""
    parts = {}
    for batch in batching.batches(table, tokens, model.device):
        every = torch.arange(len(batch.rows), device=model.device)
        # Of a sequence, the one distractor is the element shown last; one that repeats an element shows no other.
        shown = batch.distractor[:, 0]
        for key, logits in head_functions.lens(model, batch).items():
            probability, top = logits.softmax(-1), logits.argmax(-1)
            rank = (logits >= logits[every, batch.answer][:, None]).sum(1)
            parts.setdefault(key, []).append(
                torch.stack(
                    [
                        probability[every, batch.answer],
                        probability[every, shown],
                        (top == batch.answer).float(),
                        (top == shown).float(),
                        rank.float(),
                    ]
                ).cpu()
            )
    rows = []
    for (layer, norm), found in parts.items():
        values = torch.cat(found, dim=1).double()
        means = values[:4].mean(1).tolist()
        names = ("probability", "probability_shown", "top1", "top1_shown")
        rank = float(np.median(values[4].numpy()))
        rows.append(
            {"layer": layer, "norm": norm, "rank": rank, "n_examples": values.shape[1]}
            | dict(zip(names, means, strict=True))
        )
    return rows


def direct_rows(model, table, tokens, log):
    """Rows of the direct table; none for a model whose stream is no plain sum."""
    if places.edges_problem(model):
        log.info("no direct attribution: in this model components do not simply add up")
        return []
    parts, rows = [], []
    for batch in batching.batches(table, tokens, model.device):
        rows += batch.rows
        found, rest = head_functions.direct(model, batch)
        parts.append(torch.cat([found, rest[:, None]], dim=1).cpu())
    values = torch.cat(parts).double()
    error = clusters.standard_error(values.numpy(), table["cluster"].to_numpy(str)[rows])
    return [
        {"component": name, "attribution": float(mean), "attribution_standard_error": float(se)}
        for name, mean, se in zip([*model.space.names, "rest"], values.mean(0), error, strict=True)
    ]


def neuron_rows(model, table, metric, tokenizer, tokens):
    """Rows of the neurons table (of each MLP the neurons of largest mean attribution) and of neuron_inputs; none for experts."""
    if not neurons.known(model):
        return [], []
    layers, order = {}, []
    for batch in batching.batches(table, tokens, model.device):
        order += batch.rows
        for layer, found in enumerate(neurons.scores(model, batch, metric)):
            layers.setdefault(layer, []).append(found.cpu())
    weight, rows = head_functions.unembedding(model)[0], []
    for layer, parts in layers.items():
        values = torch.cat(parts).double()
        mean = values.mean(0)
        error = clusters.standard_error(values.numpy(), table["cluster"].to_numpy(str)[order])
        out = neurons.outputs(model, layer)
        chosen = mean.abs().argsort(descending=True, stable=True)[:TOP_NEURONS].tolist()
        tops = (out[chosen] @ weight.T).topk(NEURON_TOKENS).indices.tolist()
        for rank, (neuron, top) in enumerate(zip(chosen, tops, strict=True), start=1):
            rows.append(
                {
                    "component": f"m{layer}",
                    "neuron": neuron,
                    "rank": rank,
                    "attribution": float(mean[neuron]),
                    "attribution_standard_error": float(error[neuron]),
                    "tokens": words(tokenizer, top),
                }
            )
    largest = sorted(rows, key=lambda row: -abs(row["attribution"]))[:PATCHED]
    units = [(int(row["component"][1:]), row["neuron"]) for row in largest]
    for row, found in zip(largest, patched(model, table, metric, units, tokens), strict=True):
        row |= found
    return rows, input_rows(model, table, units, tokens)


def patched(model, table, metric, units, tokens):
    """The exact change of the metric when each neuron takes its value in the corrupt prompt: columns of the neurons table."""
    change = np.empty((len(units), len(table)))
    for batch in batching.batches(table, tokens, model.device):
        batch = batch.shortened(model)
        instead = neurons.values(model, batch.corrupt, batch.prefix)
        base, _ = interventions.base(model, batch.clean, batch.prefix)
        before = models.metric_values(base.last, *batch.targets(), metric)
        for chosen, last in neurons.replaced(model, base, [[unit] for unit in units], instead, tokens):
            found = models.metric_values(last, *batch.targets(len(chosen)), metric).view(len(chosen), -1) - before
            change[np.ix_(chosen, batch.rows)] = found.float().cpu().numpy()
    error = clusters.standard_error(change.T, table["cluster"].to_numpy(str))
    names = ("patched", "patched_standard_error")
    return [dict(zip(names, map(float, pair), strict=True)) for pair in zip(change.mean(1), error, strict=True)]


def input_rows(model, table, units, tokens):
    """Rows of the neuron_inputs table; none for a model whose stream is no plain sum."""
    if places.edges_problem(model):
        return []
    shape = (len(table), len(units), len(model.space.names))
    clean, corrupt = np.zeros(shape), np.zeros(shape)
    for batch in batching.batches(table, tokens, model.device):
        clean[batch.rows] = neurons.inputs(model, batch.clean, units).double().cpu().numpy()
        corrupt[batch.rows] = neurons.inputs(model, batch.corrupt, units).double().cpu().numpy()
    rows, cluster = [], table["cluster"].to_numpy(str)
    for column, (layer, neuron) in enumerate(units):
        error = clusters.standard_error(clean[:, column] - corrupt[:, column], cluster)
        for place, name in enumerate(model.space.names):
            if not clean[:, column, place].any():
                continue
            means = clean[:, column, place].mean(), corrupt[:, column, place].mean()
            rows.append(
                {
                    "component": f"m{layer}",
                    "neuron": neuron,
                    "writer": name,
                    "clean": means[0],
                    "corrupt": means[1],
                    "difference": means[0] - means[1],
                    "difference_standard_error": float(error[place]),
                }
            )
    return rows


def words(tokenizer, ids):
    """Tokens as text, one by one."""
    return [tokenizer.decode([n], skip_special_tokens=False) for n in ids]


def describe_heads(job):
    """What heads do whatever the task: motifs on random tokens, spectra."""
    cfg = job.cfg
    model = models.of_job(job)
    tokenizer, bos = examples.load_tokenizer(fingerprint.folder_of(job.input.model))
    rng = circuits.generator(cfg["seed"], job.wildcards.model, "repeated tokens")
    tokens, masks = head_functions.repeated(model, RANDOM_PROMPTS, RANDOM_LENGTH, bos, rng)
    motifs = []
    for layer, pattern in enumerate(head_functions.patterns(model, tokens)):
        names = [f"a{layer}.h{head}" for head in range(model.space.heads)]
        for kind, mask in masks.items():
            motifs += motif_rows(kind, pattern.cpu(), mask.cpu(), names, 1)
    job.write(job.output.motifs, schemas.MOTIFS, motifs)
    job.write(job.output.spectrum, schemas.SPECTRUM, spectra(model, tokenizer, cfg))


def spectra(model, tokenizer, cfg):
    """Rows of the spectrum table; cfg: members of the sequences studied."""
    members = set()
    for word in cfg["members"]:
        for text in (word, f" {word}"):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            members |= set(ids) if len(ids) == 1 else set()
    weight, rows = head_functions.unembedding(model)[0], []
    for layer in range(model.space.layers):
        for head in range(model.space.heads):
            sizes, right = head_functions.spectrum(model, layer, head, DIRECTIONS)
            tops = (right @ weight.T).topk(DIRECTION_TOKENS).indices.tolist()
            for direction, (size, top) in enumerate(zip(sizes, tops, strict=True), start=1):
                rows.append(
                    {
                        "component": f"a{layer}.h{head}",
                        "direction": direction,
                        "value": float(size),
                        "tokens": words(tokenizer, top),
                        "members": len(set(top) & members) / len(top),
                        "members_null": len(members) / len(weight),
                    }
                )
    return rows
