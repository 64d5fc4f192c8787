"""Sequence continuation (Lan et al. 2023): digits, number words, months, days, letters, or any list.

"Van done in 1. Hat done in 2. Ring done in 3. Desk done in 4. Sun done in" -> " 5".  A task
is declared by its members, step, length and frame; the distractor is the last element shown (the next
one where all elements are the same).  The
corrupt prompt is built from its own elements (never by replacing text in the clean one).
"""

from functools import cache
from string import Formatter

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import Prompt, attempts, in_turn

MEMBERS = {
    "digits": words.DIGITS[1:],
    "number_words": words.NUMBER_WORDS,
    "months": words.MONTHS,
    "days": words.DAYS,
    "letters": words.LETTERS,
}
SENTENCES = {"done": "{word} done in {item}.", "lost": "{word} lost in {item}.", "found": "{word} found in {item}."}
HELD_OUT_FRAMES = {"found"}
# Frames by name; any other text with {item}, and {word} where a filler goes, is a frame too.
FRAMES = {"bare": "{item}", "among": "{word} {item}"}
FILLERS = {"objects": words.FILLERS, "names": words.NAMES, **MEMBERS}
CORRUPTIONS = ("random", "within_decade", "repeat_last", "repeat_all", "repeat_new", "shuffled")
LONGEST = 10


def example(
    rng,
    split,
    members="digits",
    step=1,
    length=4,
    frame="sentence",
    corruption="random",
    largest=None,
    fillers="objects",
    filler_step=0,
    alike=True,
    language="English",
):
    """One prompt pair.

    members:     a key of MEMBERS, or a list of words;  largest: the first so many of them only
    step:        difference of successive elements, negative for descending sequences, 0 for one element repeated
    length:      elements shown before the answer
    frame:       sentence (words of filler text an element), bare, among (one filler word before
                 each element), or the user's own text with {item}, and {word} for a filler
    corruption:  random (no element follows the one before, none is the answer), within_decade (random, all
                 within the same ten numbers), repeat_last (the last but one twice), repeat_all (one
                 element), repeat_new (random, then twice the element two steps after the last one
                 shown), shuffled (the same in another order)
    fillers:     objects, names, or a key of MEMBERS
    filler_step: 0 for random fillers; else they are a sequence of this step themselves
    alike:       whether each element of the corrupt prompt has as many digits as the one in its place
                 in the clean prompt, so that both are equally long under every tokenizer
    language:    of the words; a label, which shapes nothing
    raises:      ValueError for a specification that makes no sense
    """
    elements, texts = specification(
        members if isinstance(members, str) else tuple(members),
        step,
        length,
        frame,
        corruption,
        largest,
        fillers,
        filler_step,
    )
    span = abs(step) * length
    shapes = [words.shape(element) for element in elements] if alike else None
    starts = [low if step > 0 else low + span for low in range(len(elements) - span)]
    start = in_turn(rng, [s for s in starts if replaceable(s, step, length, shapes)] or starts)
    shown = [start + step * place for place in range(length)]
    answer = shown[-1] + step
    corrupted = corrupt_elements(rng, shown, answer, step, len(elements), corruption, shapes)
    between = filler_words(rng, split, fillers, filler_step, length + 1)
    allowed = sorted(texts if split != "train" else set(texts) - HELD_OUT_FRAMES)
    name = rng.choice(allowed) if len(texts) > 1 else allowed[0]
    clean, roles = render(texts[name], between, [elements[place] for place in shown])
    corrupt, _ = render(texts[name], between, [elements[place] for place in corrupted])
    wrong = shown[-1] if step else answer + (1 if answer + 1 < len(elements) else -1)
    begins = f"start {elements[start]}"
    return Prompt(clean, corrupt, f" {elements[answer]}", f" {elements[wrong]}", None, begins, name, begins, roles)


@cache
def specification(members, step, length, frame, corruption, largest, fillers, filler_step):
    """The elements and the frames of a task, checked.

    returns: (list of words, {name: text with slots})
    raises:  ValueError for an unknown name, a word twice, a sequence that would have to wrap, a
             frame without slots
    """
    known = MEMBERS.get(members) if isinstance(members, str) else list(members)
    if known is None:
        raise ValueError(f"members {members!r} are unknown; known: {', '.join(MEMBERS)}, or a list")
    elements = known[:largest]
    twice = sorted({word for word in elements if elements.count(word) > 1})
    if twice:
        raise ValueError(f"members hold {', '.join(twice)} twice: what follows would be ambiguous")
    if step == 0 and corruption in ("repeat_last", "shuffled"):
        raise ValueError(f"step is 0, and one element repeated is the same after corruption: {corruption}; use random")
    if step == 0 and len(elements) < 3:
        raise ValueError(
            f"step is 0 and there are {len(elements)} members; it takes 3 or more: the one repeated, a wrong one, and others to corrupt with"
        )
    if not 1 <= length <= LONGEST:
        raise ValueError(f"length is {length}; it must be 1 to {LONGEST} elements")
    if corruption not in CORRUPTIONS:
        raise ValueError(f"corruption {corruption!r} is unknown; known: {', '.join(CORRUPTIONS)}")
    if fillers not in FILLERS:
        raise ValueError(f"fillers {fillers!r} are unknown; known: {', '.join(FILLERS)}")
    if filler_step and abs(filler_step) * length >= len(FILLERS[fillers]):
        raise ValueError(f"{length} steps of {filler_step} do not fit into the {fillers} between")
    if abs(step) * length >= len(elements):
        what = members if isinstance(members, str) else "members"
        raise ValueError(
            f"{length} steps of {step} do not fit into {len(elements)} {what}: the sequence would "
            "have to wrap; use a smaller step or length"
        )
    texts = SENTENCES if frame == "sentence" else {frame if frame in FRAMES else "own": FRAMES.get(frame, frame)}
    for text in texts.values():
        check_frame(text)
    return elements, texts


