"""From text to tokens: which prompt pairs a model can be asked, and why not the others.

Needs the tokenizer only, no torch, so that a custom file can be checked before any job.
"""

from pathlib import Path

from tokenizers import Tokenizer


def load_tokenizer(folder):
    """The tokenizer of a model folder and the id of its BOS token, or None if it has none."""
    import json

    folder = Path(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    settings = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= json.loads((folder / name).read_text())
    bos = settings.get("bos_token")
    bos = bos.get("content") if isinstance(bos, dict) else bos
    if bos:
        return tokenizer, tokenizer.token_to_id(bos)
    # Older repositories name it in the model's config only.
    config = folder / "config.json"
    return tokenizer, json.loads(config.read_text()).get(
        "bos_token_id"
    ) if config.is_file() else None


def tokenise(tokenizer, bos, row):
    """One row of the examples table, without its metrics.

    tokenizer: tokenizers.Tokenizer;  bos: id to put first, or None
    row:       a row of the prompts table as a dict
    returns:   a dict; valid is false, with a reason, for a pair that cannot be used

    The answer is what the tokens of prompt + answer have beyond those of the prompt, so a
    tokenizer that joins the two (a prompt that ends in a space) makes the pair invalid.
    """
    first = [] if bos is None else [bos]
    encoded = tokenizer.encode(row["clean"], add_special_tokens=False)
    clean = first + encoded.ids
    corrupt = first + tokenizer.encode(row["corrupt"], add_special_tokens=False).ids
    answer, answer_problem = next_token(tokenizer, row["clean"], encoded.ids, row["answer"])
    wrong, wrong_problem = next_token(tokenizer, row["clean"], encoded.ids, row["distractor"])
    positions = [place for place, (a, b) in enumerate(zip(clean, corrupt)) if a != b]  # noqa: B905
    reason = (
        answer_problem
        or wrong_problem
        or (len(clean) != len(corrupt) and lengths(clean, corrupt))
        or (not positions and "the clean and the corrupt prompt are the same")
        or (answer == wrong and "the answer and the distractor are the same token")
        or (
            row.get("corrupt_answer") == row["answer"]
            and "the corruption does not change the answer"
        )
        or None
    )
    return {
        "example": int(row["example"]),
        "id": row["id"],
        "split": row["split"],
        "valid": reason is None,
        "reason": reason,
        "length": len(clean),
        "clean_tokens": clean,
        "corrupt_tokens": corrupt,
        "answer": answer,
        "distractor": wrong,
        "positions": positions,
        "roles": role_positions(row["roles"], encoded.offsets, len(first)),
        "variant": row["variant"],
        "template": row["template"],
    }


def next_token(tokenizer, prompt, tokens, text):
    """(id, None) if `text` is one token after the prompt, else (None, why not)."""
    longer = tokenizer.encode(prompt + text, add_special_tokens=False).ids
    if longer[: len(tokens)] != tokens:
        return None, f"{text!r} joins with the end of the prompt into one token"
    if len(longer) != len(tokens) + 1:
        return None, f"{text!r} is {len(longer) - len(tokens)} tokens, not one"
    return longer[-1], None


def lengths(clean, corrupt):
    """The reason for a pair of unequal length."""
    return f"the clean prompt has {len(clean)} tokens, the corrupt one {len(corrupt)}"


def role_positions(roles, offsets, shift):
    """Position of the last token of each named word: [{role, position}]."""
    found = []
    for role in roles:
        inside = [
            place
            for place, (start, end) in enumerate(offsets)
            if start < role["end"] and end > role["start"]
        ]
        if inside:
            found.append({"role": role["role"], "position": inside[-1] + shift})
    return found


def enough(rows, split, needed, task):
    """Check that a split has as many valid pairs as a stage needs.

    raises: ValueError that names the task, the count and the commonest reason
    """
    mine = [row for row in rows if row["split"] == split]
    valid = [row for row in mine if row.get("used", row["valid"])]
    if len(valid) >= needed:
        return
    wrong = "the model answers wrongly; examples.correct_only: false keeps such pairs"
    # A reason that was read from a table is no text where there is none, and not always None.
    given = [row["reason"] for row in mine if not row.get("used", row["valid"])]
    reasons = [reason if isinstance(reason, str) and reason else wrong for reason in given]
    common = max(set(reasons), key=reasons.count) if reasons else "there are too few pairs"
    raise ValueError(
        f"task {task!r} has {len(valid)} valid {split} pairs and needs {needed}; most often: {common}"
    )
