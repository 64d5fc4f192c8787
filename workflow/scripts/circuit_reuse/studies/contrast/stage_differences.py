"""The stage that compares two sets of texts in one model, and the controls made of them."""

import math
import time

import numpy as np
import pandas as pd

from circuit_reuse.data import examples as tokenising
from circuit_reuse.data import fingerprint, jobs, tables
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import models, progress
from circuit_reuse.stats import clusters as counting
from circuit_reuse.stats import statistics
from circuit_reuse.studies.contrast import differences as measure
from circuit_reuse.studies.contrast import schemas, texts
from circuit_reuse.studies.contrast.texts import FEWEST


def differences(job):
    """Scores of every component under every scoring and condition."""
    cfg = job.cfg
    model = models.of_job(job)
    folder = fingerprint.folder_of(job.input.model)
    stream = (cfg["seed"], job.wildcards.model, job.wildcards.set, "contrast")
    reader = tokenising.reader(folder, cfg["bos"])
    tokenizer, bos = reader.tokenizer, reader.bos
    real, clusters = pairs_of(job.input, cfg, tokenizer, bos, stream, job.wildcards.set, job.log)
    filler = tokenizer.encode(cfg["filler"], add_special_tokens=False).ids
    conditions = {
        name: texts.condition(real, clusters, name, int(bos is not None), filler, cfg["longest"], stream)
        for name in ("real", *cfg["controls"], "half_1", "half_2")
    }
    most = fingerprint.positions(folder) or math.inf
    for pairs in conditions.values():
        texts.check_length(pairs, most)
    began, total = time.monotonic(), sum(map(len, conditions.values()))
    rows, draws, raw = [], [], None
    used = list(dict.fromkeys(scoring["positions"] for scoring in cfg["scorings"].values()))
    with progress.bar(total=total, desc="texts", unit="pair") as bar:
        for name, pairs in conditions.items():
            sums, norms = measure.measure(
                model,
                pairs,
                used,
                cfg["flips"],
                cfg["draws"],
                (*stream, texts.stream_of(name)),
                job.compute["batch_tokens"],
                keep=name == "real",
                progress=bar.update,
            )
            raw = norms if name == "real" else raw
            for scoring, settings in cfg["scorings"].items():
                found, drawn = scored(sums[settings["positions"]], settings, model.space)
                check(found, name, scoring, settings, job.wildcards.set)
                rows.append(found.assign(condition=name, scoring=scoring))
                draws.append(drawn.assign(condition=name, scored_by=scoring))
    seconds = max(time.monotonic() - began, 1e-9)
    job.log.info("%d pairs in %.2f s, %.0f texts per second", total, seconds, 2 * total / seconds)
    job.write(job.output.differences, schemas.DIFFERENCES, pd.concat(rows))
    job.write(job.output.draws, schemas.DRAWS, pd.concat(draws))
    frame = raw_frame(raw, conditions["real"], model.space.names)
    job.write(job.output.pairs, schemas.PAIRS, frame)


def pairs_of(input, cfg, tokenizer, bos, stream, name, log):
    """The real train pairs of a set, from a task's examples or the user's file.

    returns: (pairs, clusters)
    raises:  texts.TextError for an unknown class, or too few pairs or clusters
    """
    if input.file:
        sides = None if cfg["paired"] else (cfg["first"], cfg["second"])
        found, clusters, left = texts.of_file(input.file, cfg["held_out_share"], sides, tokenizer, bos, stream)
        if cfg["cluster"] == "pair":
            clusters = [f"pair {n}" for n in range(len(found))]
        if left:
            log.info("%d unpaired texts of the larger set are left out", left)
    else:
        table = tables.read(input.examples, tables.EXAMPLES)
        table = jobs.used(table, "train")
        if cfg["first"] is not None and cfg["first"] not in set(table["variant"]):
            raise texts.TextError(
                f"contrast.sets.{name}.first is {cfg['first']!r}; the task has {', '.join(sorted(set(table['variant'])))}"
            )
        found = texts.of_task(table, cfg["first"])
        if cfg["cluster"] == "words":
            clusters = texts.clusters_of(found)
        elif cfg["cluster"] == "auto":
            clusters = list(table["cluster"])
        else:
            clusters = [f"pair {n}" for n in range(len(found))]
    if len(set(clusters)) < FEWEST:
        raise LeftOut(
            f"contrast.sets.{name} has {len(found)} train pairs in {len(set(clusters))} clusters; a mean difference needs "
            f"at least {FEWEST}: use more pairs, or contrast.sets.{name}.cluster: pair, and say that what is shown holds "
            "for these words only"
        )
    if len(set(clusters)) < counting.FEWEST:
        log.warning(
            "contrast.sets.%s has %d clusters: with fewer than %d no p of sign flips can be below 0.05 and no interval holds its "
            "level, so both stay empty",
            name,
            len(set(clusters)),
            counting.FEWEST,
        )
    return found, clusters


