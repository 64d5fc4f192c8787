"""The stage that measures the answer's probability and rank against the length of the sequence."""

import pandas as pd

from circuit_reuse.data import examples, fingerprint
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import batching, models
from circuit_reuse.prompts import rows as sources
from circuit_reuse.prompts.generate import demonstrations, generate
from circuit_reuse.studies.sequences import schemas


def measure(job):
    """Every task of a model at every length that its members allow."""
    cfg = job.cfg
    model = models.of_job(job)
    folder, rows = fingerprint.folder_of(job.input.model), []
    for task, spec in cfg["tasks"].items():
        for length in cfg["lengths"]:
            table = prompts(task, spec, length, cfg, examples.reader(folder, spec["bos"], spec["chat"]))
            if table is None:
                job.log.info("%s: no sequence of %d elements and one more", task, length)
                continue
            for batch in batching.batches(table, job.compute["batch_tokens"], model.device):
                last = models.logits(model, batch.clean)
                answer = last.gather(1, batch.answer[:, None])
                probability = last.softmax(-1).gather(1, batch.answer[:, None])[:, 0]
                difference = models.metric_values(last, *batch.targets(), "logit_difference")
                rows.append(
                    pd.DataFrame(
                        {
                            "task": task,
                            "length": length,
                            "example": table["example"].to_numpy()[batch.rows],
                            "cluster": table["cluster"].to_numpy(str)[batch.rows],
                            "probability": probability.cpu().numpy(),
                            "rank": (last >= answer).sum(1).cpu().numpy(),
                            "logit_difference": difference.cpu().numpy(),
                        }
                    )
                )
    if not rows:
        raise LeftOut(
            f"no task of sequences.tasks ({', '.join(cfg['tasks'])}) has a sequence of {' or '.join(map(str, cfg['lengths']))} elements "
            "and one more; use smaller sequences.lengths.values"
        )
    frame = pd.concat(rows, ignore_index=True).sort_values(["task", "length", "example"])
    job.write(job.output.lengths, schemas.LENGTHS, frame)


def prompts(task, spec, length, cfg, reader):
    """Held-out prompts of a length under the model's tokenizer; None if the members are too few."""
    options = {**spec["options"], "length": length}
    shots = demonstrations(task, spec["shots"], cfg["seed"], spec["options"], spec["family"])
    lines = [sources.row(n, "train", prompt) for n, prompt in enumerate(shots)]
    # Short or bare sequences have few different prompts: as many as there are will do.
    try:
        shown = {line["clean"] for line in lines}
        made = generate(task, cfg["count"], cfg["seed"], 1.0, options, spec["family"], shown)
    except ValueError:
        return None
    if not made:
        return None
    rows = [sources.solved_before(sources.row(*each), lines) for each in made]
    table = pd.DataFrame([examples.tokenise(reader, row) for row in rows])
    # Only the clean prompt is run: a corruption that is not valid at this length does not matter.
    lead = int(reader.bos is not None)
    fits = table["clean_tokens"].map(lambda tokens: reader.unfit(tokens[lead:]) is None)
    table = table[table["answer"].notna() & fits].reset_index(drop=True)
    if table.empty:
        return None
    table["positions"] = [[0] for _ in range(len(table))]
    return table
