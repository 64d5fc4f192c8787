"""Two sets of texts as pairs of token lists: from a task or a file, and the controls made of them."""

from dataclasses import dataclass

from circuit_reuse.prompts import custom
from circuit_reuse.prompts.generate import split_of
from circuit_reuse.stats.circuits import generator

# Clusters of pairs that a distance takes: with fewer none can be estimated.
FEWEST = 3

# What a pair is made of, by condition.  real: a text of each set.  unrelated: two texts of the same set.
# shuffled: the two of a real pair in random order.  right_truncated, left_truncated: a text and itself without its
# end or its beginning.  padded: a real pair whose second text was made longer at its end.
# half_1, half_2: the real pairs of every other cluster.


class TextError(ValueError):
    """Texts that cannot be compared."""


@dataclass(frozen=True)
class Pair:
    """Two texts as tokens.

    name:    of the pair
    cluster: pairs of one cluster share what they differ in, and are flipped and drawn together
    starts:  leading tokens of each that are BOS, and no part of the text
    """

    name: str
    cluster: str
    first: list
    second: list
    starts: int

    @property
    def identical_start(self):
        """Whether the shorter text begins the longer: a causal model cannot distinguish them there."""
        shared = min(len(self.first), len(self.second))
        return self.first[:shared] == self.second[:shared]


def clusters_of(pairs):
    """Cluster of each pair: those that share a token in which their two texts differ, directly or not.

    pairs: [(name, tokens, tokens)] of equal length;  returns: names of clusters, in order of the pairs
    Words are the units that such a comparison could be made of again: pairs of the same words are no
    independent evidence about others.
    """
    import networkx

    graph = networkx.Graph()
    sides = []
    for _, first, second in pairs:
        differ = [{a, b} for a, b in zip(first, second, strict=False) if a != b]
        tokens = sorted(set().union(*differ))
        networkx.add_path(graph, tokens)
        sides.append(tokens)
    groups = {token: min(group) for group in networkx.connected_components(graph) for token in group}
    return [f"word {groups[tokens[0]]}" if tokens else f"pair {n}" for n, tokens in enumerate(sides)]


def of_task(examples, first):
    """Pairs of a task's clean and corrupt prompts, the text of class `first` in front.

    examples: rows of the examples table;  first: a variant, or None for the clean prompts
    returns:  [(name, tokens of the first, tokens of the second)]
    """
    found = []
    for row in examples.itertuples(index=False):
        pair = [list(map(int, row.clean_tokens)), list(map(int, row.corrupt_tokens))]
        if first is not None and row.variant != first:
            pair.reverse()
        found.append((row.id, *pair))
    return found


def rows_of_file(file, held_out_share, sides=None):
    """Rows of a file of texts, checked.

    sides:   None for pairs (columns first, second), else the two labels of the column set, by which
             unpaired texts (column text) are distinguished
    returns: ([{"id", "split", "cluster", "first", "second"}], or [{"id", "split", "cluster", "text", "set"}], and how many rows were left
             out because they repeat another); the cluster is that of the column of this name, None without it
    raises:  ValueError for missing columns, empty cells, equal ids, unknown splits or labels, clusters of unpaired texts
    """
    needed = ("first", "second") if sides is None else ("text", "set")
    records = custom.checked(file, needed)
    unlike = {}
    for record in records:
        unlike.setdefault(tuple(str(record[name]) for name in needed), record)
    repeats, records = len(records) - len(unlike), list(unlike.values())
    if sides is None:
        join_shared(records)
    found, counts, of_cluster, given = [], {}, {}, custom.splits_given(records)
    for record in records:
        # Each set is split by its own count, so that both splits hold both sets in any order, and pairs of a cluster go together.
        index = counts.get(record.get("set"), 0)
        index = of_cluster.setdefault(record.get("cluster") or len(of_cluster), index)
        counts[record.get("set")] = max(counts.get(record.get("set"), 0), index + 1)
        empty = [name for name in needed if not isinstance(record[name], str) or not record[name]]
        if empty and sides is None:
            raise TextError(
                f"{file}, id {record['id']!r}: {empty[0]} is empty, so the pair has one text; leave the "
                "row out, or give unpaired texts (columns text, set) with contrast.sets.*.paired: false"
            )
        if empty:
            raise TextError(f"{file}, id {record['id']!r}: {empty[0]} is empty or not text")
        if sides is not None and record["set"] not in sides:
            there = ", ".join(sorted({str(each["set"]) for each in records})[:6])
            raise TextError(
                f"{file}, id {record['id']!r}: set is {record['set']!r}, and first and second are {' and '.join(sides)}; the column holds {there}"
            )
        split = record.get("split") or given.get(record.get("cluster")) or split_of(index, held_out_share)
        if split not in custom.SPLITS:
            raise TextError(f"{file}, id {record['id']!r}: split is {split!r}; allowed: {' or '.join(custom.SPLITS)}")
        about = {"id": record["id"], "split": split, "cluster": record.get("cluster") or None}
        found.append(about | {name: record[name] for name in needed})
    named = [row["cluster"] for row in found if row["cluster"]]
    if sides is not None and len(set(named)) < len(named):
        raise TextError(
            f"{file} has a column cluster, and unpaired texts are put into pairs at random, in which clusters would not stay apart; give "
            "pairs (columns first, second) with a cluster, or take the column out"
        )
    return found, repeats