def scored(sums, scoring, space):
    """Rows of the differences table of one scoring, and of the draws table."""
    names = space.names
    empty = np.full(len(names), np.nan)
    keys = ("score", "score_low", "score_high", "score_null", "score_null_high", "excess", "p_excess", "p_value")
    columns = dict.fromkeys(keys, empty)
    drawn, null = np.full((1, len(names)), np.nan), np.full((1, len(names)), np.nan)
    if sums.pairs >= 2:
        with np.errstate(invalid="ignore", divide="ignore"):
            # With fewer there is neither a p nor an interval, see clusters.FEWEST.
            tested = sums.clusters >= counting.FEWEST
            # Whether the sets' means differ at all is asked in the same way of every scoring.
            columns["p_value"] = sums.p_distance() if tested else empty
            if scoring["score"] == "distance":
                drawn, null = sums.distance(scoring["scale"])
                columns |= {"score_null": null.mean(0), "score_null_high": quantile(null, 0.95)}
            else:
                drawn = sums.mean_of_norms(scoring["scale"])
                # Labels do not enter it, so it is the same however they are flipped.
                null = np.repeat(drawn[:1], len(sums.flipped) - 1, axis=0)
                if sums.quadruples:
                    columns["excess"], p_excess = sums.excess(scoring["scale"])
                    columns["p_excess"] = p_excess if tested else empty
        columns["score"] = drawn[0]
        if tested:
            tail = (1 - statistics.expanded(0.95, sums.clusters)) / 2
            columns["score_low"] = np.fmin(quantile(drawn[1:], tail), drawn[0])
            columns["score_high"] = np.fmax(quantile(drawn[1:], 1 - tail), drawn[0])
        # What does not vary within the sets has no scale to be judged on.
        columns["p_value"] = np.where(np.isnan(columns["score"]), np.nan, columns["p_value"])
    component = pd.Categorical(names, categories=names)
    found = pd.DataFrame({"component": component, "n_pairs": sums.pairs, "n_clusters": sums.clusters, **columns})
    found["cost"] = [space.write_cost(name) for name in names]
    found["q_value"] = statistics.false_discovery(found["p_value"])
    listed = (("score_draws", drawn[1:]), ("score_null", null))
    lists = {key: [column.astype(np.float32) for column in values.T] for key, values in listed}
    return found, pd.DataFrame({"component": component, "score": drawn[0], **lists})


def quantile(values, share):
    """A quantile over the first axis that leaves out what is not a number."""
    known = ~np.isnan(values).all(axis=0)
    found = np.full(values.shape[1], np.nan)
    if known.any():
        found[known] = np.nanquantile(values[:, known], share, axis=0, method="weibull")
    return found


def check(found, condition, scoring, settings, name):
    """Refuse a scoring that has nothing to compare, and a score that is not finite.

    raises: texts.TextError
    """
    pairs, clusters = int(found["n_pairs"].iloc[0]), int(found["n_clusters"].iloc[0])
    if condition == "real" and clusters < FEWEST:
        raise texts.TextError(
            f"contrast.sets.{name}: scoring {scoring!r} compares positions {settings['positions']!r}, and only "
            f"{pairs} of the train pairs, in {clusters} clusters, have texts of equal length; use positions: "
            "start, or more texts"
        )
    if np.isinf(found["score"].to_numpy(float)).any():
        bad = found["component"][np.isinf(found["score"].to_numpy(float))].iloc[0]
        raise texts.TextError(f"contrast.sets.{name}: the score of {bad} is not finite; try compute.dtype: float32")


def raw_frame(raw, pairs, names):
    """Rows of the pairs table."""
    labels, parts = [pair.name for pair in pairs], []
    for pool, (places, norms) in raw.items():
        parts.append(
            pd.DataFrame(
                {
                    "pair": pd.Categorical.from_codes(np.repeat(places, len(names)), labels),
                    "positions": pd.Categorical([pool], categories=list(raw)).repeat(norms.size),
                    "component": pd.Categorical.from_codes(np.tile(np.arange(len(names)), len(places)), names),
                    "norm": norms.ravel(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
