"""The slow twin of everything that is done to a model: hooks on the plain Hugging Face model, explicit loops."""

from dataclasses import dataclass

import torch


@dataclass
class Wrote:
    """What the components of a run wrote: the embedding, z and MLP by layer."""

    embedding: torch.Tensor = None
    z: dict = None
    mlp: dict = None


class Plain:
    """A Hugging Face model whose readers may each be given a stream of their own.

    model:   from AutoModelForCausalLM;  anatomy: where its parts lie, see tiny_families
    width:   of a head
    writers: "input", (layer, head), (layer, "mlp");  readers: (layer, part, number), "logits"
    """

    def __init__(self, model, anatomy, heads, kv_heads, width):
        self.model, self.anatomy = model.eval().requires_grad_(False), anatomy
        self.width = width
        self.layers = list(model.get_submodule(anatomy.layers))
        self.heads, self.numbers = heads, {"q": heads, "k": kv_heads, "v": kv_heads}
        self.writers = ["input"]
        self.readers = []
        for layer in range(len(self.layers)):
            self.readers += [(layer, part, n) for part in "qkv" for n in range(self.numbers[part])]
            self.readers.append((layer, "mlp", 0))
            self.writers += [(layer, head) for head in range(heads)] + [(layer, "mlp")]
        self.readers.append("logits")

    def run(self, tokens, put=None, corrupt=None, cut=None):
        """Logits after the last position, and what was written.

        put:     {("z" or "mlp", layer): tensor} that takes the place of what is written
        cut:     [writer, reader]; reader sees so much of the change from what the writer writes now to
                 what it wrote in `corrupt`, a Wrote
        """
        seen, handles, own = Wrote(z={}, mlp={}), [], {}
        put, anatomy = put or {}, self.anatomy

        def before(module, function):
            handles.append(module.register_forward_pre_hook(function, with_kwargs=True))

        def after(module, function):
            handles.append(module.register_forward_hook(function))

        def embedded(_, inputs, output):
            seen.embedding = output

        after(self.model.get_submodule(anatomy.embed), embedded)
        for layer, block in enumerate(self.layers):
            self.hook_layer(layer, block, before, after, seen, own, put, corrupt, cut)

        def final(_, inputs, kwargs):
            if cut is not None:
                return (inputs[0] + self.change(seen, own, corrupt, cut, "logits"), *inputs[1:]), kwargs

        before(self.model.get_submodule(anatomy.final), final)
        try:
            return self.model(tokens, use_cache=False).logits[:, -1].float(), seen
        finally:
            for handle in handles:
                handle.remove()

    def hook_layer(self, layer, block, before, after, seen, own, put, corrupt, cut):
        """Hooks of one layer; see `run`."""
        anatomy = self.anatomy
        first, second = (name and block.get_submodule(name) for name in anatomy.norms)
        out = block.get_submodule(anatomy.out)
        enters, leaves = (block.get_submodule(name) for name in anatomy.mlp)

        def enter(_, inputs, kwargs):
            own["stream", layer] = inputs[0] if inputs else kwargs["hidden_states"]

        before(block, enter)
        for name in dict.fromkeys(anatomy.qkv):
            parts = [part for part, there in zip("qkv", anatomy.qkv, strict=True) if there == name]

            def project(module, inputs, output, parts=parts):
                if cut is None:
                    return None
                output = output.clone()
                for part in parts:
                    for number in range(self.numbers[part]):
                        change = self.change(seen, own, corrupt, cut, (layer, part, number))
                        stream = own["stream", layer] + change
                        rows = self.rows(part, number)
                        found = module.forward(stream if first is None else first.forward(stream))
                        output[..., rows] = found[..., rows]
                return output

            after(block.get_submodule(name), project)

        def attend(_, inputs, kwargs):
            z = put.get(("z", layer), inputs[0])
            seen.z[layer] = z
            return (z, *inputs[1:]), kwargs

        before(out, attend)

        def attended(_, inputs, output):
            own["heads", layer] = output

        after(out, attended)
        if second is not None and not anatomy.parallel:

            def middle(_, inputs, kwargs):
                own["middle", layer] = inputs[0]

            before(second, middle)

        def read(_, inputs, kwargs):
            if cut is None:
                return None
            stream = own["stream" if anatomy.parallel else "middle", layer] if second else inputs[0]
            stream = stream + self.change(seen, own, corrupt, cut, (layer, "mlp", 0)).view_as(stream)
            return (second.forward(stream) if second else stream, *inputs[1:]), kwargs

        before(enters, read)
        if anatomy.after[1]:
            leaves = block.get_submodule(anatomy.after[1])

        def write(_, inputs, output):
            found = output[0] if isinstance(output, tuple) else output
            seen.mlp[layer] = put.get(("mlp", layer), found.view(seen.embedding.shape))
            # Falcon adds the attention to it in place.
            found = seen.mlp[layer].clone().view(found.shape)
            return (found, *output[1:]) if isinstance(output, tuple) else found

        after(leaves, write)

    def rows(self, part, number):
        """Where a query, key or value stands in what its projection gives."""
        start = self.anatomy.rows(part, number) * self.width
        return slice(start, start + self.width)

    def change(self, seen, own, corrupt, cut, reader):
        """What a reader's stream is changed by: the sum over writers so far of cut times their change."""
        column, total = self.readers.index(reader), 0
        if not reached(cut, column):
            return torch.zeros_like(seen.embedding)
        for layer, block in enumerate(self.layers):
            if layer not in seen.z:
                break
            out = block.get_submodule(self.anatomy.out)
            z, moved = seen.z[layer], 0
            for head in range(self.heads):
                one = z.clone()
                rows = slice(head * self.width, (head + 1) * self.width)
                one[..., rows] = corrupt.z[layer][..., rows]
                row = self.writers.index((layer, head))
                moved = moved + cut[row, column] * (out.forward(one) - out.forward(z))
            side = self.anatomy.parallel and reader == (layer, "mlp", 0)
            if not side:
                heads, norm = own["heads", layer], self.anatomy.after[0]
                if norm:
                    norm = block.get_submodule(norm).forward
                    moved = norm(heads + moved) - norm(heads)
                total = total + moved
            if layer in seen.mlp:
                row = self.writers.index((layer, "mlp"))
                total = total + cut[row, column] * (corrupt.mlp[layer] - seen.mlp[layer])
        return total + cut[0, column] * (corrupt.embedding - seen.embedding)


def reached(cut, column):
    """Whether anything is cut from a reader; where not, nothing need be computed."""
    return not isinstance(cut, Few) or column in cut.columns


class Few:
    """A cut [writer, reader] of few edges, for large models."""

    def __init__(self, values, columns):
        self.values, self.columns = values, set(columns)

    def __getitem__(self, place):
        return self.values[place]
