"""The parts of the command that do what a notebook does: score, circuit, ablate."""

from pathlib import Path

from circuit_reuse import api
from circuit_reuse.api import boundary
from circuit_reuse.command.model_folders import folder_named
from circuit_reuse.data import circuit_files, components, fingerprint
from circuit_reuse.data.circuit_formats import Circuit
from circuit_reuse.methods.registry import METHODS
from circuit_reuse.prompts import custom
from circuit_reuse.prompts.tasks import TASKS

# How many components are printed.
SHOWN = 15


def check(chosen):
    """Whatever can be wrong with the arguments, before a model is loaded; returns the model's folder.

    raises: ValueError in one line
    """
    place = folder_named(chosen.model)
    space = fingerprint.shape(place)
    boundary.task_named(chosen.task, own=chosen.prompts is not None)
    if chosen.prompts is not None:
        custom.rows(chosen.prompts, 0.5)
    boundary.one_of("--device", chosen.device, boundary.DEVICES)
    boundary.between("--count", chosen.count, *boundary.COUNT, whole=True)
    boundary.between("--seed", chosen.seed, *boundary.SEED, whole=True)
    if hasattr(chosen, "top_k"):
        kinds = boundary.several("--kinds", chosen.kinds, components.KINDS)
        boundary.size("--top-k", chosen.top_k, len(space.of_kinds(kinds)))
        boundary.between("--threshold", chosen.threshold, 0, 1)
    if hasattr(chosen, "controls"):
        boundary.between("--controls", chosen.controls, *boundary.CONTROLS, whole=True)
    if getattr(chosen, "circuit", None):
        to_remove(chosen.circuit, space)
    for name, endings in (("output", None), ("figure", ("pdf", "svg", "png"))):
        path = getattr(chosen, name, None)
        if path and Path(path).is_dir():
            raise ValueError(f"--{name} {path} is a folder; name a file")
        if path and endings and Path(path).suffix[1:].lower() not in endings:
            raise ValueError(f"--{name} {path} must end in {', '.join(endings)}")
    return place


def to_remove(path, space):
    """The components that a circuit file lists, but for the input, which is never removed.

    raises: ValueError for a circuit of edges, or one without any
    """
    circuit = circuit_files.read(path, space)
    if circuit.edges is not None:
        raise ValueError(
            f"--circuit {path} is a circuit of edges, and components are removed here; give a file that lists them as nodes"
        )
    names = [name for name in circuit.nodes if name != "input"]
    if not names:
        raise ValueError(f"--circuit {path} has no heads and no MLPs")
    return names


def prepared(chosen):
    """The model and its examples."""
    place = check(chosen)
    model = api.load(place, chosen.device, chosen.dtype)
    found = api.examples(model, place, chosen.task, chosen.count, chosen.seed, file=chosen.prompts)
    used = found[found["used"]]
    print(
        f"{len(used)} of {len(found)} prompts can be used; the model is right in {100 * used['correct'].mean():.0f} %"
    )
    return model, found


def score(chosen, _):
    """Print the components of largest mean score; write those of every example."""
    model, found = prepared(chosen)
    scores = api.score(model, found, chosen.method)
    means = scores.mean().sort_values(key=abs, ascending=False)
    sign = "negative: it helps" if METHODS[chosen.method].signed else "a size, without a sign"
    print(f"Mean change of the metric when a component is corrupted ({chosen.method}, logits; {sign})")
    print(means.head(SHOWN).round(3).to_string())
    write(chosen.output, lambda path: scores.to_csv(path))


def circuit_of(chosen, model, found):
    """The shared circuit of a task: (names, {name: mean score})."""
    scores = api.score(model, found, chosen.method)
    names, reuse = api.circuit(scores, found, chosen.top_k, chosen.threshold, chosen.kinds)
    print(f"{len(names)} shared components, reuse {100 * reuse:.0f} %: {' '.join(names) or 'none'}")
    return names, scores.mean().to_dict()


def circuit(chosen, _):
    """Print the shared circuit of a task, and write it as a circuit file."""
    model, found = prepared(chosen)
    names, means = circuit_of(chosen, model, found)
    about = {"task": chosen.task, "method": chosen.method}
    best = sorted(names, key=lambda name: -abs(means[name]))
    whole = Circuit({name: float(means[name]) for name in best}, shape=model.space, about=about)
    write(chosen.output, lambda path: circuit_files.write(path, whole, "circuit"))


def ablate(chosen, _):
    """Print what removing a circuit does."""
    model, found = prepared(chosen)
    if chosen.circuit:
        names = to_remove(chosen.circuit, model.space)
        print(f"{len(names)} components of {chosen.circuit}")
    else:
        names, _ = circuit_of(chosen, model, found)
    accuracy = TASKS[chosen.task].accuracy if chosen.task in TASKS else "top1"
    result = api.ablate(model, found, names, chosen.controls, chosen.replacement, accuracy=accuracy, seed=chosen.seed)
    print("Change of the metric in logits, negative: removing it hurts")
    print("\n".join(f"{name:24} {value:.4g}" for name, value in result.items()))
    write(chosen.output, lambda path: result.to_csv(path))
    write(chosen.figure, lambda path: api.plot(result).figure.savefig(path, dpi=300, bbox_inches="tight"))


def write(path, function):
    """Write a file, if one is asked for, and say so."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        function(path)
        print(f"written: {path}")
