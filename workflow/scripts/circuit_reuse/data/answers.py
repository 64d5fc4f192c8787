"""Tokens of answers after a prompt: where right and wrong ones differ, and which a metric or an accuracy looks at."""


def looked_at(accuracy, metric):
    """What `tokenise` has to know of an accuracy (prompts.tasks.Task) and of a metric (data.metrics.UNITS)."""
    return {"labels": accuracy == "choice", "sums": metric == "probability_difference"}


def continuations(reader, prompt, tokens, texts):
    """Tokens of each text after the prompt: (lists, None), or (None, why not)."""
    found = []
    for text in texts:
        longer = reader.encode(prompt + text).ids
        if longer[: len(tokens)] != tokens:
            return None, f"{text!r} joins with the end of the prompt into one token"
        if len(longer) == len(tokens):
            return None, f"{text!r} is no token of its own after the prompt"
        found.append(longer[len(tokens) :])
    return found, None


def compared(after, texts):
    """Where answer and distractors first differ.

    after:   tokens of the answer and of each distractor
    returns: (tokens that all share, the first one after them of each, reason why not or None)
    """
    shared = 0
    while all(len(each) > shared + 1 for each in after) and len({each[shared] for each in after}) == 1:
        shared += 1
    first = [each[shared] for each in after]
    if first[0] in first[1:]:
        other = texts[1 + first[1:].index(first[0])]
        same = after[0] == after[1 + first[1:].index(first[0])]
        reason = (
            "the answer and the distractor are the same token"
            if same or len(after) == 2
            else f"{texts[0]!r} and {other!r} begin with the same token, other distractors with another"
        )
        return [], [None] * len(after), reason
    return after[0][:shared], first, None


def variants(reader, prompt, tokens, labels, shared, first):
    """Tokens that a label may be written with, with and without a space: a list of each label.

    shared: tokens that all labels share at first, after which there is one way to write each
    first:  the token in which each label differs from the others, which stands for a label of several tokens
    """
    if shared:
        return [[token] for token in first]
    found = []
    for label, own in zip(labels, first, strict=True):
        texts = dict.fromkeys((label, label.strip(), f" {label.strip()}"))
        after = [reader.encode(prompt + text).ids for text in texts]
        found.append(list(dict.fromkeys([ids[-1] for ids in after if ids[:-1] == tokens] + [own])))
    return found


def many(reader, prompt, tokens, shared, row, first):
    """First tokens of all right and of all wrong answers after what answer and distractor share: (two lists, None) or (None, why not).

    first: the tokens at which answer and distractors differ
    An answer that joins with the prompt is left out, as is a token that begins right and wrong answers alike (a tokenizer
    that takes numbers digit by digit); but not those of the pair itself, which the other metrics compare.
    """
    found = []
    for texts in (row["right"], row["wrong"]):
        # One by one, so that one that cannot be had takes no other with it.
        after = [continuations(reader, prompt, tokens, [reader.reply(text)])[0] for text in texts]
        after = [each[0] for each in after if each]
        found.append({each[len(shared)] for each in after if each[: len(shared)] == shared and len(each) > len(shared)})
    right, wrong = (each - (found[0] & found[1]) for each in found)
    if first[0] not in right:
        return None, "the token of the answer begins wrong answers, too, or no right one"
    if not set(first[1:]) <= wrong:
        return None, "the token of a distractor begins right answers, too, or no wrong one"
    return [sorted(right), sorted(wrong)], None
