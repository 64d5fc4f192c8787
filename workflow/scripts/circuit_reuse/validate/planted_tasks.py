"""Tasks with a known circuit: a plan in which it is written, and prompts that need it.

Every other head and MLP is a decoy: it reads what the circuit reads and writes, changes from prompt
to prompt, and writes only where nothing reads.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from circuit_reuse.validate.planted_plan import D_HEAD, HEADS, POSITIONS, Head, Mlp, Plan

SYMBOLS = 12
QUERY = 3 * SYMBOLS
JUNK = 40
LAYERS = 4
# Logit of the right symbol over the others.
SHARP = 6.0


@dataclass(frozen=True)
class PlantedTask:
    """A planted circuit.

    write:     function(plan, places) that writes it into a plan; places: {part: (layer, head)}
    parts:     its parts in order of layers: head or mlp
    prompts:   function of a generator: clean, corrupt, answer, distractor (token ids)
    redundant: whether one part alone can be corrupted without harm
    """

    write: object
    parts: tuple
    prompts: object
    redundant: bool = False


def plain(symbol):
    """The coordinate of a symbol at its own position."""
    return f"symbol {symbol}"


def empty(layers=LAYERS):
    """A plan with tokens and coordinates, and nothing computed."""
    names = [f"{kind} {n}" for kind in ("symbol", "before", "found", "next") for n in range(SYMBOLS)]
    names += ["mark 1", "mark 2", "first", "second", "gate", *(f"junk {n}" for n in range(JUNK))]
    embedding = [{plain(symbol): 1.0} for symbol in range(SYMBOLS)]
    for mark in ("mark 1", "mark 2"):
        embedding += [{plain(symbol): 1.0, mark: 1.0} for symbol in range(SYMBOLS)]
    return Plan(layers, names, [*embedding, {}], {})


def copying(source, target, weight=1.0):
    """Values that copy a symbol from one set of coordinates to another."""
    return [(f"{source} {n}", f"{target} {n}", weight) for n in range(SYMBOLS)]


def looking_for(mark):
    """Query and key of a head that attends to the marked token."""
    return {"query": [(0, {"one": 8.0})], "key": [(0, {mark: 1.0})]}


def answer_by(plan, kind):
    """The logit of each symbol is what stands in its coordinate."""
    plan.logits = {n: {f"{kind} {n}": SHARP} for n in range(SYMBOLS)}


def write_selector(plan, places):
    """One head copies the marked symbol."""
    plan.heads[places["head"]] = Head(copying("symbol", "found"), **looking_for("mark 1"))
    answer_by(plan, "found")


def successor(source):
    """An MLP with one neuron a symbol: it writes the symbol that comes next."""
    return Mlp([({f"{source} {n}": 20.0}, -10.0, {f"next {(n + 1) % SYMBOLS}": 0.1}) for n in range(SYMBOLS)])


def write_successor(plan, places):
    """One head copies the marked symbol, an MLP writes the next one."""
    write_selector(plan, places)
    plan.mlps[places["mlp"][0]] = successor("found")
    answer_by(plan, "next")


def write_reverse(plan, places):
    """One head copies the first symbol to the last position, as in reversing a list."""
    plan.heads[places["head"]] = Head(copying("symbol", "found"), offset=POSITIONS - 1)
    answer_by(plan, "found")


def write_induction(plan, places):
    """A previous-token head, and a head that attends to what followed the present symbol."""
    plan.heads[places["head"]] = Head(copying("symbol", "before"), offset=1)
    match = {
        "query": [(n, {plain(n): 8.0}) for n in range(SYMBOLS)],
        "key": [(n, {f"before {n}": 1.0}) for n in range(SYMBOLS)],
    }
    plan.heads[places["head 2"]] = Head(copying("symbol", "found"), **match)
    answer_by(plan, "found")


def write_chain(plan, places):
    """Induction, then the symbol that comes next."""
    write_induction(plan, places)
    plan.mlps[places["mlp"][0]] = successor("found")
    answer_by(plan, "next")


def write_gate(plan, places, neurons):
    """Two heads read one bit each (a symbol of the first half), an MLP joins them."""
    low = [plain(n) for n in range(SYMBOLS // 2)]
    for part, mark, bit in (("head", "mark 1", "first"), ("head 2", "mark 2", "second")):
        plan.heads[places[part]] = Head([(name, bit, 1.0) for name in low], **looking_for(mark))
    plan.mlps[places["mlp"][0]] = Mlp(neurons)
    plan.logits = {0: {"gate": SHARP}, 1: {"one": SHARP / 2}}


def write_and(plan, places):
    """Both bits must be set: corrupting either head is enough."""
    write_gate(plan, places, [({"first": 20.0, "second": 20.0}, -30.0, {"gate": 0.1})])


def write_or(plan, places):
    """One bit is enough: each head is a backup of the other."""
    both = {"first": 20.0, "second": 20.0}
    write_gate(plan, places, [(both, -5.0, {"gate": 0.1}), (both, -15.0, {"gate": -0.1})])


def marked_prompts(rng, mark_after=0):
    """Symbols of which one is marked; in the corrupt prompt another one is."""
    tokens = [int(n) for n in rng.integers(SYMBOLS, size=POSITIONS - 1)] + [QUERY]
    place = int(rng.integers(POSITIONS - 1))
    right, wrong = (int(n) for n in rng.choice(SYMBOLS, 2, replace=False))
    clean, corrupt = list(tokens), list(tokens)
    clean[place], corrupt[place] = SYMBOLS + right, SYMBOLS + wrong
    return clean, corrupt, (right + mark_after) % SYMBOLS, (wrong + mark_after) % SYMBOLS


def successor_prompts(rng):
    """As `marked_prompts`, with the next symbols as answers."""
    return marked_prompts(rng, 1)


def reverse_prompts(rng):
    """Symbols that differ in the first one."""
    tokens = [int(n) for n in rng.integers(SYMBOLS, size=POSITIONS - 1)] + [QUERY]
    right, wrong = (int(n) for n in rng.choice(SYMBOLS, 2, replace=False))
    return [right, *tokens[1:]], [wrong, *tokens[1:]], right, wrong


def pair_prompts(rng, after=0):
    """Two pairs of symbols, then the first of one: what follows?  Corrupt: the firsts swapped.

    No pair stands at the very beginning, where a previous-token head sees the token itself.
    """
    a, b, c, d, *rest = (int(n) for n in rng.permutation(SYMBOLS))
    first, second = sorted(int(n) for n in rng.choice([1, 3, 5, 7], 2, replace=False))
    clean = [int(n) for n in rng.choice(rest, POSITIONS)]
    clean[first : first + 2], clean[second : second + 2], clean[-1] = (a, b), (c, d), a
    corrupt = list(clean)
    corrupt[first], corrupt[second] = c, a
    return clean, corrupt, (b + after) % SYMBOLS, (d + after) % SYMBOLS


def chain_prompts(rng):
    """As `pair_prompts`, with the next symbols as answers."""
    return pair_prompts(rng, 1)


def gate_prompts(rng):
    """Two marked symbols of the first half; in the corrupt prompt both of the second half."""
    clean = [int(n) for n in rng.integers(SYMBOLS, size=POSITIONS - 1)] + [QUERY]
    corrupt, half = list(clean), SYMBOLS // 2
    places = rng.choice(POSITIONS - 1, 2, replace=False)
    for mark, place in enumerate(places, start=1):
        clean[place] = mark * SYMBOLS + int(rng.integers(half))
        corrupt[place] = mark * SYMBOLS + half + int(rng.integers(half))
    return clean, corrupt, 0, 1


TASKS = {
    "selector": PlantedTask(write_selector, ("head",), marked_prompts),
    "successor": PlantedTask(write_successor, ("head", "mlp"), successor_prompts),
    "reverse": PlantedTask(write_reverse, ("head",), reverse_prompts),
    "induction": PlantedTask(write_induction, ("head", "head 2"), pair_prompts),
    "chain": PlantedTask(write_chain, ("head", "head 2", "mlp"), chain_prompts),
    "and_gate": PlantedTask(write_and, ("head", "head 2", "mlp"), gate_prompts),
    "or_gate": PlantedTask(write_or, ("head", "head 2", "mlp"), gate_prompts, redundant=True),
}


def place_parts(task, rng):
    """Layers and heads for the parts of a circuit, later parts in later layers.

    The heads of a gate share a layer or not, as it falls; an MLP comes in a later layer than the
    heads, because GPT-NeoX computes a layer's heads and MLP side by side.
    """
    layers = sorted(int(n) for n in rng.choice(LAYERS, len(task.parts), replace=False))
    return {
        part: (layer, None if part == "mlp" else int(rng.integers(HEADS)))
        for part, layer in zip(task.parts, layers, strict=True)
    }


def add_decoys(plan, rng):
    """Fill every place that the circuit leaves with a component that is busy and does nothing."""
    busy = [f"{kind} {n}" for kind in ("symbol", "found", "before") for n in range(SYMBOLS)]
    busy += ["first", "second", "mark 1"]

    def junk():
        return f"junk {rng.integers(JUNK)}"

    for layer in range(plan.layers):
        for head in range(HEADS):
            if (layer, head) in plan.heads:
                continue
            # Some symbol is always read, so that every decoy changes when the prompt does.
            read = [plain(n) for n in range(SYMBOLS)]
            read += [str(name) for name in rng.choice(busy, D_HEAD - SYMBOLS)]
            value = [(name, junk(), float(rng.normal(0, 1.5))) for name in read]
            ways = [looking_for("mark 1"), {"offset": int(rng.integers(POSITIONS))}, {}]
            plan.heads[layer, head] = Head(value, **ways[rng.integers(3)])
        if layer not in plan.mlps:
            neurons = [
                (
                    {str(name): float(rng.normal(0, 3)) for name in rng.choice(busy, 12)},
                    0.3,
                    {junk(): float(rng.normal(0, 0.5))},
                )
                for _ in range(64)
            ]
            plan.mlps[layer] = Mlp(neurons)


def planted(name, seed):
    """A plan with its circuit and decoys, and the circuit as component names."""
    rng = np.random.default_rng([seed, sorted(TASKS).index(name)])
    task, plan = TASKS[name], empty()
    places = place_parts(task, rng)
    task.write(plan, places)
    add_decoys(plan, rng)
    names = [f"m{layer}" if head is None else f"a{layer}.h{head}" for layer, head in places.values()]
    return plan, names


def examples(name, count, seed):
    """Prompts of a task as rows of the examples table."""
    rng = np.random.default_rng([seed, 1000 + sorted(TASKS).index(name)])
    rows = []
    for n in range(count):
        clean, corrupt, answer, distractor = TASKS[name].prompts(rng)
        pairs = enumerate(zip(clean, corrupt, strict=True))
        rows.append(
            {
                "example": n,
                "id": f"{name} {n}",
                "cluster": f"{name} {n}",
                "length": len(clean),
                "clean_tokens": clean,
                "corrupt_tokens": corrupt,
                "positions": [place for place, (a, b) in pairs if a != b],
                "answer": answer,
                "distractors": [distractor],
            }
        )
    return pd.DataFrame(rows)
