"""The stage that tokenises prompts and runs the intact model, until each split has enough pairs."""

import time

import numpy as np
import pandas as pd
import torch

from circuit_reuse.data import answers, examples, fingerprint, tables
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import batching, effects, models

# What the model adds to the rows of the examples table.
MEASURED = ("clean_metric", "corrupt_metric", "correct", "rank", "answer_log_probability")
# A metric that corrupting moves by less than this, in its units, is rounding.
SAME = 1e-5


def tokenise(job):
    """Examples with tokens, validity and the metrics of the intact model."""
    cfg, model = job.cfg, models.of_job(job)
    prompts = tables.read(job.input.prompts, tables.PROMPTS)
    reader = examples.reader(fingerprint.folder_of(job.input.model), cfg["bos"], cfg["chat"])
    try:
        found = draw(model, reader, prompts, cfg, job.compute["batch_tokens"], job.log)
        rows, problem = as_rows(found), shortage(found, cfg, job.wildcards.task)
    except LeftOut as none:
        rows, problem = [], none
    if problem:
        job.log.warning("left out: %s", problem)
    job.write(job.output.examples, tables.EXAMPLES, rows, left_out=problem)


def draw(model, reader, prompts, cfg, tokens, log):
    """Rows of the examples table for a shard of prompts, tried in order until there are enough.

    cfg:     metric, accuracy, correct_only, count (what counts: used or valid), quota ({split: examples}
             or {"all": examples}; None for all prompts)
    returns: a DataFrame of the pairs that were tried; a split that has its quota is not tried further
    """
    began, kind = time.monotonic(), answers.looked_at(cfg["accuracy"], cfg["metric"])
    if prompts.empty:
        raise LeftOut("there is no different prompt left for this shard", 0, 1)
    frame = pd.DataFrame([examples.tokenise(reader, row, **kind) for row in plain(prompts)])
    for column in MEASURED:
        frame[column] = None
    frame["used"], frame["tried"] = False, False
    quota = cfg["quota"] or {"all": len(frame)}
    groups = {split: frame.index[(frame["split"] == split) | (split == "all")] for split in quota}
    while True:
        chosen = [n for split, group in groups.items() for n in following(frame, group, quota[split], cfg["count"])]
        if not chosen:
            break
        frame.loc[chosen, "tried"] = True
        mine = frame.loc[chosen]
        run(model, frame, mine[mine["valid"]], cfg, tokens)
        judge(frame, chosen, cfg["correct_only"], log)
    found = frame[frame["tried"]].drop(columns="tried").reset_index(drop=True)
    batching.log_rate(log, len(found), began)
    accuracy = found["correct"].dropna().astype(bool).mean()
    log.info(
        "%d pairs tried, %d valid, %d used; accuracy %.3f",
        len(found),
        found["valid"].sum(),
        found["used"].sum(),
        accuracy,
    )
    return found


def following(frame, group, quota, count):
    """The next rows of a split: as many pairs that can be run as it lacks, and what lies between."""
    mine = frame.loc[group]
    lacking = quota - int(mine[count][mine["tried"]].sum())
    waiting = mine[~mine["tried"]]
    if lacking <= 0 or waiting.empty:
        return []
    places = np.flatnonzero(waiting["valid"].to_numpy(bool))
    end = places[lacking - 1] + 1 if len(places) >= lacking else len(waiting)
    return list(waiting.index[:end])


def run(model, frame, valid, cfg, tokens):
    """Run the model on some rows; fills their measured columns in place."""
    rows = valid.reset_index()

    def outcome(batch):
        short = batch.shortened(model)
        clean = models.logits(model, short.clean, short.prefix)
        corrupt = models.logits(model, short.corrupt, short.prefix)
        targets = batch.targets()
        log_probabilities = clean.log_softmax(-1)
        result = effects.outcomes(clean, log_probabilities, targets, cfg["metric"], cfg["accuracy"])
        other = models.metric_values(corrupt, *targets, cfg["metric"])
        answer = log_probabilities.gather(1, batch.answer[:, None])[:, 0]
        return result | {"corrupt": other.cpu().numpy(), "answer": answer.cpu().numpy()}

    for batch, result in batching.run_in_batches(outcome, rows, tokens, model.device, "examples"):
        index = valid.index[batch.rows]
        frame.loc[index, "clean_metric"] = result["metric"]
        frame.loc[index, "corrupt_metric"] = result["corrupt"]
        frame.loc[index, "correct"] = result["correct"]
        frame.loc[index, "rank"] = result["rank"]
        frame.loc[index, "answer_log_probability"] = result["answer"]
    longer = rows[rows["answer_tokens"].map(len) > 1]
    for index, (whole, greedy) in whole_answers(model, longer, tokens).items():
        frame.loc[index, "answer_log_probability"] = whole
        if cfg["accuracy"] == "top1":
            frame.loc[index, "correct"] = greedy