def join_shared(records):
    """Put pairs that share a text, directly or not, into one cluster, in place: they are not independent.

    Pairs without such a text, and without a cluster, stay alone.
    """
    pairs = [record | {"clean": str(record["first"]), "corrupt": str(record["second"])} for record in records]
    first = custom.linked(pairs)
    custom.join(pairs, first)
    groups = [first[pair["clean"]] for pair in pairs]
    names = {}
    for record, pair, group in zip(records, pairs, groups, strict=True):
        shared = groups.count(group) > 1 and not pair.get("cluster")
        record["cluster"] = names.setdefault(group, f"texts of {record['id']}") if shared else pair.get("cluster")


def of_file(file, held_out_share, sides, tokenizer, bos, stream):
    """Train pairs of a file as [(name, first tokens, second tokens)] with their clusters; unpaired texts
    in random pairs.

    tokenizer: tokenizers.Tokenizer;  bos: id put before each text, or None
    stream:    names the random stream that pairs unpaired texts
    returns:   (pairs, clusters, texts left without a partner)

    Every text is in one pair at most.  If the two labels mean nothing, swapping the two of a random
    pair changes nothing either, so tests that swap within pairs hold for unpaired texts, too.
    """
    rows = [row for row in rows_of_file(file, held_out_share, sides)[0] if row["split"] == "train"]
    lead = [] if bos is None else [bos]

    def tokens(text):
        return lead + tokenizer.encode(text, add_special_tokens=False).ids

    if sides is None:
        pairs = [(row["id"], tokens(row["first"]), tokens(row["second"])) for row in rows]
        return pairs, [row["cluster"] or f"pair {n}" for n, row in enumerate(rows)], 0
    # Of one length as far as that goes, so that length-matched comparisons have pairs.
    rng, queues = generator(*stream, "pairs"), []
    for side in sides:
        mine = [(row["id"], tokens(row["text"])) for row in rows if row["set"] == side]
        queues.append([mine[place] for place in rng.permutation(len(mine))])
    pairs, rest = matched(*queues)
    left = [queue[min(map(len, rest)) :] for queue in rest]
    pairs += list(zip(*rest, strict=False))
    named = [(f"{a[0]} {b[0]}", a[1], b[1]) for a, b in pairs]
    pairs = [named[place] for place in rng.permutation(len(named))]
    return pairs, [f"pair {n}" for n in range(len(pairs))], sum(map(len, left))


def matched(first, second):
    """Pairs of equal length, and what is left of both; each a list of (name, tokens)."""
    waiting, pairs, rest = {}, [], []
    for item in second:
        waiting.setdefault(len(item[1]), []).append(item)
    for item in first:
        same = waiting.get(len(item[1]))
        if same:
            pairs.append((item, same.pop(0)))
        else:
            rest.append(item)
    used = {id(other) for _, other in pairs}
    return pairs, (rest, [item for item in second if id(item) not in used])


def stream_of(condition):
    """The name of a condition in its random streams: that which it had at first, so that its numbers stay."""
    return {"right_truncated": "shortened", "left_truncated": "beheaded"}.get(condition, condition)


def condition(pairs, clusters, name, starts, filler, longest, stream):
    """The pairs of a condition, made of the real ones; see the top.

    pairs:    [(name, tokens, tokens)];  clusters: the cluster of each
    starts:   leading BOS tokens of each text
    filler:   tokens that are repeated to pad a text
    longest:  most tokens that are cut (at least one is) or fillers that are added (perhaps none)
    returns:  a list of Pair
    """
    rng, found = generator(*stream, stream_of(name)), []
    if name == "unrelated":
        return [Pair(each[0], each[0], *each[1:], starts) for each in unrelated(pairs, rng)]
    order = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    for number, ((label, first, second), cluster) in enumerate(zip(pairs, clusters, strict=True)):
        if name in ("half_1", "half_2"):
            if order[cluster] % 2 != (name == "half_2"):
                continue
        elif name == "shuffled":
            # By design a coin for each pair, whatever its words: the pair is the unit here.
            cluster = label
            if rng.random() < 0.5:
                first, second = second, first
        elif name in ("right_truncated", "left_truncated"):
            whole = (first, second)[number % 2]
            most = min(longest, len(whole) - starts - 2)
            if most < 1:
                continue
            cut = int(rng.integers(1, most + 1))
            first, second = (
                whole,
                whole[:-cut] if name == "right_truncated" else whole[:starts] + whole[starts + cut :],
            )
        elif name == "padded":
            second = second + list(filler) * int(rng.integers(0, longest + 1))
        found.append(Pair(label, cluster, list(first), list(second), starts))
    return found


def unrelated(pairs, rng):
    """Pairs of texts of one set in random order: nothing distinguishes first from second.

    Each pair gives one of its texts, half of them the first and half the second, so that no two
    differences share a text, and signs can be flipped independently.
    """
    order, found = rng.permutation(len(pairs)), []
    half = len(pairs) // 2 // 2 * 2
    for side, mine in ((1, order[:half]), (2, order[half:])):
        for one, other in zip(mine[::2], mine[1::2], strict=False):
            label = f"{pairs[one][0]} {pairs[other][0]}"
            found.append((label, pairs[one][side], pairs[other][side]))
    return found


def check_length(pairs, most):
    """Every text must fit into the model.

    raises: TextError that names the pair and the numbers
    """
    for pair in pairs:
        length = max(len(pair.first), len(pair.second))
        if length > most:
            raise TextError(
                f"pair {pair.name!r} has a text of {length} tokens, and the model has {most} positions; "
                "shorten the text, or lower contrast.longest"
            )
        if min(len(pair.first), len(pair.second)) <= pair.starts:
            raise TextError(f"pair {pair.name!r} has a text without tokens")