def check_frame(text):
    """A frame has the slot {item} once, {word} at most once before it, and no other."""
    try:
        found = [slot for slot in Formatter().parse(text) if slot[1] is not None]
    except ValueError as problem:
        raise ValueError(f"the frame {text!r} cannot be read: {problem}") from None
    slots = [
        name if not spec and not way else f"{name}{'!' + way if way else ''}{':' + spec if spec else ''}"
        for _, name, spec, way in found
    ]
    if slots not in (["item"], ["word", "item"]):
        raise ValueError(
            f"the frame {text!r} has the slots {', '.join(slots) or 'none'}; it needs {{item}} once, "
            "and may have {word} before it; or use sentence, bare or among"
        )


def filler_words(rng, split, fillers, step, count):
    """Words between the elements: of the split's own part, all different if there are enough; or a sequence."""
    pool = FILLERS[fillers]
    if step:
        low = rng.randrange(len(pool) - abs(step) * (count - 1))
        start = low if step > 0 else low + abs(step) * (count - 1)
        return [pool[start + step * place] for place in range(count)]
    if fillers not in MEMBERS:
        # Words that are cut would make prompts of many lengths.
        pool = words.whole(words.name_pool(split) if fillers == "names" else words.pool(pool, split))
        # Long sequences need more words than are held out.
        return rng.sample(pool, count) if count <= len(pool) else rng.choices(pool, k=count)
    return [rng.choice(pool) for _ in range(count)]


def replaceable(start, step, length, shapes):
    """Whether an element like the last one shown can stand for it: neither it nor the answer."""
    last = start + step * (length - 1)
    return shapes is None or any(
        shape == shapes[last] for place, shape in enumerate(shapes) if place not in (last, last + step)
    )


def corrupt_elements(rng, shown, answer, step, total, corruption, shapes=None):
    """Places of the elements of the corrupt prompt, which must not continue to the answer.

    shapes: of every element (words.shape), if each must be like the one that it stands for
    """
    last = answer - step
    if corruption == "repeat_last":
        return [*shown[:-1], shown[-2]] if len(shown) > 1 else [one_of(rng, others(total, shown))]
    if corruption == "repeat_all":
        return [one_of(rng, others(total, [last]))] * len(shown)
    if corruption == "shuffled" and len(shown) > 2:
        for _ in attempts():
            order = rng.sample(shown, len(shown))
            if order[-1] - order[-2] != step and order[-1] != last:
                return order
    new = [two_after(shown, answer, step, total, shapes)] * min(2, len(shown)) if corruption == "repeat_new" else []
    within = decade(rng, shown, answer, total, shapes) if corruption == "within_decade" else range(total)
    order = []
    while len(order) < len(shown) - len(new):
        # One by one, so that a long prompt needs no luck: never the answer, never what follows.
        out = [answer, order[-1] + step] if order else [answer]
        out += [last] if len(order) == len(shown) - 1 else []
        free = [place for place in within if place not in out]
        if shapes:
            shape = shapes[shown[len(order)]]
            free = [place for place in free if shapes[place] == shape] or free
        order.append(one_of(rng, free))
    return order + new


def one_of(rng, places):
    """One of some places; raises ValueError where there is none."""
    if not places:
        raise ValueError("the members leave no other element for the corrupt prompt; use more members")
    return rng.choice(places)


def two_after(shown, answer, step, total, shapes):
    """The element two steps after the last one shown, in a circle; the next one beyond where it has another shape."""
    last, way = shown[-1], -1 if step < 0 else 1
    places = [(last + 2 * step + way * more) % total for more in range(total)]
    places = [place for place in places if place not in (last, answer)]
    if not places:
        raise ValueError("the members leave no other element for the corrupt prompt; use more members")
    wanted = {shapes[place] for place in shown[-2:]} if shapes else set()
    return next((place for place in places if wanted == {shapes[place]}), places[0]) if shapes else places[0]


def decade(rng, shown, answer, total, shapes):
    """Places of ten numbers (1 to 9, 10 to 19, ...) with room for a corrupt prompt; all where none has."""
    tens = {}
    for place in others(total, [answer, shown[-1]]):
        tens.setdefault((place + 1) // 10, []).append(place)
    wanted = {shapes[place] for place in shown} if shapes else {None}
    found = [
        places
        for places in tens.values()
        if all(sum(shape is None or shapes[place] == shape for place in places) > 3 for shape in wanted)
    ]
    return rng.choice(found) if found else range(total)


def others(total, places):
    """Every place but those given."""
    return [place for place in range(total) if place not in places]


def render(frame, fillers, items):
    """Text and the spans of the elements: item_1 is the first shown; ends before the next one."""
    before, after = around(frame)
    text, roles = "", []
    for place, item in enumerate(items, start=1):
        opening = before(fillers[place - 1])
        # An element's token holds the space before it, at the very beginning too.
        text += (" " if text or not opening else "") + opening
        space = text.endswith(" ")
        roles.append((f"item_{place}", len(text) - space, len(text) + len(item)))
        text += item + after
    closing = before(fillers[len(items)]).rstrip()
    return (f"{text} {closing}" if closing else text), roles


def around(frame):
    """What a frame has before its element, as a function of the filler, and what after it; {{ and }} are braces."""
    before, after, seen = [], "", False
    for said, slot, _, _ in Formatter().parse(frame):
        if seen:
            after += said
            continue
        before += [said, None] if slot == "word" else [said]
        seen = slot == "item"
    return (lambda word: "".join(word if part is None else part for part in before)), after
