"""Masks that another study trained: tau of every node as tensors of a safetensors file.

The tensors are named as those of the weight-ablation study (jacobcd52/sparse_pretrain_public): `layer0_attn_in`, whatever stands
before it, with `.tau` or nothing after it.  A node is active where tau is at least 0; nodes of a location that has no tensor are
never masked.  That study saves pickles, which are not read here; docs/weights.md says how one is written as safetensors.
"""

import re

import numpy as np

from circuit_reuse.studies.weights.mask_files import MaskFileError

NAME = re.compile(r"(?:.*\.)?layer(\d+)_([a-z_]+?)(?:\.tau)?")
# Names of the study for locations that are called otherwise here (nodes.LOCATIONS).
LOCATIONS = {"attn_q": "q", "attn_k": "k", "attn_v": "v"}
# What a file may hold beside tau: the values that its nodes were replaced by.
IGNORED = ".mean_activation"


def of_file(path, sites):
    """(tau [node] with nan where a location has no tensor, active bool [node]) of a file.

    sites:  nodes.Site list of the model
    raises: MaskFileError for a file that cannot be read, or tensors that do not fit, all of them named
    """
    return of_tensors(read(path), sites, path)


def read(path):
    """{name: tensor} of a file without what is ignored.

    raises: MaskFileError for a file that is no safetensors, or that holds a tensor of another name
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys() if not name.endswith(IGNORED)}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as problem:
        raise MaskFileError(f"{path} cannot be read as safetensors: {str(problem).splitlines()[0]}") from None
    if other := [name for name in tensors if not NAME.fullmatch(name)]:
        raise MaskFileError(f"{path}: {other[0]} is no name of a mask such as layer0_attn_in.tau")
    return tensors


def of_tensors(tensors, sites, source="mask"):
    """The same of {name: tau or bool [node of the location]}; source: what is named in an error."""
    known = {(site.layer, site.location): site for site in sites}
    tau, wrong, seen = np.full(sites[-1].start + sites[-1].width, np.nan), [], {}
    for name, tensor in tensors.items():
        match, values = NAME.fullmatch(name), np.asarray(tensor)
        if match is None:
            wrong.append(f"{name} is no layer0_attn_in")
            continue
        site = known.get((int(match[1]), LOCATIONS.get(match[2], match[2])))
        if site is None:
            wrong.append(f"{name} is no location of the model, which has {layers_of(sites)}")
        elif values.shape != (site.width,):
            wrong.append(f"{name} has the shape {list(values.shape)}, and the model has {site.width} nodes there")
        elif not np.isfinite(values.astype(float)).all():
            wrong.append(f"{name} holds what is not finite")
        elif values.dtype != bool and 0 in values and set(np.unique(values)) <= {0, 1}:
            # All of these are at least 0, and so all active; the study's tau end at -1 and 1.
            wrong.append(f"{name} holds only 0 and 1, which is a mask and no tau; save it as bool")
        elif values.dtype.kind not in "fb":
            wrong.append(f"{name} is of type {values.dtype}; tau are floats, a mask is bool")
        elif site in seen:
            wrong.append(f"{name} is the location of {seen[site]}")
        else:
            seen[site] = name
            tau[site.part] = np.where(values, 1.0, -1.0) if values.dtype == bool else values.astype(float)
    if not tensors:
        wrong.append("it holds no tensors")
    elif not wrong and (tau < 0).all():
        wrong.append("no node of it is active")
    if wrong:
        raise MaskFileError(
            f"{source}: {'; '.join(wrong[:5])}{f'; and {len(wrong) - 5} more' if len(wrong) > 5 else ''}"
        )
    return tau, np.isnan(tau) | (tau >= 0)


def layers_of(sites):
    """Layers and locations of a model in words."""
    locations = list(dict.fromkeys(site.location for site in sites))
    names = {other: name for name, other in LOCATIONS.items()}
    return f"layers 0 to {sites[-1].layer} with {', '.join(names.get(each, each) for each in locations)}"
