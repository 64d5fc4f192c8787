"""From text to tokens: which prompt pairs a model can be asked, and why not the others.

Needs the tokenizer only, no torch, so that a custom file can be checked before any job.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from circuit_reuse.data import answers, fingerprint
from circuit_reuse.data.left_out import LeftOut


class ReaderError(ValueError):
    """What is asked of a tokenizer and cannot be had from it."""


@dataclass(frozen=True)
class PromptReader:
    """How text becomes the tokens of a model.

    tokenizer: tokenizers.Tokenizer
    bos:       id that is put first, or None
    template:  the model's chat template (Jinja), or None for plain text;  names: its special tokens
    positions, vocabulary: tokens of a text at most, and tokens that the embedding has; None where they are not known
    """

    tokenizer: Tokenizer
    bos: int | None
    template: str | None = None
    names: tuple = ()
    positions: int | None = None
    vocabulary: int | None = None

    def unfit(self, tokens):
        """Why the model cannot be given some tokens, without what is put first; None if it can.

        A model that is given more does not always stop: it may read what lies beyond its table.
        """
        length = len(tokens) + (self.bos is not None)
        if self.positions and length > self.positions:
            return f"the prompt has {length} tokens, and the model takes at most {self.positions}"
        if self.vocabulary and tokens and max(tokens) >= self.vocabulary:
            return f"token {max(tokens)} is beyond the {self.vocabulary} of the model's embedding"
        if self.bos is not None and tokens[:1] == [self.bos]:
            return "the prompt begins with the BOS token, which is put first anyway; take it out, or set bos: never"
        return None

    def text(self, prompt):
        """What is tokenised: the prompt, or in a chat the user's turn up to where the reply begins."""
        if self.template is None:
            return prompt
        return rendered(self.template, dict(self.names), prompt)

    def reply(self, answer):
        """An answer as it follows `text`: a reply begins without the space that continues a prompt."""
        return answer if self.template is None else answer.lstrip()

    def encode(self, text):
        """The encoding of a text, without anything put first."""
        return self.tokenizer.encode(text, add_special_tokens=False)


def reader(folder, bos="auto", chat=False):
    """The reader of a model folder.

    bos:    auto (as the tokenizer itself does it), always, or never
    chat:   whether prompts are a user's turn in the model's chat template
    raises: ReaderError if there is no chat template
    """
    tokenizer, found = load_tokenizer(folder)
    settings = fingerprint.tokenizer_settings(folder)
    template = chat_template(folder, settings) if chat else None
    first = first_token(folder, tokenizer, found, settings, bos)
    # A token that is null is none, and no word "None" in the prompt.
    tokens = {name: fingerprint.token_text(settings.get(name)) for name in ("bos_token", "eos_token")}
    names = tuple((name, token) for name, token in tokens.items() if token is not None)
    found = PromptReader(tokenizer, first, template, names, *limits(folder))
    # Most chat templates write the BOS token themselves.
    if template and found.encode(found.text("a")).ids[:1] == [first]:
        found = replace(found, bos=None)
    return found


def text_reader(folder):
    """The reader of ordinary text: as the tokenizer does it, or with nothing put first where it puts several tokens there."""
    try:
        return reader(folder)
    except ReaderError:
        return reader(folder, "never")


def limits(folder):
    """(positions, vocabulary) of the model beside a tokenizer, None where its config.json is missing or does not say."""
    if not (Path(folder) / "config.json").is_file():
        return None, None
    return fingerprint.positions(folder), fingerprint.decoder_config(folder).get("vocab_size")


def load_tokenizer(folder):
    """The tokenizer of a model folder and the id of its BOS token, or None if it has none.

    raises: ModelError for files that are damaged or of a format that is not known here
    """
    folder = Path(folder)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as problem:
        # The library raises nothing narrower.
        raise fingerprint.ModelError(
            f"{folder}/tokenizer.json cannot be read: it is damaged, or of a format that the installed tokenizers does not know ({problem})"
        ) from None
    # What was stored with it would cut or fill prompts.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    bos = fingerprint.bos_of(folder)
    return tokenizer, tokenizer.token_to_id(bos) if isinstance(bos, str) else bos


