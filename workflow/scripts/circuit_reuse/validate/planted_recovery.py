"""Does a method find the planted circuit?  And is what was planted really the circuit?"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from circuit_reuse.data import components
from circuit_reuse.engine import batching, interventions, models
from circuit_reuse.methods import registry
from circuit_reuse.studies.common import scoring
from circuit_reuse.validate import planted_models, planted_tasks, schemas

METRIC = "logit_difference"
METHODS = [*registry.METHODS, "activation-difference"]
# A share of the whole effect below which a part is called redundant, or unseen by a gradient.
FAINT = 0.02


def run(job):
    """Score all methods on planted models of one kind: one row a seed and method."""
    torch.set_num_threads(job.threads)
    task, architecture = job.wildcards.planted.rsplit("-", 1)
    cfg, rows = job.cfg, []
    for seed in range(cfg["seeds"]):
        rows += recover(task, architecture, seed, cfg["examples"], cfg["steps"])
        job.log.info("seed %d of %d", seed + 1, cfg["seeds"])
    job.write(job.output.planted, schemas.PLANTED, rows)


def load(name, architecture, seed):
    """A planted model, loaded as any other, and its circuit."""
    plan, truth = planted_tasks.planted(name, seed)
    generator = torch.Generator().manual_seed(seed)
    model = planted_models.build(plan, architecture, generator)
    words = {f"t{n}": n for n in range(len(plan.embedding))}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        Tokenizer(WordLevel(words, unk_token="t0")).save(str(Path(folder) / "tokenizer.json"))
        loaded = models.load(folder, "cpu", threads=torch.get_num_threads())
    return loaded, truth


def auroc(scores, truth):
    """Area under the curve of true against false positives, from (0, 0) to (1, 1).

    scores: [component];  truth: [component], bool.  Ties count half.
    source: Hanley & McNeil 1982 (it is the Mann-Whitney statistic)
    """
    scores = np.asarray(scores, dtype=float)
    inside, outside = scores[truth], scores[~truth]
    return float(mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside)))


def precision(scores, truth):
    """Share of the circuit among as many components as it has, of largest score."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    return float(truth[order[: truth.sum()]].mean())


def component_scores(model, batch, method, steps):
    """Mean size of each component's score over the examples, [component]."""
    if method == "activation-difference":
        return activation_difference(model, batch)
    found = scoring.score(model, batch, method, METRIC, steps)
    return found.abs().mean(0).numpy()


def activation_difference(model, batch):
    """Norm of the change of each component's output between the two prompts, [component]."""
    _, clean = interventions.run(model, batch.clean)
    _, corrupt = interventions.run(model, batch.corrupt)
    change = interventions.difference(corrupt, clean)
    columns = [change.embedding.flatten(1).norm(dim=1)[:, None]]
    for z, mlp in zip(change.z, change.mlp, strict=True):
        columns.append(z.transpose(1, 2).flatten(2).norm(dim=2))
        columns.append(mlp.flatten(1).norm(dim=1)[:, None])
    return torch.cat(columns, dim=1).mean(0).numpy()


def recover(name, architecture, seed, count, steps):
    """One row a method: AUROC and precision on a planted model, and what the model does.

    returns: a list of dicts, columns of the planted table
    """
    model, circuit = load(name, architecture, seed)
    batch = next(batching.batches(planted_tasks.examples(name, count, seed), 10**6))
    names = model.space.of_kinds()
    truth = np.array([component in circuit for component in names])
    columns = [model.space.names.index(component) for component in names]
    checks = behaviour(model, batch, circuit)
    scores = {m: component_scores(model, batch, m, steps)[columns] for m in METHODS}
    rows = []
    for method in METHODS:
        mine = scores[method]
        row = {
            "model": f"{name}-{architecture}",
            "method": method,
            "seed": seed,
            "auroc": auroc(mine, truth),
            "precision": precision(mine, truth),
            "n_components": len(names),
            "circuit": " ".join(sorted(circuit, key=components.order)),
            "why": None,
            **checks,
        }
        if row["auroc"] < 1:
            row["why"] = reason(method, scores, truth, checks)
        rows.append(row)
    return rows


def behaviour(model, batch, circuit):
    """What the planted model does, as shares: is the circuit the circuit?

    accuracy:    share of prompts with the right answer before the distractor
    necessity:   share of the change of the metric that corrupting the circuit alone brings
    sufficiency: share of it that is left when all but the circuit is corrupted
    weakest:     least share that corrupting one part of the circuit alone brings
    """
    _, corrupt = interventions.run(model, batch.corrupt)
    others = [name for name in model.space.of_kinds() if name not in circuit]
    sets = [[], circuit, others, *([name] for name in circuit)]
    last = interventions.replace(model, interventions.Base(batch.clean), sets, corrupt)
    targets = batch.targets(len(sets))
    values = models.metric_values(last, *targets, METRIC).view(len(sets), -1)
    other = models.logits(model, batch.corrupt)
    floor = models.metric_values(other, *batch.targets(), METRIC).mean()
    clean = values[0].mean()
    share = ((values.mean(1) - clean) / (floor - clean)).tolist()
    return {
        "accuracy": (values[0] > 0).float().mean().item(),
        "necessity": share[1],
        "sufficiency": 1 - share[2],
        "weakest": min(share[3:]),
    }


def reason(method, scores, truth, checks):
    """Why a method missed the circuit, from what was measured."""
    if method == "activation-difference":
        most = scores[method][~truth].max() / scores[method][truth].min()
        return f"a decoy changes {most:.1f} times as much as a part of the circuit"
    exact = scores["patching"]
    if method == "patching":
        return (
            f"redundant: corrupting one part alone brings {100 * checks['weakest']:.1f} % of the "
            "effect, another part stands in"
        )
    part = np.flatnonzero(truth)[scores[method][truth].argmin()]
    if scores[method][part] < FAINT * scores[method].max():
        if exact[part] < FAINT * exact.max():
            return "redundant: another part stands in, so neither a small nor the whole change of one part moves the metric"
        return (
            f"saturated: the metric hardly moves with a small change of a part; its score is "
            f"{scores[method][part]:.2g} where activation patching gives {exact[part]:.2g}"
        )
    return "a decoy has a larger first-order score than a part of the circuit"