def whole_answers(model, rows, tokens):
    """Answers of several tokens by teacher forcing: {index: (log-probability, whether greedy decoding gives it)}.

    rows: of the examples table, with a column index
    """
    found, groups = {}, {}
    for row in rows.to_dict("records"):
        answer, prompt = list(row["answer_tokens"]), list(row["clean_tokens"])
        prompt = prompt[: len(prompt) - row["shared"]]
        groups.setdefault((len(prompt), len(answer)), []).append((row["index"], [*prompt, *answer]))
    for (start, count), members in sorted(groups.items()):
        size = max(1, tokens // (start + count))

        def work(some, count=count):
            return answer_outcomes(model, [text for _, text in some], count)

        what = f"answers of {count} tokens"
        for some, result in batching.in_pieces(work, members, size, model.device, what):
            found |= {index: each for (index, _), each in zip(some, result, strict=True)}
    return found


@torch.no_grad()
def answer_outcomes(model, texts, count):
    """Log-probability of the last `count` tokens of each text, and whether each is the most likely."""
    whole = torch.tensor(texts, device=model.device)
    logits = models.logits_of_last(model, whole[:, :-1], count)
    answer = whole[:, -count:]
    chosen = logits.gather(2, answer[..., None])
    # A tie counts against the answer, as everywhere.
    greedy = ((logits >= chosen).sum(2) == 1).all(1)
    total = logits.log_softmax(-1).gather(2, answer[..., None])[..., 0].sum(1)
    return list(zip(total.tolist(), greedy.tolist(), strict=True))


def judge(frame, chosen, correct_only, log):
    """Mark which of some rows can be used, in place."""
    leave_out(frame, chosen, log)
    used = frame.loc[chosen, "valid"].astype(bool)
    if correct_only:
        used &= frame.loc[chosen, "correct"].fillna(False).astype(bool)
    frame.loc[chosen, "used"] = used


def leave_out(frame, chosen, log):
    """Mark pairs as not valid whose metric is not finite, or the same for both prompts; in place."""
    mine = frame.loc[chosen]
    clean, corrupt = (mine[name].astype(float).to_numpy() for name in ("clean_metric", "corrupt_metric"))
    valid = mine["valid"].to_numpy(bool)
    broken = valid & ~(np.isfinite(clean) & np.isfinite(corrupt))
    same = valid & ~broken & (np.abs(clean - corrupt) < SAME)
    for rows, reason in (
        (broken, "the metric is not a number: try compute.dtype: float32"),
        (same, "the clean and the corrupt prompt have the same metric"),
    ):
        if rows.any():
            log.info("%d pairs left out, the first %s: %s", rows.sum(), mine["id"][rows].iloc[0], reason)
            frame.loc[mine.index[rows], ["valid", "reason"]] = [False, reason]
    frame.loc[mine.index[broken], ["clean_metric", "corrupt_metric"]] = None


def shortage(frame, cfg, task):
    """Why a shard cannot be used, as LeftOut; None if each split has what it needs.

    cfg: needed (examples a split), count, accuracy
    """
    if not cfg["needed"] and not frame[cfg["count"]].any():
        return LeftOut(
            f"{task}: none of {len(frame)} prompts usable; most often: {examples.commonest(frame.assign(used=False).to_dict('records'))}",
            0,
            1,
        )
    for split in ("train", "held_out"):
        mine = frame[frame["split"] == split]
        usable = int(mine[cfg["count"]].sum())
        if usable < cfg["needed"]:
            answered = mine["correct"].dropna().astype(bool)
            accuracy = f"; the model answers {100 * answered.mean():.0f} % correctly" if len(answered) else ""
            reasons = mine.assign(used=mine[cfg["count"]]).to_dict("records")
            why = f"; most often: {examples.commonest(reasons)}" if mine["valid"].sum() < cfg["needed"] else ""
            return LeftOut(
                f"{task}: {usable} of {len(mine)} {split.replace('_', '-')} prompts usable, {cfg['needed']} needed{accuracy}{why}",
                usable,
                cfg["needed"],
            )
    return None


def plain(prompts):
    """Rows as dicts of plain Python values."""
    for row in prompts.to_dict("records"):
        row["roles"] = [dict(role) for role in row["roles"]]
        for name in ("distractors", "right", "wrong"):
            row[name] = [str(text) for text in row[name]] if row.get(name) is not None else []
        yield row


def as_rows(frame):
    """Rows of the examples table, null where a value is missing."""
    return frame.replace({np.nan: None}).to_dict("records")