def first_token(folder, tokenizer, found, settings, bos):
    """Id of the token that is put first, or None: with auto that of the tokenizer's own steps (tokenizer.json), as in transformers;
    where these add nothing, BOS if add_bos_token of its settings is true.

    found:  id of the BOS token;  bos: auto, always, or never
    raises: ReaderError where several tokens go first, or the BOS token has no id
    """
    if bos == "never":
        return None
    named = fingerprint.bos_of(folder)
    if bos == "always":
        if named is not None and found is None:
            raise ReaderError(
                f"the tokenizer of {folder} names {named!r} as its BOS token, and its tokenizer.json has no such token; set bos: never, or auto"
            )
        return found
    plain, whole = (tokenizer.encode("a", add_special_tokens=added).ids for added in (False, True))
    starts = [place for place in range(len(whole) - len(plain) + 1) if whole[place : place + len(plain)] == plain]
    prefix = whole[: starts[0]] if starts else []
    if len(prefix) > 1:
        tokens = " ".join(tokenizer.id_to_token(number) for number in prefix)
        raise ReaderError(
            f"the tokenizer of {folder} puts {tokens} in front of every text, and here one token can go first: set bos to always ({named}) or "
            "never, which is another input than the model was trained on"
        )
    if prefix:
        return prefix[0]
    return found if settings.get("add_bos_token") is True else None


def chat_template(folder, settings):
    """The chat template of a model folder; raises ReaderError if it has none."""
    path = Path(folder) / "chat_template.jinja"
    found = path.read_text(encoding="utf-8") if path.is_file() else settings.get("chat_template")
    if isinstance(found, list):
        found = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
    if isinstance(found, dict):
        found = found.get("default")
    if not found or not isinstance(found, str):
        raise ReaderError(
            f"the tokenizer of {folder} has no chat template (chat_template.jinja, or chat_template in "
            "tokenizer_config.json); set chat: false"
        )
    return found


def rendered(template, names, prompt):
    """A chat of one user's turn, up to where the reply begins.

    raises: ReaderError if the template cannot be used or changes the prompt
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message):
        raise TemplateError(message)

    extensions = ["jinja2.ext.loopcontrols", generation_tag()]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda _: ""
    messages = [{"role": "user", "content": prompt}]
    try:
        text = environment.from_string(template).render(messages=messages, add_generation_prompt=True, **names)
    except Exception as problem:
        # A template is a program of someone else's: it may fail in any way.
        raise ReaderError(f"the chat template cannot be used: {problem}") from None
    if prompt not in text:
        raise ReaderError("the chat template changes the prompt; set chat: false")
    return text


@cache
def generation_tag():
    """The tag {% generation %} of chat templates, which marks what the model wrote: here it renders what it encloses."""
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = frozenset({"generation"})

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(["name:endgeneration"], drop_needle=True)

    return Generation


def tokenise(reader, row, labels=False, sums=False):
    """One row of the examples table, without its metrics.

    row:     a row of the prompts table as a dict
    labels:  whether answer and distractors are labels of choices
    sums:    whether the metric is a sum over all right and all wrong answers, where the row has them
    returns: a dict; valid is false, with a reason, for a pair that cannot be used

    What answer and distractors share beyond the prompt (a space of its own, a first digit) belongs to
    the prompt: they are compared at the first token in which they differ, in context.
    """
    lead = [] if reader.bos is None else [reader.bos]
    try:
        clean_text, corrupt_text = reader.text(row["clean"]), reader.text(row["corrupt"])
    except ReaderError as problem:
        return unusable(row, str(problem))
    texts = [reader.reply(text) for text in (row["answer"], *row["distractors"])]
    encoded = reader.encode(clean_text)
    clean, corrupt = lead + encoded.ids, lead + reader.encode(corrupt_text).ids
    after, problem = answers.continuations(reader, clean_text, encoded.ids, texts)
    shared, first, reason = answers.compared(after, texts) if not problem else ([], [None] * len(texts), problem)
    if not reason and shared:
        end = reader.encode(corrupt_text + texts[0]).ids
        if lead + end != corrupt + after[0]:
            reason = f"{texts[0]!r} joins with the end of the corrupt prompt into one token"
        clean, corrupt = clean + shared, corrupt + shared
    positions = [place for place, (a, b) in enumerate(zip(clean, corrupt, strict=False)) if a != b]
    choices, unclear = None, None
    if labels and not reason:
        choices = answers.variants(reader, clean_text, encoded.ids, texts, shared, first)
    elif sums and row.get("right") and not reason:
        choices, unclear = answers.many(reader, clean_text, encoded.ids, shared, row, first)
    reason = (
        reason
        or unclear
        or (len(clean) != len(corrupt) and lengths(clean, corrupt))
        or (not positions and "the clean and the corrupt prompt are the same")
        or (row.get("corrupt_answer") == row["answer"] and "the corruption does not change the answer")
        or reader.unfit(encoded.ids + max(after or [[]], key=len))
        or reader.unfit(reader.encode(corrupt_text).ids)
        or None
    )
    return named(row) | {
        "valid": reason is None,
        "reason": reason,
        "length": len(clean),
        "clean_tokens": clean,
        "corrupt_tokens": corrupt,
        "answer": first[0],
        "distractors": [token for token in first[1:] if token is not None],
        "answer_tokens": after[0] if after else [],
        "shared": len(shared),
        "choices": choices,
        "positions": positions,
        "roles": role_positions(row["roles"], encoded.offsets, len(lead), clean_text.index(row["clean"])),
    }


def named(row):
    """What a row of the examples table takes over from that of the prompts table."""
    return {"example": int(row["example"])} | {
        name: row[name] for name in ("id", "split", "variant", "template", "cluster")
    }


def unusable(row, reason):
    """A row of which there are no tokens; see `tokenise`."""
    lists = ("clean_tokens", "corrupt_tokens", "distractors", "answer_tokens", "positions", "roles")
    empty = {name: [] for name in lists}
    nothing = {"length": 0, "shared": 0, "answer": None, "choices": None}
    return named(row) | {"valid": False, "reason": reason} | nothing | empty


def lengths(clean, corrupt):
    """The reason for a pair of unequal length."""
    return f"the clean prompt has {len(clean)} tokens, the corrupt one {len(corrupt)}"


def role_positions(roles, offsets, shift, start=0):
    """Position of the last token of each named word: [{role, position}].

    shift: tokens before the text;  start: character of the text at which the prompt begins
    """
    found = []
    for role in roles:
        inside = [
            place
            for place, (begin, end) in enumerate(offsets)
            if begin < role["end"] + start and end > role["start"] + start
        ]
        if inside:
            found.append({"role": role["role"], "position": inside[-1] + shift})
    return found


def enough(rows, split, needed, task):
    """Check that a split has as many valid pairs as a stage needs.

    raises: left_out.LeftOut that names the task, the count and the commonest reason
    """
    mine = [row for row in rows if row["split"] == split]
    valid = [row for row in mine if row.get("used", row["valid"])]
    if len(valid) >= needed:
        return
    raise LeftOut(
        f"task {task!r} has {len(valid)} valid {split} pairs and needs {needed}; most often: {commonest(mine)}",
        len(valid),
        needed,
    )


def enough_of_each(table, needed, task):
    """The same of a DataFrame, for train and held-out examples."""
    rows = table[[name for name in ("split", "valid", "used", "reason") if name in table]].to_dict("records")
    for split in ("train", "held_out"):
        enough(rows, split, needed, task)


def commonest(rows):
    """The commonest reason why rows are not used, in words."""
    wrong = "the model answers wrongly; examples.correct_only: false keeps such pairs"
    # A reason that was read from a table is no text where there is none, and not always None.
    given = [row["reason"] for row in rows if not row.get("used", row["valid"])]
    reasons = [reason if isinstance(reason, str) and reason else wrong for reason in given]
    return max(set(reasons), key=reasons.count) if reasons else "there are too few pairs"
